"""Row 16: generated rows with NaN, infinities, unseen categories and values at thresholds, as the training library answers them."""

from __future__ import annotations

from row_of_tests import row_of_tests

_TO_THE_RIGHT = """
from mlrf.builder.importers.lightgbm import tree
tree._DEFAULT_LEFT_BIT = 0
"""

ROW = row_of_tests(
    16,
    "100,000 generated rows an objective, and models that Hypothesis draws",
    "margins of the trees and of model.onnx equal LightGBM's to the bit, contributions its own",
    "missing values always go to the right",
    tests=("tests/parity/test_generated_rows.py", "tests/parity/test_kernel_lightgbm.py"),
    broken_by=_TO_THE_RIGHT,
)
