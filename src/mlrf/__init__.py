"""mlrf: serve gradient-boosted trees at the speed of a second codebase, with reasons and proof."""

__version__ = "0.1.0"
