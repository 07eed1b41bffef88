"""Writes the forest file: the tree IR in the layout that the kernel maps and uses in place.

`kernel/src/format.hpp` documents each section; both change together, with the version. The same forest gives the same bytes.
Ranks, columns and three orders of the nodes are computed here once, so that the kernel need not compute them at load, level by
level in NumPy, so that a deep tree needs no recursion.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlrf.builder.exporters.forest_file.column_layout import Columns, lay_out_columns
from mlrf.builder.exporters.forest_file.linear_layout import lay_out_linear_leaves
from mlrf.builder.exporters.forest_file.shap_layout import lay_out_shap
from mlrf.builder.exporters.forest_file.table_layout import lay_out_tables
from mlrf.builder.exporters.forest_file.tree_shape import Shape, measure_shape
from mlrf.core.errors import UnsupportedModelError
from mlrf.core.forest import I64, LEAF, TRUNCATED, Forest

MAGIC = b"MLRFTREE"
VERSION = 5
ALIGNMENT_BYTES = 64

NARROW_LIMIT = 0xFFFF
"""Ranks, columns and leaf numbers of the narrow layout fit 16 bits; 65,535 itself means "right of every threshold"."""

SWEEP_LEAVES = 1024
"""Most leaves of a swept tree: walking a larger one is faster."""
STEP_LEAVES = 24
"""Number of leaves that are swept, with two-byte lanes, in the time in which a block of rows is walked one step."""
MOST_SCATTERED = 512
"""Most columns of category sets for which rows are walked in blocks (`kMostScatteredColumns`).

With more they are walked one by one.
"""

BYTE_LEAVES = 256
BYTE_THRESHOLDS = 254
"""Leaf numbers and ranks that fit sweep lanes of one byte; a column of more thresholds takes several."""
MOST_BYTE_COLUMNS = 4096
"""Most columns of one byte: 512 KiB for a block of rows."""

NARROW_NODE = np.dtype([("column", "<u2"), ("rank", "<u2"), ("child", "<u4")])
WIDE_NODE = np.dtype([("column", "<u4"), ("rank", "<u4"), ("child", "<u4"), ("reserved", "<u4")])
SWEEP_NODE = np.dtype([("column", "<u2"), ("rank", "<i2"), ("left", "<i2"), ("right", "<i2")])
TREE = np.dtype(
    [("output", "<u4"), ("root", "<u4"), ("first_value", "<u4"), ("n_leaves", "<u4"), ("first_sweep", "<u4")]
)
WALK_TREE = np.dtype([("tree", "<u4"), ("depth", "<u4")])

Section = npt.NDArray[Any]


def encode_forest(forest: Forest) -> bytes:
    """Return the bytes of the forest file.

    ModelUnreadableError if the forest is invalid, UnsupportedModelError if it exceeds the format.
    """
    forest.validate()
    if forest.n_inputs > 1 << 24 or forest.n_outputs > 1 << 16 or forest.n_nodes >= 1 << 31:
        raise UnsupportedModelError(
            "the model is too large for the tree engine: more than 16,777,216 features, 65,536 outputs or 2,147,483,647 nodes"
        )
    shape = measure_shape(forest)
    columns = lay_out_columns(forest)
    layout = _choose_layout(shape, columns, forest.tables is not None)
    walk = _lay_out_walk(forest, shape, columns, layout)
    shap = lay_out_shap(forest, shape, columns)
    sections: list[Section] = [
        np.concatenate([forest.base, [] if forest.float32_outputs is None else forest.float32_outputs]).astype("<f8"),
        np.asarray(forest.expected_margin(), dtype="<f8"),
        columns.numeric_features,
        columns.thresholds.astype("<f8"),
        columns.rules,
        columns.category_features,
        columns.category_codes.astype("<i4"),
        columns.code_members.astype("<u4"),
        columns.members.astype("<u4"),
        columns.set_offsets.astype("<u4"),
        columns.set_codes.astype("<u4"),
        columns.code_bits.astype("<u2"),
        columns.set_bits,
        columns.category_defaults,
        walk.trees,
        walk.order,
        walk.nodes,
        walk.leaf_values,
        walk.sweep_nodes,
        shap.features.astype("<u4"),
        shap.chunks,
        shap.runs,
        shap.nodes,
        shap.leaves.astype("<f8"),
        *lay_out_tables(forest),
        *lay_out_linear_leaves(forest, shape),
    ]
    header_bytes = 88 + 16 * len(sections)
    offset = header_bytes
    table = b""
    parts: list[bytes] = []
    for section in sections:
        padding = -offset % ALIGNMENT_BYTES
        parts.append(bytes(padding))
        offset += padding
        table += struct.pack("<QQ", offset, len(section))
        parts.append(section.tobytes())
        offset += section.nbytes
    header = struct.pack(
        "<8sIIIIIIQIIIIddIIII",
        MAGIC,
        VERSION,
        0 if layout.is_narrow else 1,
        2 if forest.float32_outputs is not None else 0 if forest.rounding == "float64" else 1,
        0 if forest.inputs == "float64" else 1,
        0,
        len(sections),
        offset,
        forest.n_features,
        forest.n_outputs,
        forest.n_trees,
        columns.count,
        forest.divisor,
        forest.scale,
        layout.sweep_lane_bytes,
        0 if forest.base_order == "first" else 1,
        0 if forest.no_code_up_to == TRUNCATED else 1,
        forest.n_inputs - forest.n_features,
    )
    return header + table + b"".join(parts)


@dataclass(frozen=True, slots=True)
class _Layout:
    is_narrow: bool
    sweep_lane_bytes: int


def _choose_layout(shape: Shape, columns: Columns, has_tables: bool) -> _Layout:
    most_leaves = int(shape.tree_leaves.max(initial=1))
    is_narrow = columns.most_thresholds < NARROW_LIMIT and columns.count <= NARROW_LIMIT and most_leaves <= NARROW_LIMIT
    n_byte_columns = columns.count + int((_byte_columns(columns) - 1).sum())
    # A table's values are ranked when the file is opened, in the columns that the forest has.
    fits_several = not has_tables and n_byte_columns <= MOST_BYTE_COLUMNS
    if not is_narrow or most_leaves > SWEEP_LEAVES:
        return _Layout(is_narrow, 0)
    if most_leaves <= BYTE_LEAVES and (columns.most_thresholds <= BYTE_THRESHOLDS or fits_several):
        return _Layout(True, 1)
    depths = np.zeros(len(shape.tree_leaves), dtype=np.int64)
    np.maximum.at(depths, shape.tree, shape.depth)
    walks = STEP_LEAVES * int(depths.sum()) < int(shape.tree_leaves.sum())
    return _Layout(True, 0 if walks and len(columns.category_defaults) <= MOST_SCATTERED else 2)


def _byte_columns(columns: Columns) -> I64:
    """Return how many columns of one byte each column takes."""
    features = columns.numeric_features
    of_feature = np.maximum(1, -(-features["n_thresholds"].astype(np.int64) // BYTE_THRESHOLDS))
    counts = np.ones(columns.count, dtype=np.int64)
    counts[1 : 1 + len(columns.rules)] = np.repeat(of_feature, features["n_columns"])
    return counts


def _first_further_column(columns: Columns) -> I64:
    """Return where the columns that each column takes beyond its own begin: behind those of the forest, in order."""
    further = _byte_columns(columns) - 1
    return columns.count + np.cumsum(further) - further


@dataclass(frozen=True, slots=True)
class _Walk:
    trees: Section
    order: Section
    nodes: Section
    leaf_values: Section
    sweep_nodes: Section


def _lay_out_walk(forest: Forest, shape: Shape, columns: Columns, layout: _Layout) -> _Walk:
    """Lay out the nodes for both ways of scoring: by tree and level, siblings adjacent; and by tree, children first."""
    n_nodes, n_trees = forest.n_nodes, forest.n_trees
    inner = forest.feature != LEAF
    # Level by level, from left to right: siblings are adjacent, because no node of their level is between them.
    by_level = np.lexsort((shape.first_leaf, shape.depth, shape.tree))
    position = np.empty(n_nodes, dtype=np.int64)
    position[by_level] = np.arange(n_nodes)
    nodes = np.zeros(n_nodes, dtype=NARROW_NODE if layout.is_narrow else WIDE_NODE)
    nodes["column"][position] = np.where(inner, columns.node_column, 0)
    nodes["rank"][position] = np.where(inner, columns.node_rank, shape.first_leaf)
    nodes["child"][position] = np.where(inner, position[np.where(inner, forest.left, 0)], position)

    trees = np.zeros(n_trees, dtype=TREE)
    trees["output"] = forest.tree_output
    trees["root"] = forest.tree_offsets[:-1]
    trees["n_leaves"] = shape.tree_leaves
    trees["first_value"] = np.cumsum(shape.tree_leaves) - shape.tree_leaves
    depths = np.zeros(n_trees, dtype=np.int64)
    np.maximum.at(depths, shape.tree, shape.depth)
    order = np.zeros(n_trees, dtype=WALK_TREE)
    order["tree"] = np.argsort(depths, kind="stable")
    order["depth"] = depths[order["tree"]]

    sweep_nodes = np.zeros(0, dtype=SWEEP_NODE)
    if layout.sweep_lane_bytes:
        splits = np.flatnonzero(inner)
        # The kernel needs children before their parents, and is faster if those over two leaves come first.
        has_split = inner[forest.left[splits]] | inner[forest.right[splits]]
        before_parents = np.lexsort((shape.first_leaf[splits], -shape.depth[splits], has_split, shape.tree[splits]))
        splits = splits[before_parents]
        first_sweep = np.cumsum(shape.tree_leaves - 1) - (shape.tree_leaves - 1)
        trees["first_sweep"] = first_sweep
        reference = -1 - shape.first_leaf
        reference[splits] = np.arange(len(splits)) - first_sweep[shape.tree[splits]]
        sweep_nodes = np.zeros(len(splits), dtype=SWEEP_NODE)
        column, rank = columns.node_column[splits], columns.node_rank[splits]
        if layout.sweep_lane_bytes == 1:
            part, rank = np.divmod(rank, BYTE_THRESHOLDS)
            column = np.where(part == 0, column, _first_further_column(columns)[column] + part - 1)
        sweep_nodes["column"] = column
        sweep_nodes["rank"] = rank - (1 << (8 * layout.sweep_lane_bytes - 1))
        sweep_nodes["left"] = reference[forest.left[splits]]
        sweep_nodes["right"] = reference[forest.right[splits]]
    return _Walk(trees, order, nodes, forest.value[shape.leaves].astype("<f8"), sweep_nodes)
