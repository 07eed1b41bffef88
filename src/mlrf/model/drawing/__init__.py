"""Drawings of explanations: numbers and text in, SVG or HTML text out.

1. Nothing is drawn that needs a script, a style sheet, an inline style or another resource: a drawing works in a notebook, in a
   file, and on a page under a strict Content-Security-Policy.
2. Every text from outside (names, categories) is escaped, and its control characters are replaced by blanks.
3. Text takes the colour of its surroundings (`currentColor`); raising and lowering bars have the classes `raises` and `lowers`.
"""

from mlrf.model.drawing.contributions import Bar, RowContributions, largest_bars
from mlrf.model.drawing.waterfall import waterfall_svg

__all__ = ["Bar", "RowContributions", "largest_bars", "waterfall_svg"]
