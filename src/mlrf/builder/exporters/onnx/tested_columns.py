"""Computes the columns that the exported trees test from a row's features, by a few operators.

`features` [n, F], then a copy of each column whose nodes disagree about values near zero, then the rank columns of the
categorical features. Values near zero become NaN in the columns whose nodes read them as missing (Missing.ZERO), so that a
node needs no more than a threshold and a side for NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from mlrf.builder.exporters.onnx.ensemble import FlatTrees, ensemble_node
from mlrf.builder.exporters.onnx.rank_columns import RankColumns, rank_columns
from mlrf.core.forest import LEAF, NUMERIC, ZERO_BAND, Forest, Missing

_NO_BAND = -1.0


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The operators from `features` to the tested columns, and the trees over those columns."""

    nodes: list[onnx.NodeProto]
    constants: list[onnx.TensorProto]
    output: str
    trees: FlatTrees


def tested_columns(forest: Forest, features: str) -> Columns:
    """Return the operators that convert the tensor `features` [n, F] to columns that nodes can test by threshold."""
    zero = _columns_of(forest, Missing.ZERO)
    mixed = sorted(zero & (_columns_of(forest, Missing.NONE) | _columns_of(forest, Missing.NAN)))
    ranks = rank_columns(forest)
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    output = features
    if mixed:
        constants.append(numpy_helper.from_array(np.array(mixed, np.int64), "mixed_columns"))
        nodes.append(helper.make_node("Gather", [features, "mixed_columns"], ["mixed"], axis=1))
        nodes.append(helper.make_node("Concat", [features, "mixed"], ["with_mixed"], axis=1))
        output = "with_mixed"
    if zero:
        band = np.full(forest.n_features + len(mixed), _NO_BAND)
        band[[f for f in zero if f not in mixed]] = ZERO_BAND
        band[forest.n_features :] = ZERO_BAND
        constants.append(numpy_helper.from_array(band, "zero_band"))
        constants.append(numpy_helper.from_array(np.array(np.nan), "missing"))
        nodes.append(helper.make_node("Abs", [output], ["magnitude"]))
        nodes.append(helper.make_node("LessOrEqual", ["magnitude", "zero_band"], ["near_zero"]))
        nodes.append(helper.make_node("Where", ["near_zero", "missing", output], ["numeric"]))
        output = "numeric"
    if ranks is not None:
        nodes += _rank_nodes(ranks, features, constants)
        nodes.append(helper.make_node("Concat", [output, "ranks"], ["tested"], axis=1))
        output = "tested"
    copies = {feature: forest.n_features + index for index, feature in enumerate(mixed)}
    trees = _flat(forest, copies, ranks, first_rank=forest.n_features + len(mixed))
    return Columns(nodes, constants, output, trees)


def _columns_of(forest: Forest, missing: Missing) -> set[int]:
    numeric = (forest.feature != LEAF) & (forest.category_set == NUMERIC)
    return {int(f) for f in np.unique(forest.feature[numeric & (forest.missing == missing)])}


def _rank_nodes(ranks: RankColumns, features: str, constants: list[onnx.TensorProto]) -> list[onnx.NodeProto]:
    constants.append(numpy_helper.from_array(ranks.table, "rank_table"))
    constants.append(numpy_helper.from_array(np.array([-1, ranks.n_columns], np.int64), "rank_shape"))
    return [
        ensemble_node(ranks.classes, source=features, target="classes", n_outputs=ranks.n_blocks, name="categories"),
        helper.make_node("Cast", ["classes"], ["rank_rows"], to=onnx.TensorProto.INT64),
        helper.make_node("Gather", ["rank_table", "rank_rows"], ["rank_blocks"], axis=0),
        helper.make_node("Reshape", ["rank_blocks", "rank_shape"], ["ranks"]),
    ]


def _flat(forest: Forest, copies: dict[int, int], ranks: RankColumns | None, *, first_rank: int) -> FlatTrees:
    feature = forest.feature.astype(np.int64)
    threshold = forest.threshold.copy()
    left, right = forest.left.astype(np.int64), forest.right.astype(np.int64)
    nan_left = np.where(forest.missing == Missing.NONE, forest.threshold >= 0.0, forest.default_left)
    numeric = (feature != LEAF) & (forest.category_set == NUMERIC)
    for original, copy in copies.items():
        feature[numeric & (forest.feature == original) & (forest.missing == Missing.ZERO)] = copy
    if ranks is not None:
        for node in np.flatnonzero(forest.category_set != NUMERIC):
            key = (int(feature[node]), int(forest.category_set[node]), bool(forest.default_left[node]))
            test = ranks.tests[key]
            feature[node], threshold[node] = first_rank + test.column, test.position
            nan_left[node] = False  # a rank is never NaN
            if test.flipped:
                left[node], right[node] = right[node], left[node]
    return FlatTrees(
        roots=forest.tree_offsets[:-1],
        feature=feature,
        threshold=threshold,
        left=left,
        right=right,
        nan_left=_as_bool(nan_left),
        value=forest.value,
        output=np.repeat(forest.tree_output.astype(np.int64), np.diff(forest.tree_offsets)),
        cover=forest.cover,
    )


def _as_bool(values: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    return values.astype(np.bool_)
