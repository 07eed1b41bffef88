"""Reader of CatBoost's JSON format: from bytes to a `Document`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from mlrf.builder.importers.catboost.ctr import (
    COUNTERS,
    MEANS,
    NO_KEY,
    Combination,
    Ctr,
    CtrTable,
    CtrType,
    TableId,
    make_table,
)
from mlrf.builder.importers.catboost.decimals import read_decimal
from mlrf.builder.importers.catboost.document import (
    AS_TRUE,
    NO_COLUMN,
    NO_SPLIT,
    Column,
    Document,
    Split,
    Tree,
    refuse_kind,
)
from mlrf.builder.importers.catboost.json_records import (
    CtrRecord,
    CtrTableRecord,
    FeatureRecord,
    ModelRecord,
    NodeRecord,
    ObliviousTreeRecord,
    SplitRecord,
    TableIdRecord,
)
from mlrf.builder.importers.catboost.tree_shapes import grow, oblivious_tree
from mlrf.core.errors import ModelUnreadableError, UnsupportedModelError

_LOST_SUMS = (
    "CatBoost reads the sums of targets in a JSON file as integers, a fraction as 0, and so does this bundle: the .cbm "
    "file of the same model predicts differently"
)
_FLOAT, _ONE_HOT, _CTR = "FloatFeature", "OneHotFeature", "OnlineCtr"


def read_json(raw: bytes) -> Document:
    """Read a JSON model; ModelUnreadableError or UnsupportedModelError say what is wrong."""
    try:
        file = msgspec.json.decode(raw, type=ModelRecord)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ModelUnreadableError(f"this is not a CatBoost JSON model: {error}") from error
    return _Reader(file).document()


class _Reader:
    def __init__(self, file: ModelRecord) -> None:
        info = file.features_info
        for kind, found in (("text", info.text_features), ("embedding", info.embedding_features)):
            if found:
                raise refuse_kind(kind)
        self._file = file
        self._floats = {f.feature_index: _column(f) for f in info.float_features}
        self._categories = {f.feature_index: _column(f, is_category=True) for f in info.categorical_features}
        self._splits: dict[Split, int] = {}
        # Trees name splits by CTR features by their position among all splits: those of numbers, of categories, then these.
        self._first_ctr_split = sum(len(f.borders) for f in info.float_features) + sum(
            len(f.values) for f in info.categorical_features
        )
        self._ctr_splits = [
            Split(NO_COLUMN, float(np.float32(border)), ctr=ctr)
            for record in info.ctrs
            for ctr in [self._ctr(record)]
            for border in record.borders
        ]

    def document(self) -> Document:
        scale, biases = 1.0, [0.0]
        if self._file.scale_and_bias is not None:
            scale = read_decimal(bytes(self._file.scale_and_bias[0]))
            biases = _decimals(self._file.scale_and_bias[1])
        records: Sequence[ObliviousTreeRecord | NodeRecord] | None = (
            self._file.oblivious_trees if self._file.oblivious_trees is not None else self._file.trees
        )
        if not records:
            raise ModelUnreadableError("the model has no trees")
        n_outputs = self._outputs(records[0], len(biases))
        tables = {self._table_id(name): table for name, table in (self._file.ctr_data or {}).items()}
        trees = tuple(self._tree(record, index, n_outputs) for index, record in enumerate(records))
        return Document(
            columns=(*self._floats.values(), *self._categories.values()),
            splits=tuple(self._splits),
            trees=trees,
            n_outputs=n_outputs,
            scale=scale,
            bias=tuple(biases) if len(biases) == n_outputs else tuple(biases) * n_outputs,
            info=self._file.model_info,
            ctr_tables={table_id: _counts(table, table_id.type) for table_id, table in tables.items()},
            notes=(_LOST_SUMS,) if any(_loses_sums(table, each.type) for each, table in tables.items()) else (),
        )

    def _ctr(self, record: CtrRecord) -> Ctr:
        return Ctr(
            self._table_id(record.identifier),
            record.target_border_idx,
            record.prior_numerator,
            record.prior_denomerator,
            record.shift,
            record.scale,
        )

    def _table_id(self, text: str) -> TableId:
        try:
            record = msgspec.json.decode(text, type=TableIdRecord)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise ModelUnreadableError(f"the model has a CTR feature that cannot be read: {error}") from error
        if record.type not in CtrType.__members__:
            raise UnsupportedModelError(
                f"the model has CTR features of type {record.type!r}, which mlrf does not support"
            )
        categories, above, equals = [], [], []
        try:
            for element in record.identifier:
                match element.combination_element:
                    case "cat_feature_value":
                        categories.append(self._categories[element.cat_feature_index].flat)
                    case "float_feature":
                        border = float(np.float32(element.border))
                        above.append((self._floats[element.float_feature_index].flat, border))
                    case _:
                        equals.append((self._categories[element.cat_feature_index].flat, element.value & 0xFFFFFFFF))
        except KeyError as error:
            raise ModelUnreadableError("the model has a CTR feature of a feature that does not exist") from error
        return TableId(Combination(tuple(categories), tuple(above), tuple(equals)), CtrType[record.type])

    @staticmethod
    def _outputs(first: ObliviousTreeRecord | NodeRecord, n_biases: int) -> int:
        if isinstance(first, ObliviousTreeRecord):
            count, rest = divmod(len(first.leaf_values), 1 << len(first.splits or ()))
        else:
            node: NodeRecord | None = first
            while node is not None and not bytes(node.value):
                node = node.left
            count, rest = 0 if node is None else len(_decimals(node.value)), 0
        if rest or count < 1 or n_biases not in (1, count):
            raise ModelUnreadableError(
                f"the leaves of the model's first tree have {count} values, but its bias has {n_biases}"
            )
        return count

    def _tree(self, record: ObliviousTreeRecord | NodeRecord, index: int, n_outputs: int) -> Tree:
        if isinstance(record, ObliviousTreeRecord):
            splits = [self._split(split, index) for split in record.splits or ()]
            return oblivious_tree(
                splits,
                np.array([read_decimal(bytes(v)) for v in record.leaf_values]),
                np.array(record.leaf_weights),
                n_outputs,
                index,
            )

        def children(node: NodeRecord) -> tuple[int, NodeRecord, NodeRecord] | None:
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

    def _split(self, record: SplitRecord, index: int) -> int:
        ctr_split = record.split_index - self._first_ctr_split
        if record.split_type == _FLOAT and record.float_feature_index in self._floats:
            key = Split(self._floats[record.float_feature_index].flat, record.border)
        elif record.split_type == _ONE_HOT and record.cat_feature_index in self._categories:
            key = Split(self._categories[record.cat_feature_index].flat, category=record.value & 0xFFFFFFFF)
        elif record.split_type == _CTR and 0 <= ctr_split < len(self._ctr_splits):
            key = self._ctr_splits[ctr_split]
        else:
            raise ModelUnreadableError(f"tree {index} splits by {record.split_type!r} of a feature that does not exist")
        return self._splits.setdefault(key, len(self._splits))


def _loses_sums(table: CtrTableRecord, kind: CtrType) -> bool:
    return kind in MEANS and any(isinstance(item, float) and not item.is_integer() for item in table.hash_map)


def _counts(table: CtrTableRecord, kind: CtrType) -> CtrTable:
    """Return the counts of a table, which is a list of decimal keys, each followed by its counts."""
    stride, items = table.hash_stride, table.hash_map
    if stride < 2 or len(items) % stride or (kind in (*MEANS, *COUNTERS) and stride != (3 if kind in MEANS else 2)):  # noqa: PLR2004
        raise ModelUnreadableError("the model has a CTR table whose counts do not match its keys")
    try:
        keys = [int(key) for key in items[::stride] if isinstance(key, str)]
        counts = np.array([items[offset::stride] for offset in range(1, stride)], np.float64).T
        found = np.array(keys, np.uint64)
    except (ValueError, OverflowError) as error:
        raise ModelUnreadableError("the model has a CTR table with a key or a count that is not a number") from error
    if kind in MEANS:
        # CatBoost's own reader expects an integer here, and reads any other number as 0.
        counts[counts != np.trunc(counts)] = 0.0
    if len(found) != len(counts):
        raise ModelUnreadableError("the model has a CTR table with a key that is not text")
    has_key = found != NO_KEY
    return make_table(found[has_key], counts.reshape(-1, stride - 1)[has_key], table.counter_denominator)


def _decimals(raw: msgspec.Raw) -> list[float]:
    """Return the numbers of a list, or a single number as a list."""
    text = bytes(raw).strip()
    if not text:
        return []
    if not text.startswith(b"["):
        return [read_decimal(text)]
    return [read_decimal(bytes(number)) for number in msgspec.json.decode(text, type=list[msgspec.Raw])]


def _column(feature: FeatureRecord, *, is_category: bool = False) -> Column:
    return Column(
        feature.flat_feature_index,
        feature.feature_id,
        is_category,
        nan_is_large=feature.has_nans and feature.nan_value_treatment == AS_TRUE,
    )
