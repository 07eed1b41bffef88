"""Lays out the columns to which a row is converted: one for each feature and missing rule, and each feature and category set.

A node then only tests `column > rank`. Column 0 is always 0, so that a walk that has reached its leaf stays there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlrf.core.forest import F64, I64, LEAF, NUMERIC, U8, Forest, Missing

NUMERIC_FEATURE = np.dtype(
    [
        ("feature", "<u4"),
        ("first_threshold", "<u4"),
        ("n_thresholds", "<u4"),
        ("first_column", "<u4"),
        ("n_columns", "<u4"),
    ]
)
CATEGORY_FEATURE = np.dtype(
    [
        ("feature", "<u4"),
        ("first_code", "<u4"),
        ("n_codes", "<u4"),
        ("first_column", "<u4"),
        ("n_columns", "<u4"),
        ("first_word", "<u4"),
    ]
)
DENSE_CODES = 126
"""A feature with at most this many codes also gets its sets as bits, by code and by set."""
SET_BYTES = 16

RULES = {
    (Missing.NONE, False): 0,
    (Missing.NONE, True): 0,
    (Missing.NAN, True): 1,
    (Missing.NAN, False): 2,
    (Missing.ZERO, True): 3,
    (Missing.ZERO, False): 4,
}
"""`ColumnRule` of the forest file by missing rule and default side; NONE has no default side."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Sections of the forest file that convert a row to columns, and the test of each node."""

    count: int
    """Number of columns, including column 0."""
    most_thresholds: int
    """The largest number of distinct thresholds of one feature."""
    node_column: I64
    """[N] the column that an inner node tests."""
    node_rank: I64
    """[N] the greatest value of the column that goes left."""
    numeric_features: npt.NDArray[Any]
    thresholds: F64
    rules: U8
    category_features: npt.NDArray[Any]
    category_codes: I64
    code_members: I64
    members: I64
    set_offsets: I64
    set_codes: I64
    code_bits: npt.NDArray[np.uint16]
    set_bits: U8
    category_defaults: U8


def lay_out_columns(forest: Forest) -> Columns:
    """Return the columns of a valid forest."""
    inner = forest.feature != LEAF
    numeric = np.flatnonzero(inner & (forest.category_set == NUMERIC))
    node_column = np.zeros(forest.n_nodes, dtype=np.int64)
    node_rank = np.zeros(forest.n_nodes, dtype=np.int64)

    # Adding 0.0 turns -0.0 into 0.0.
    threshold = forest.threshold[numeric] + 0.0
    feature = forest.feature[numeric].astype(np.int64)
    order = np.lexsort((threshold, feature))
    is_new_feature = np.diff(feature[order], prepend=-1) != 0
    # Compared, not subtracted: the difference of two infinite thresholds is not a number.
    ascending = threshold[order]
    is_new = is_new_feature.copy()
    is_new[1:] |= ascending[1:] != ascending[:-1]
    thresholds = ascending[is_new]
    of_feature = feature[order][is_new]
    features, firsts, counts = np.unique(of_feature, return_index=True, return_counts=True)
    rank = np.empty(len(numeric), dtype=np.int64)
    rank[order] = np.cumsum(is_new) - 1
    node_rank[numeric] = rank - firsts[np.searchsorted(features, feature)]

    table = np.zeros((max(Missing) + 1, 2), dtype=np.int64)
    for (missing, default_left), rule in RULES.items():
        table[missing, int(default_left)] = rule
    rule_of_node = table[forest.missing[numeric], forest.default_left[numeric].astype(np.int64)]
    keys, column = np.unique(feature * 8 + rule_of_node, return_inverse=True)
    node_column[numeric] = 1 + column
    records = np.zeros(len(features), dtype=NUMERIC_FEATURE)
    records["feature"] = features
    records["first_threshold"] = firsts
    records["n_thresholds"] = counts
    records["first_column"] = 1 + np.searchsorted(keys // 8, features)
    records["n_columns"] = np.bincount(np.searchsorted(features, keys // 8), minlength=len(features))
    categories = _lay_out_categories(forest, node_column, 1 + len(keys))
    return Columns(
        count=1 + len(keys) + len(categories.defaults),
        most_thresholds=int(counts.max(initial=0)),
        node_column=node_column,
        node_rank=node_rank,
        numeric_features=records,
        thresholds=thresholds,
        rules=(keys % 8).astype(np.uint8),
        category_features=categories.features,
        category_codes=categories.codes,
        code_members=categories.code_members,
        members=categories.members,
        set_offsets=categories.set_offsets,
        set_codes=categories.set_codes,
        code_bits=categories.code_bits,
        set_bits=categories.set_bits,
        category_defaults=categories.defaults,
    )


@dataclass(frozen=True, slots=True)
class _Categories:
    features: npt.NDArray[Any]
    codes: I64
    code_members: I64
    members: I64
    set_offsets: I64
    set_codes: I64
    code_bits: npt.NDArray[np.uint16]
    set_bits: U8
    defaults: U8


def _lay_out_categories(forest: Forest, node_column: I64, first_column: int) -> _Categories:
    """Lay out one column for each distinct (feature, set, default side); sets `node_column` of the nodes that test it."""
    nodes = np.flatnonzero(forest.category_set != NUMERIC)
    same: dict[bytes, int] = {}
    first_of_set: dict[int, int] = {}
    for index in np.unique(forest.category_set[nodes]).tolist():
        first_of_set[index] = same.setdefault(forest.category_codes(index).tobytes(), index)
    keys: dict[tuple[int, int, int, int], list[int]] = {}
    for node in nodes.tolist():
        index = first_of_set[int(forest.category_set[node])]
        size = int(forest.set_offsets[index + 1] - forest.set_offsets[index])
        # Sets of the same size are adjacent, so that the kernel's loop over a set's codes mostly has a predictable length.
        key = (int(forest.feature[node]), size, index, int(not forest.default_left[node]))
        keys.setdefault(key, []).append(node)
    columns = sorted(keys)
    for index, key in enumerate(columns):
        node_column[keys[key]] = first_column + index

    features = np.unique(np.array([key[0] for key in columns], dtype=np.int64))
    records = np.zeros(len(features), dtype=CATEGORY_FEATURE)
    codes: list[I64] = []
    set_codes: list[I64] = []
    defaults = np.array([key[3] for key in columns], dtype=np.uint8)
    words: list[npt.NDArray[np.uint16]] = [np.zeros(0, dtype=np.uint16)]
    set_bits = np.zeros((len(columns), SET_BYTES), dtype=np.uint8)
    first_code = first_word = 0
    of_column = np.array([key[0] for key in columns], dtype=np.int64)
    for index, feature in enumerate(features.tolist()):
        begin, end = (int(bound) for bound in np.searchsorted(of_column, [feature, feature + 1]))
        sets = [forest.category_codes(key[2]).astype(np.int64) for key in columns[begin:end]]
        own = np.unique(np.concatenate(sets))
        records[index] = (feature, first_code, len(own), first_column + begin, end - begin, first_word)
        indices = [np.searchsorted(own, one) for one in sets]
        set_codes.extend(first_code + one for one in indices)
        if len(own) <= DENSE_CODES:
            set_bits[begin:end], rows = _pack_bits(indices, len(own), defaults[begin:end])
            words.append(rows)
            first_word += len(rows)
        codes.append(own)
        first_code += len(own)
    sizes = np.array([len(one) for one in set_codes], dtype=np.int64)
    flat_codes = np.concatenate([*set_codes, np.zeros(0, dtype=np.int64)])
    by_code = np.argsort(flat_codes, kind="stable")
    return _Categories(
        features=records,
        codes=np.concatenate([*codes, np.zeros(0, dtype=np.int64)]),
        code_members=np.concatenate([[0], np.cumsum(np.bincount(flat_codes, minlength=first_code))]).astype(np.int64),
        members=first_column + np.repeat(np.arange(len(columns)), sizes)[by_code],
        set_offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        set_codes=flat_codes,
        code_bits=np.concatenate(words),
        set_bits=set_bits.reshape(-1),
        defaults=defaults,
    )


def _pack_bits(indices: list[I64], n_codes: int, defaults: U8) -> tuple[U8, npt.NDArray[np.uint16]]:
    """Return the sides of a dense feature, 1 right, as bits by set [sets, 16] and as 16-bit words by code.

    After the codes come the side of a code that is in no set, and that of NaN.
    """
    goes_right = np.ones((len(indices), 8 * SET_BYTES), dtype=np.bool_)
    for one, row in zip(indices, goes_right, strict=True):
        row[one] = False
    goes_right[:, n_codes + 1] = defaults
    by_set = np.packbits(goes_right, axis=1, bitorder="little")
    by_code = np.packbits(goes_right[:, : n_codes + 2].T, axis=1, bitorder="little")
    if by_code.shape[1] % 2:
        by_code = np.pad(by_code, ((0, 0), (0, 1)))
    return by_set, by_code.reshape(-1).view("<u2")
