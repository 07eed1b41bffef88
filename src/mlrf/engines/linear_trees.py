"""The engine of a forest whose leaves are linear functions of the row (LightGBM's `linear_tree`)."""

from __future__ import annotations

from array import array
from typing import ClassVar

from mlrf.engines.interface import Row, Rows
from mlrf.engines.tree_kernel import TreeEngine


class LinearLeafEngine:
    """Computes margins, but no Shapley values and no cut points: the margin changes between the thresholds too."""

    name: ClassVar[str] = TreeEngine.name

    def __init__(self, trees: TreeEngine) -> None:
        self._trees = trees
        self.n_features: int = trees.n_features
        self.n_outputs: int = trees.n_outputs

    def margin(self, row: Row) -> list[float]:
        """Return the K margins of one row."""
        return self._trees.margin(row)

    def margins(self, rows: Rows, threads: int = 1) -> array[float]:
        """Return the K margins of n rows, n x K row-major."""
        return self._trees.margins(rows, threads)

    def leaves(self, rows: Rows, trees: Rows, numbers: Rows) -> array[float]:
        """Return the leaves that rows reach, as `WalksTrees`."""
        return self._trees.leaves(rows, trees, numbers)

    def margins_from(self, rows: Rows, starts: Rows) -> array[float]:
        """Return the margins of sums that start elsewhere, as `WalksTrees`."""
        return self._trees.margins_from(rows, starts)
