"""The help text of the argument that names a bundle."""

from __future__ import annotations

BUNDLE_HELP = "A bundle that `mlrf build` made, or a model of a repository: REPOSITORY/NAME, REPOSITORY/NAME@VERSION."
