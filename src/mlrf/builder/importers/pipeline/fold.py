"""The forest over the raw columns: every node of the model's forest with its split from `splits`.

A node whose numbers go left and right in more than two intervals becomes several nodes over the same column. Branches that it
needs twice are copied, and their covers divided between the copies, which changes no Shapley value: wherever the column is
unknown, the copies together have the weight of the branch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mlrf.builder.importers.pipeline.splits import CategorySplit, NumberSplit, RawSplit
from mlrf.core.errors import UnsupportedModelError
from mlrf.core.forest import F64, I64, LEAF, NUMERIC, Bool, Forest, Missing
from mlrf.core.table_columns import TableColumns

_MAX_NODES = 4_000_000


def fold_forest(
    forest: Forest,
    splits: Sequence[RawSplit],
    split_of: I64,
    features: I64,
    n_features: int,
    tables: TableColumns | None = None,
) -> Forest:
    """Return the forest over `n_features` raw features, with `tables` over these in place of its own.

    `split_of` [N] is each node's split, `features` [S] the raw feature of each. UnsupportedModelError if the copies of
    branches are too many.
    """
    folded = replace(_with_plain_splits(forest, splits, split_of, features, n_features), tables=tables)
    wide = np.array([isinstance(split, NumberSplit) and len(split.ends) > 2 for split in splits], np.bool_)  # noqa: PLR2004
    is_wide = (split_of >= 0) & wide[split_of] if len(wide) else np.zeros(forest.n_nodes, np.bool_)
    if np.any(is_wide):
        folded = _Copier(folded, splits, split_of, is_wide).forest()
    folded.validate()
    return folded


def _with_plain_splits(
    forest: Forest, splits: Sequence[RawSplit], split_of: I64, features: I64, n_features: int
) -> Forest:
    """Return the forest with all splits except those of more than two intervals."""
    sets: dict[tuple[int, ...], int] = {}
    threshold, category_set = np.zeros(len(splits)), np.full(len(splits), NUMERIC, np.int32)
    swapped, default_left = np.zeros(len(splits), np.bool_), np.zeros(len(splits), np.bool_)
    for index, split in enumerate(splits):
        if isinstance(split, CategorySplit):
            category_set[index] = sets.setdefault(split.codes, len(sets))
            swapped[index] = not split.codes_go_left
        else:
            threshold[index] = split.ends[0]
            swapped[index] = not split.first_goes_left
        default_left[index] = split.missing_goes_left != swapped[index]
    # Nodes that test a column of the tables stay as they are.
    is_tabled = forest.feature >= forest.n_features
    inner = split_of >= 0
    at = np.where(inner, split_of, 0)
    if not len(splits):
        threshold, category_set = np.zeros(1), np.full(1, NUMERIC, np.int32)
        swapped, default_left, features = np.zeros(1, np.bool_), np.zeros(1, np.bool_), np.zeros(1, np.int64)
    of_table = np.where(is_tabled, forest.feature - forest.n_features + n_features, LEAF)
    exchanged = inner & swapped[at]
    return replace(
        forest,
        n_features=n_features,
        feature=np.where(inner, features[at], of_table).astype(np.int32),
        threshold=np.where(inner, threshold[at], np.where(is_tabled, forest.threshold, 0.0)),
        left=np.where(exchanged, forest.right, forest.left).astype(np.int32),
        right=np.where(exchanged, forest.left, forest.right).astype(np.int32),
        missing=np.where(inner, int(Missing.NAN), np.where(is_tabled, forest.missing, int(Missing.NONE))).astype(
            np.uint8
        ),
        default_left=np.where(inner, default_left[at], is_tabled & forest.default_left),
        category_set=np.where(inner, category_set[at], NUMERIC).astype(np.int32),
        set_offsets=np.cumsum([0, *map(len, sets)], dtype=np.int64),
        set_codes=np.array([code for codes in sets for code in codes], np.int32),
        inputs="float64",
    )


class _Copier:
    """Writes nodes of more than two intervals as several nodes, tree by tree."""

    def __init__(self, forest: Forest, splits: Sequence[RawSplit], split_of: I64, is_wide: Bool) -> None:
        self._forest = forest
        self._splits = splits
        self._split_of, self._is_wide = split_of, is_wide
        self._left, self._right = forest.left.tolist(), forest.right.tolist()
        self._inner = (forest.feature != LEAF).tolist()
        self._source: list[int] = []
        """The original node of each new node."""
        self._children: list[list[int]] = []
        self._weight: list[float] = []
        self._interval_threshold: dict[int, float] = {}
        self._interval_default: dict[int, bool] = {}

    def forest(self) -> Forest:
        """Return the forest with its wide nodes written out."""
        self._check_size()
        offsets = [0]
        for root in self._forest.tree_offsets[:-1].tolist():
            self._copy_tree(int(root))
            offsets.append(len(self._source))
        old, source = self._forest, np.array(self._source, np.int64)
        children = np.array(self._children, np.int64).reshape(-1, 2)
        threshold, default_left = old.threshold[source], old.default_left[source]
        indices = np.array(list(self._interval_threshold), np.int64)
        threshold[indices] = list(self._interval_threshold.values())
        default_left[indices] = list(self._interval_default.values())
        return replace(
            old,
            tree_offsets=np.array(offsets, np.int64),
            feature=old.feature[source],
            threshold=threshold,
            left=children[:, 0].astype(np.int32),
            right=children[:, 1].astype(np.int32),
            missing=old.missing[source],
            default_left=default_left,
            category_set=old.category_set[source],
            value=old.value[source],
            cover=self._covers(source, children),
            leaf_numbers=None if old.leaf_numbers is None else old.leaf_numbers[source],
        )

    def _copy_tree(self, root: int) -> None:
        # An entry: a node of the old forest, the first and last interval of it that are meant (0, 0 for all), the weight of
        # the copy, and the new node and side that it hangs from.
        waiting: list[tuple[int, int, int, float, int, int]] = [(root, 0, 0, 1.0, -1, 0)]
        while waiting:
            node, first, last, weight, parent, side = waiting.pop()
            number = len(self._source)
            if parent >= 0:
                self._children[parent][side] = number
            self._source.append(node)
            self._weight.append(weight)
            self._children.append([LEAF, LEAF])
            if not self._inner[node]:
                continue
            if not self._is_wide[node]:
                waiting.append((self._right[node], 0, 0, weight, number, 1))
                waiting.append((self._left[node], 0, 0, weight, number, 0))
                continue
            split = self._splits[int(self._split_of[node])]
            assert isinstance(split, NumberSplit)  # noqa: S101  only those are wide
            last = last or len(split.ends)
            middle = (first + last) // 2
            self._interval_threshold[number] = split.ends[middle - 1]
            self._interval_default[number] = any(
                split.goes_left(i) == split.missing_goes_left for i in range(first, middle)
            )
            for low, high, child_side in ((middle, last, 1), (first, middle, 0)):
                if high - low > 1:
                    waiting.append((node, low, high, weight, number, child_side))
                    continue
                # Plain splits are exchanged already so that the first interval's branch is on the left.
                is_first_branch = low % 2 == 0
                child = self._left[node] if is_first_branch else self._right[node]
                copies = sum(i % 2 == low % 2 for i in range(len(split.ends)))
                waiting.append((child, 0, 0, weight / copies, number, child_side))

    def _covers(self, source: I64, children: I64) -> F64:
        cover: F64 = self._forest.cover[source] * np.array(self._weight)
        is_copied = np.zeros(self._forest.n_trees, np.bool_)
        tree_of = np.repeat(np.arange(self._forest.n_trees), np.diff(self._forest.tree_offsets))
        is_copied[tree_of[self._is_wide]] = True
        for number in range(len(source) - 1, -1, -1):
            if children[number, 0] != LEAF and is_copied[tree_of[source[number]]]:
                cover[number] = cover[children[number, 0]] + cover[children[number, 1]]
        return cover

    def _check_size(self) -> None:
        sizes = np.ones(self._forest.n_nodes)
        for node in range(self._forest.n_nodes - 1, -1, -1):
            if not self._inner[node]:
                continue
            low, high = sizes[self._left[node]], sizes[self._right[node]]
            if not self._is_wide[node]:
                sizes[node] = 1 + low + high
                continue
            split = self._splits[int(self._split_of[node])]
            assert isinstance(split, NumberSplit)  # noqa: S101  only those are wide
            n = len(split.ends)
            sizes[node] = n - 1 + low * ((n + 1) // 2) + high * (n // 2)
        total = float(np.sum(sizes[self._forest.tree_offsets[:-1]]))
        if total > _MAX_NODES:
            raise UnsupportedModelError(
                f"the pipeline makes a column for each bin or value of a number, and its trees over the raw column would have "
                f"{total:.0f} nodes instead of {self._forest.n_nodes}; train it with KBinsDiscretizer(encode='ordinal'), or "
                "with the numbers as they are"
            )
