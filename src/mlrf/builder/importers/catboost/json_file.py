"""CatBoost's JSON format: bytes in, `Document` out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from mlrf.builder.importers.catboost.decimals import read_decimal
from mlrf.builder.importers.catboost.document import (
    AS_TRUE,
    NO_SPLIT,
    Column,
    Document,
    Split,
    Tree,
    refuse_ctr,
    refuse_kind,
)
from mlrf.builder.importers.catboost.tree_shapes import grow, oblivious_tree
from mlrf.core.errors import ModelUnreadableError

_FLOAT, _ONE_HOT, _CTR = "FloatFeature", "OneHotFeature", "OnlineCtr"


class _SplitRecord(msgspec.Struct):
    split_type: str
    border: float = 0.0
    value: int = 0
    float_feature_index: int | None = None
    cat_feature_index: int | None = None


class _Oblivious(msgspec.Struct):
    leaf_values: list[msgspec.Raw]
    leaf_weights: list[float] = []
    splits: list[_SplitRecord] | None = None


class _Node(msgspec.Struct):
    split: _SplitRecord | None = None
    left: _Node | None = None
    right: _Node | None = None
    value: msgspec.Raw = msgspec.Raw()
    weight: float = 0.0


class _Feature(msgspec.Struct):
    flat_feature_index: int
    feature_index: int
    feature_id: str = ""
    has_nans: bool = False
    nan_value_treatment: str = ""


class _Features(msgspec.Struct):
    float_features: list[_Feature] = []
    categorical_features: list[_Feature] = []
    text_features: list[Any] = []
    embedding_features: list[Any] = []


class _File(msgspec.Struct):
    features_info: _Features
    oblivious_trees: list[_Oblivious] | None = None
    trees: list[_Node] | None = None
    scale_and_bias: tuple[msgspec.Raw, msgspec.Raw] | None = None
    model_info: dict[str, Any] = {}


def read_json(raw: bytes) -> Document:
    """Read a JSON model; ModelUnreadableError or UnsupportedModelError say what is wrong."""
    try:
        file = msgspec.json.decode(raw, type=_File)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ModelUnreadableError(f"this is no CatBoost JSON model: {error}") from error
    return _Reader(file).document()


class _Reader:
    def __init__(self, file: _File) -> None:
        info = file.features_info
        for kind, found in (("text", info.text_features), ("embedding", info.embedding_features)):
            if found:
                raise refuse_kind(kind)
        self._file = file
        self._floats = {f.feature_index: _column(f) for f in info.float_features}
        self._categories = {f.feature_index: _column(f, is_category=True) for f in info.categorical_features}
        self._splits: dict[tuple[int, float, int | None], int] = {}

    def document(self) -> Document:
        scale, biases = 1.0, [0.0]
        if self._file.scale_and_bias is not None:
            scale = read_decimal(bytes(self._file.scale_and_bias[0]))
            biases = _decimals(self._file.scale_and_bias[1])
        records: Sequence[_Oblivious | _Node] | None = (
            self._file.oblivious_trees if self._file.oblivious_trees is not None else self._file.trees
        )
        if not records:
            raise ModelUnreadableError("the model has no trees")
        n_outputs = self._outputs(records[0], len(biases))
        trees = tuple(self._tree(record, index, n_outputs) for index, record in enumerate(records))
        return Document(
            columns=(*self._floats.values(), *self._categories.values()),
            splits=tuple(Split(*key) for key in self._splits),
            trees=trees,
            n_outputs=n_outputs,
            scale=scale,
            bias=tuple(biases) if len(biases) == n_outputs else tuple(biases) * n_outputs,
            info=self._file.model_info,
        )

    @staticmethod
    def _outputs(first: _Oblivious | _Node, n_biases: int) -> int:
        if isinstance(first, _Oblivious):
            count, rest = divmod(len(first.leaf_values), 1 << len(first.splits or ()))
        else:
            node: _Node | None = first
            while node is not None and not bytes(node.value):
                node = node.left
            count, rest = 0 if node is None else len(_decimals(node.value)), 0
        if rest or count < 1 or n_biases not in (1, count):
            raise ModelUnreadableError(f"the model's first tree has leaves of {count} values, its bias has {n_biases}")
        return count

    def _tree(self, record: _Oblivious | _Node, index: int, n_outputs: int) -> Tree:
        if isinstance(record, _Oblivious):
            splits = [self._split(split, index) for split in record.splits or ()]
            return oblivious_tree(
                splits,
                np.array([read_decimal(bytes(v)) for v in record.leaf_values]),
                np.array(record.leaf_weights),
                n_outputs,
                index,
            )

        def children(node: _Node) -> tuple[int, _Node, _Node] | None:
            if node.split is None:
                return None
            if node.left is None or node.right is None:
                raise ModelUnreadableError(f"tree {index} has a split without two sides")
            return self._split(node.split, index), node.left, node.right

        split, left, right, leaves = grow(record, children)
        values, weights = [], []
        for leaf in leaves:
            value = _decimals(leaf.value)
            if len(value) != n_outputs:
                raise ModelUnreadableError(f"tree {index} has a leaf of {len(value)} values, not {n_outputs}")
            values.append(value)
            weights.append(leaf.weight)
        number = np.cumsum(split == NO_SPLIT) - 1
        return Tree(
            split, left, right, number.astype(np.int32), np.array(values, np.float64), np.array(weights, np.float64)
        )

    def _split(self, record: _SplitRecord, index: int) -> int:
        key: tuple[int, float, int | None]
        if record.split_type == _FLOAT and record.float_feature_index in self._floats:
            key = (self._floats[record.float_feature_index].flat, record.border, None)
        elif record.split_type == _ONE_HOT and record.cat_feature_index in self._categories:
            key = (self._categories[record.cat_feature_index].flat, 0.0, record.value & 0xFFFFFFFF)
        elif record.split_type == _CTR:
            raise refuse_ctr([column.name for column in self._categories.values()])
        else:
            raise ModelUnreadableError(f"tree {index} splits by {record.split_type!r} of a feature that does not exist")
        return self._splits.setdefault(key, len(self._splits))


def _decimals(raw: msgspec.Raw) -> list[float]:
    """Return the numbers of a list, or of one number alone."""
    text = bytes(raw).strip()
    if not text:
        return []
    if not text.startswith(b"["):
        return [read_decimal(text)]
    return [read_decimal(bytes(number)) for number in msgspec.json.decode(text, type=list[msgspec.Raw])]


def _column(feature: _Feature, *, is_category: bool = False) -> Column:
    return Column(
        feature.flat_feature_index,
        feature.feature_id,
        is_category,
        nan_is_large=feature.has_nans and feature.nan_value_treatment == AS_TRUE,
    )
