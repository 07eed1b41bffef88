"""Lays out leaves that are linear functions: a record for each leaf value, then features and coefficients of their terms."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mlrf.builder.exporters.forest_file.tree_shape import Shape
from mlrf.core.forest import Forest

LINEAR_LEAF = np.dtype([("constant", "<f8"), ("first", "<u4"), ("count", "<u4")])


def lay_out_linear_leaves(forest: Forest, shape: Shape) -> tuple[npt.NDArray[Any], ...]:
    """Return the three sections, which are empty for a forest whose leaves are constants."""
    if forest.linear is None:
        return np.zeros(0, LINEAR_LEAF), np.zeros(0, "<u4"), np.zeros(0, "<f8")
    constants, counts, features, coefficients = forest.linear.taken(shape.leaves)
    records = np.zeros(len(counts), LINEAR_LEAF)
    records["constant"], records["count"] = constants, counts
    records["first"] = np.cumsum(counts) - counts
    return records, features.astype("<u4"), coefficients.astype("<f8")
