"""Draws explanations as SVG or HTML text.

1. A drawing needs no script, style sheet, inline style or other resource, so that it works in a notebook, in a file, and on a
   page with a strict Content-Security-Policy.
2. Untrusted text (names, categories) is escaped, and its control characters are replaced by blanks.
3. Text has the colour of its surroundings (`currentColor`); raising and lowering bars have the classes `raises` and `lowers`.
"""

from mlrf.model.drawing.contributions import Bar, RowContributions, largest_bars
from mlrf.model.drawing.waterfall import waterfall_svg

__all__ = ["Bar", "RowContributions", "largest_bars", "waterfall_svg"]
