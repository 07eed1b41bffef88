"""Leaves that are linear functions of the row in the tree IR: LightGBM's `linear_tree`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class LinearLeaves:
    """The linear function of each of N nodes that is a leaf; M terms in all.

    A leaf adds its constant, then coefficient * x of each of its terms in their order, each step rounded to float64. A value
    within ZERO_BAND of zero counts as 0, and where a value is NaN the leaf adds `Forest.value` instead.
    """

    constants: F64
    """[N] 0 at inner nodes."""
    offsets: I64
    """[N + 1] first term of each node; inner nodes have none."""
    features: I32
    """[M] column of each term."""
    coefficients: F64
    """[M]"""

    def faults(self, is_leaf: npt.NDArray[np.bool_], n_features: int) -> str | None:
        """Return what is wrong with these for a forest whose leaves are `is_leaf` [N]; None if nothing is."""
        n, m = len(is_leaf), len(self.features)
        counts = np.diff(self.offsets)
        checks = {
            "linear leaves and nodes do not match": self.constants.shape == (n,) and self.offsets.shape == (n + 1,),
            "terms of leaves do not match": self.coefficients.shape == (m,)
            and len(self.offsets) > 0
            and int(self.offsets[0]) == 0
            and int(self.offsets[-1]) == m
            and bool(np.all(counts >= 0)),
            "a linear leaf reads no feature": bool(np.all((self.features >= 0) & (self.features < n_features))),
            "a linear leaf has a number that is not finite": bool(
                np.all(np.isfinite(self.constants)) and np.all(np.isfinite(self.coefficients))
            ),
        }
        if (found := next((reason for reason, holds in checks.items() if not holds), None)) is not None:
            return found
        return "an inner node has terms" if np.any(counts[~is_leaf] != 0) else None

    def taken(self, nodes: I64) -> tuple[F64, I64, I32, F64]:
        """Return constants [n], numbers of terms [n], features and coefficients of the terms of `nodes` [n], in their order."""
        counts = np.diff(self.offsets)[nodes]
        starts = np.repeat(self.offsets[nodes] - (np.cumsum(counts) - counts), counts)
        terms = starts + np.arange(len(starts))
        return self.constants[nodes], counts, self.features[terms], self.coefficients[terms]
