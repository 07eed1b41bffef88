"""The trees of histogram boosting as trees of the IR.

Rows stay float64 here. A category that training has not seen, or that is negative, takes the side of missing values. The
IR sends a code that is in no set to the right, so a node whose missing values go left has its children exchanged, and the
known codes that went right for its set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlrf.builder.importers.join_trees import CategorySet, TreeArrays
from mlrf.builder.importers.sklearn.objective import Kind
from mlrf.core.errors import ModelUnreadableError
from mlrf.core.forest import LEAF, NUMERIC

_WORD_BITS = 32


class HistogramTrees:
    """The trees of an estimator, and the category sets that they share."""

    def __init__(self, kind: Kind, columns: Sequence[int], codes: Sequence[Sequence[int] | None]) -> None:
        """Take, for each column that the trees know, the model's own column, and the codes of the encoder's positions."""
        self._kind = kind
        self._columns = np.array(columns, np.int64)
        self._codes = codes
        self._numbers: dict[CategorySet, int] = {}

    @property
    def category_sets(self) -> list[CategorySet]:
        """The sets in the order of their numbers."""
        return list(self._numbers)

    def read(self, iterations: Sequence[Sequence[Any]]) -> list[TreeArrays]:
        """Return the trees, iteration by iteration, one an output."""
        trees = []
        for number, iteration in enumerate(iterations):
            if len(iteration) != self._kind.n_outputs:
                raise self._damaged(f"iteration {number} has {len(iteration)} trees for {self._kind.n_outputs} outputs")
            trees += [self._tree(predictor, output) for output, predictor in enumerate(iteration)]
        return trees

    def _tree(self, predictor: Any, output: int) -> TreeArrays:
        nodes = np.asarray(predictor.nodes)
        is_leaf = nodes["is_leaf"].astype(np.bool_)
        feature = nodes["feature_idx"].astype(np.int64)
        if np.any(feature[~is_leaf] >= len(self._columns)) or np.any(feature[~is_leaf] < 0):
            raise self._damaged("a node tests a feature that does not exist")
        left, right = nodes["left"].astype(np.int64), nodes["right"].astype(np.int64)
        default_left = nodes["missing_go_to_left"].astype(np.bool_)
        category_set = np.full(len(nodes), NUMERIC, np.int32)
        by_category = np.flatnonzero(~is_leaf & nodes["is_categorical"].astype(np.bool_))
        bits = np.asarray(predictor.raw_left_cat_bitsets)
        for node in by_category.tolist():
            known = self._codes[feature[node]]
            bitset = int(nodes["bitset_idx"][node])
            if known is None or not 0 <= bitset < len(bits):
                raise self._damaged("a node has a category set without a feature")
            chosen = [code for position, code in enumerate(known) if _holds(bits[bitset], position)]
            if default_left[node]:
                chosen = sorted(set(known) - set(chosen))
                left[node], right[node] = right[node], left[node]
                default_left[node] = False
            category_set[node] = self._numbers.setdefault(tuple(sorted(chosen)), len(self._numbers))
        safe = np.where(is_leaf, 0, feature)
        return TreeArrays(
            feature=np.where(is_leaf, LEAF, self._columns[safe]).astype(np.int32),
            threshold=np.where(is_leaf | (category_set != NUMERIC), 0.0, nodes["num_threshold"].astype(np.float64)),
            left=np.where(is_leaf, LEAF, left).astype(np.int32),
            right=np.where(is_leaf, LEAF, right).astype(np.int32),
            default_left=default_left,
            values=nodes["value"].astype(np.float64)[:, None],
            cover=nodes["count"].astype(np.float64),
            outputs=(output,),
            category_set=category_set,
        )

    def _damaged(self, reason: str) -> ModelUnreadableError:
        return ModelUnreadableError(f"the {self._kind.name} is damaged: {reason}")


def _holds(words: Any, position: int) -> bool:
    return position < _WORD_BITS * len(words) and bool(int(words[position // _WORD_BITS]) >> position % _WORD_BITS & 1)
