"""Reader of CatBoost's `.cbm` format: from bytes to a `Document`.

Four bytes `CBM1`, the size of what follows, and a FlatBuffers table (fields in `cbm_fields`).
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from mlrf.builder.importers.catboost.cbm_fields import (
    CategoryField,
    CombinationField,
    CoreField,
    CtrBaseField,
    CtrFeatureField,
    CtrField,
    CtrTableField,
    FloatField,
    OneHotField,
    TreesField,
)
from mlrf.builder.importers.catboost.cbm_tables import Table
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
from mlrf.builder.importers.catboost.document import NO_COLUMN, Column, Document, Split, Tree, refuse_kind
from mlrf.builder.importers.catboost.tree_shapes import grow, oblivious_tree
from mlrf.core.errors import ModelUnreadableError, UnsupportedModelError
from mlrf.core.forest import F64, I64

MAGIC = b"CBM1"
_HEADER_BYTES = 8
_FORMATS = ("FlabuffersModel_v1",)  # CatBoost's own spelling
_NAN_AS_TRUE = 2
_CTR_PART = "static_provider_v1"
"""Name of the only part after the trees that is read."""


_FLOAT_SPLIT = np.dtype([("feature", "<i4"), ("border", "<f4")])
_ONE_HOT_SPLIT = np.dtype([("feature", "<i4"), ("hash", "<i4")])
_INDEX_SLOT = np.dtype([("key", "<u8"), ("entry", "<u4")])
_MEAN = np.dtype([("sum", "<f4"), ("count", "<i4")])


def read_binary(raw: bytes) -> Document:
    """Read a `.cbm` model; ModelUnreadableError or UnsupportedModelError say what is wrong."""
    size = int.from_bytes(raw[4:_HEADER_BYTES], "little")
    if not raw.startswith(MAGIC) or len(raw) < _HEADER_BYTES + size:
        raise ModelUnreadableError("the .cbm file is cut off: it is shorter than its header says; copy it again")
    core = Table.root(memoryview(raw)[_HEADER_BYTES : _HEADER_BYTES + size])
    version = core.text(CoreField.FORMAT)
    if version not in _FORMATS:
        raise UnsupportedModelError(f"the .cbm file has format {version!r}; mlrf reads {', '.join(_FORMATS)}")
    trees = core.table(CoreField.TREES)
    if trees is None:
        raise ModelUnreadableError("the .cbm file contains no trees")
    info = {pair.text(0): _value(pair.text(1)) for pair in core.tables(CoreField.INFO)}
    reader = _Reader(trees)
    if _CTR_PART in core.texts(CoreField.PARTS)[:1]:
        reader.read_tables(memoryview(raw)[_HEADER_BYTES + size :])
    return reader.document(info)


def _counts(table: Table, kind: CtrType) -> CtrTable:
    slots = table.vector(CtrTableField.INDEX, "u1").tobytes()
    counts = table.vector(CtrTableField.COUNTS, "u1").tobytes()
    n_classes = table.number(CtrTableField.CLASSES, "i", 0)
    if kind in MEANS:
        item, width = _MEAN.itemsize, 2
    else:
        width = 1 if kind in COUNTERS else n_classes
        item = 4 * width
    if item < 1 or len(counts) % item or len(slots) % _INDEX_SLOT.itemsize:
        raise ModelUnreadableError("the .cbm file has a CTR table whose counts do not match its classes")
    if kind in MEANS:
        pairs = np.frombuffer(counts, _MEAN)
        numbers = np.column_stack([pairs["sum"], pairs["count"]]).astype(np.float64)
    else:
        numbers = np.frombuffer(counts, "<i4").reshape(-1, width).astype(np.float64)
    index = np.frombuffer(slots, _INDEX_SLOT)
    index = index[index["key"] != NO_KEY]
    if np.any(index["entry"] >= len(numbers)):
        raise ModelUnreadableError("the .cbm file has a CTR table with a key that has no counts")
    return make_table(
        index["key"].astype(np.uint64), numbers[index["entry"]], table.number(CtrTableField.DENOMINATOR, "i", 0)
    )


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


class _Reader:
    def __init__(self, trees: Table) -> None:
        for kind, field in (("text", TreesField.TEXT), ("embedding", TreesField.EMBEDDING)):
            if trees.count(field):
                raise refuse_kind(kind)
        self._trees = trees
        floats = list(trees.tables(TreesField.FLOATS))
        self._floats = {
            f.number(FloatField.INDEX, "i", -1): Column(
                f.number(FloatField.FLAT, "i", -1),
                f.text(FloatField.NAME),
                nan_is_large=bool(f.number(FloatField.HAS_NANS, "B", 0))
                and f.number(FloatField.TREATMENT, "b", 0) == _NAN_AS_TRUE,
            )
            for f in floats
        }
        self._categories = {
            c.number(CategoryField.INDEX, "i", -1): Column(
                c.number(CategoryField.FLAT, "i", -1), c.text(CategoryField.NAME), is_category=True
            )
            for c in trees.tables(TreesField.CATEGORIES)
        }
        self._splits = [
            Split(column.flat, border)
            for f in floats
            for column in [self._floats[f.number(FloatField.INDEX, "i", -1)]]
            for border in f.vector(FloatField.BORDERS, "<f4").astype(np.float64).tolist()
        ]
        for one_hot in trees.tables(TreesField.ONE_HOT):
            column = self._categories.get(one_hot.number(OneHotField.INDEX, "i", -1))
            if column is None:
                raise ModelUnreadableError("the .cbm file splits by a category of a feature that does not exist")
            values = one_hot.vector(OneHotField.VALUES, "<i4").tolist()
            self._splits += [Split(column.flat, category=value & 0xFFFFFFFF) for value in values]
        for feature in trees.tables(TreesField.CTR):
            ctr = self._ctr(feature.table(CtrFeatureField.CTR))
            borders = feature.vector(CtrFeatureField.BORDERS, "<f4").astype(np.float64).tolist()
            self._splits += [Split(NO_COLUMN, border, ctr=ctr) for border in borders]
        self._tables: dict[TableId, CtrTable] = {}

    def document(self, info: dict[str, Any]) -> Document:
        trees = self._trees
        n_outputs = trees.number(TreesField.DIMENSION, "i", 0)
        if n_outputs < 1:
            raise ModelUnreadableError(f"the .cbm file states {n_outputs} outputs")
        sizes = trees.vector(TreesField.SIZES, "<i4").astype(np.int64)
        splits = trees.vector(TreesField.SPLITS, "<i4").astype(np.int64)
        if not len(sizes) or np.any(sizes < 0) or int(sizes.sum()) != len(splits):
            raise ModelUnreadableError(
                f"the .cbm file has {len(sizes)} trees and {len(splits)} splits, which do not match"
            )
        values = trees.vector(TreesField.VALUES, "<f8")
        weights = trees.vector(TreesField.WEIGHTS, "<f8")
        if trees.count(TreesField.STEPS):
            read = self._grown(sizes, splits, values, weights, n_outputs)
        else:
            read = self._oblivious(sizes, splits, values, weights, n_outputs)
        bias = trees.vector(TreesField.MULTI_BIAS, "<f8").tolist() or [trees.number(TreesField.BIAS, "d", 0.0)]
        if len(bias) not in (1, n_outputs):
            raise ModelUnreadableError(f"the .cbm file has {len(bias)} biases for {n_outputs} outputs")
        return Document(
            columns=(*self._floats.values(), *self._categories.values()),
            splits=tuple(self._splits),
            trees=tuple(read),
            n_outputs=n_outputs,
            scale=trees.number(TreesField.SCALE, "d", 1.0),
            bias=tuple(bias) if len(bias) == n_outputs else tuple(bias) * n_outputs,
            info=info,
            ctr_tables=self._tables,
        )

    def read_tables(self, part: memoryview) -> None:
        """Read the counts from which CTR features are computed: the number of tables, then each table after its size."""
        offset = 0

        def number() -> int:
            nonlocal offset
            offset += 4
            if offset > len(part):
                raise ModelUnreadableError("the .cbm file is cut off within its CTR tables; copy it again")
            return int.from_bytes(part[offset - 4 : offset], "little")

        for _ in range(number()):
            size = number()
            if size > len(part) - offset:
                raise ModelUnreadableError("the .cbm file is cut off within its CTR tables; copy it again")
            table = Table.root(part[offset : offset + size])
            offset += size
            table_id = self._table_id(table.table(CtrTableField.BASE))
            self._tables[table_id] = _counts(table, table_id.type)

    def _ctr(self, ctr: Table | None) -> Ctr:
        if ctr is None:
            raise ModelUnreadableError("the .cbm file has a CTR feature of no column")
        return Ctr(
            self._table_id(ctr.table(CtrField.BASE)),
            ctr.number(CtrField.TARGET_BORDER, "i", 0),
            ctr.number(CtrField.NUMERATOR, "f", 0.0),
            ctr.number(CtrField.DENOMINATOR, "f", 1.0),
            ctr.number(CtrField.SHIFT, "f", 0.0),
            ctr.number(CtrField.SCALE, "f", 1.0),
        )

    def _table_id(self, base: Table | None) -> TableId:
        combination = None if base is None else base.table(CtrBaseField.COMBINATION)
        if base is None or combination is None:
            raise ModelUnreadableError("the .cbm file has a CTR feature of no column")
        kind = base.number(CtrBaseField.TYPE, "b", 0)
        if kind not in list(CtrType):
            raise UnsupportedModelError(f"the model has CTR features of type {kind}, which mlrf does not support")
        floats = combination.vector(CombinationField.FLOATS, _FLOAT_SPLIT)
        one_hot = combination.vector(CombinationField.ONE_HOT, _ONE_HOT_SPLIT)
        categories = combination.vector(CombinationField.CATEGORIES, "<i4").tolist()
        try:
            found = Combination(
                tuple(self._categories[index].flat for index in categories),
                tuple((self._floats[i].flat, border) for i, border in floats.tolist()),
                tuple((self._categories[i].flat, hashed & 0xFFFFFFFF) for i, hashed in one_hot.tolist()),
            )
        except KeyError as error:
            raise ModelUnreadableError("the .cbm file has a CTR feature of a column that does not exist") from error
        return TableId(found, CtrType(kind), base.number(CtrBaseField.CLASSIFIER, "i", 0))

    def _check(self, split: int) -> int:
        if 0 <= split < len(self._splits):
            return split
        raise ModelUnreadableError(f"the .cbm file has no split {split}")

    def _oblivious(self, sizes: I64, splits: I64, values: F64, weights: F64, n_outputs: int) -> list[Tree]:
        trees, first_split, first_leaf = [], 0, 0
        for index, size in enumerate(sizes.tolist()):
            n_leaves = 1 << min(size, 63)
            own = [self._check(split) for split in splits[first_split : first_split + size].tolist()]
            span = slice(first_leaf * n_outputs, (first_leaf + n_leaves) * n_outputs)
            trees.append(
                oblivious_tree(own, values[span], weights[first_leaf : first_leaf + n_leaves], n_outputs, index)
            )
            first_split, first_leaf = first_split + size, first_leaf + n_leaves
        return trees

    def _grown(self, sizes: I64, splits: I64, values: F64, weights: F64, n_outputs: int) -> list[Tree]:
        """Return trees with one split per node: each node gives the offsets of its two sides, 0 where a side ends in it."""
        steps = self._trees.vector(TreesField.STEPS, np.dtype([("left", "<u2"), ("right", "<u2")]))
        leaf_of = self._trees.vector(TreesField.LEAVES, "<u4").astype(np.int64)
        if not len(steps) == len(leaf_of) == len(splits):
            raise ModelUnreadableError("the .cbm file has steps and splits that do not match")
        if len(values) % n_outputs or len(weights) not in (0, len(values) // n_outputs):
            raise ModelUnreadableError("the .cbm file has leaf values and weights that do not match")
        leaves = values.reshape(-1, n_outputs)
        weight_of = weights if len(weights) else np.zeros(len(leaves))
        distances = [steps["left"].tolist(), steps["right"].tolist()]
        trees, start = [], 0
        for size in sizes.tolist():
            trees.append(self._one(start, start + size, distances, splits, leaf_of, leaves, weight_of, n_outputs))
            start += size
        return trees

    def _one(
        self,
        first: int,
        end: int,
        distances: list[list[int]],
        splits: I64,
        leaf_of: I64,
        leaves: F64,
        weights: F64,
        n_outputs: int,
    ) -> Tree:
        visited = 0

        def children(node: tuple[int, bool]) -> tuple[int, tuple[int, bool], tuple[int, bool]] | None:
            nonlocal visited
            visited += 1
            index, has_ended = node
            if not first <= index < end or visited > 4 * (end - first):
                raise ModelUnreadableError("the .cbm file has a tree with a branch outside the tree")
            left, right = distances[0][index], distances[1][index]
            if has_ended or (left == 0 and right == 0):
                return None
            return self._check(int(splits[index])), (index + left, left == 0), (index + right, right == 0)

        split, left, right, ends = grow((first, False), children)
        rows = leaf_of[[index for index, _ in ends]] // n_outputs
        if np.any(rows >= len(leaves)):
            raise ModelUnreadableError("the .cbm file has a tree without a leaf value")
        number = (np.cumsum(split < 0) - 1).astype(np.int32)
        own_numbers = (rows - rows.min()).astype(np.int32)
        return Tree(split, left, right, number, leaves[rows], weights[rows], own_numbers)
