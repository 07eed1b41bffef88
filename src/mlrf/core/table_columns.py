"""Columns that are looked up in tables before the trees are evaluated: CatBoost's CTR features in the tree IR.

1. The key of a table is a 64-bit hash of its parts in order: of the hash of a category's text, of whether a number is above a
   border, of whether a category has a certain hash.
2. A table has a value of each of its columns for each key, and values for keys that it does not contain.
3. A code from 0 on is a category whose hash is listed; HASHED_CODE + h is any category with the hash h; NaN and all other codes
   are unknown categories, whose keys are in no table.

A forest's columns are its features, then the columns of its tables in order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from mlrf.core.category_hash import HASHED_CODE

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

MULTIPLIER = np.uint64(0x4906BA494954CB65)
"""Multiplier of CatBoost's hash of two hashes (catboost/libs/model/hash.h)."""


class PartKind(IntEnum):
    """The kinds of parts of a table's key."""

    CATEGORY = 0
    ABOVE = 1
    EQUALS = 2


@dataclass(frozen=True, slots=True)
class KeyPart:
    """A part of a table's key."""

    kind: PartKind
    feature: int
    border: float = 0.0
    """Border of an ABOVE part: a float32 number, as is the value compared with it."""
    nan_is_above: bool = False
    """Whether NaN counts as above the border of an ABOVE part."""
    hash: int = 0
    """Hash of an EQUALS part: 32 bits."""


@dataclass(frozen=True, slots=True, eq=False)
class LookupTable:
    """A table of m keys with the values of c columns."""

    parts: tuple[KeyPart, ...]
    keys: U64
    """[m] The distinct keys."""
    values: F32
    """[m + 1, c] The values of each key; the last row is for keys that are not in the table."""

    @property
    def n_columns(self) -> int:
        """Number of columns, c."""
        return int(self.values.shape[1])

    @property
    def features(self) -> tuple[int, ...]:
        """The features that the key depends on, ascending."""
        return tuple(sorted({part.feature for part in self.parts}))

    @property
    def owners(self) -> tuple[int, ...]:
        """The features to which a contribution of the table is attributed, ascending.

        Like CatBoost: the categories of a combination, in equal parts, but not its conditions on numbers and on exact
        categories.
        """
        categories = {part.feature for part in self.parts if part.kind is PartKind.CATEGORY}
        return tuple(sorted(categories)) or self.features


@dataclass(frozen=True, slots=True, eq=False)
class TableColumns:
    """The tables of a forest, and the hashes of the categories from which their keys are computed."""

    hashes: dict[int, npt.NDArray[np.uint32]]
    """The hash of each code from 0 on, by feature."""
    tables: tuple[LookupTable, ...]

    @property
    def n_columns(self) -> int:
        """Number of columns of all tables."""
        return sum(table.n_columns for table in self.tables)

    @property
    def n_entries(self) -> int:
        """Number of keys of all tables."""
        return sum(len(table.keys) for table in self.tables)

    def groups(self) -> list[tuple[int, ...]]:
        """Return the distinct sets of two or more features that own a table, in the order of the tables."""
        return list(dict.fromkeys(table.owners for table in self.tables if len(table.owners) > 1))

    def owners(self, n_features: int) -> I64:
        """Return for each column its feature, or `n_features` plus the index of its group."""
        group_index = {group: n_features + index for index, group in enumerate(self.groups())}
        owner = [group_index.get(table.owners, table.owners[0]) for table in self.tables]
        return np.repeat(np.array(owner, np.int64), [table.n_columns for table in self.tables])


def find_entries(table: LookupTable, hashes: Mapping[int, npt.NDArray[np.uint32]], columns: Mapping[int, F64]) -> I64:
    """Return [n]: the index of the entry that each row looks up, or the number of entries if there is none.

    `columns`: by feature of the table, its values [n]; `hashes`: by categorical feature, the hash of each code.
    """
    count = len(next(iter(columns.values())))
    key = np.zeros(count, np.uint64)
    has_key = np.ones(count, np.bool_)
    for part in table.parts:
        values = columns[part.feature]
        if part.kind is PartKind.ABOVE:
            with np.errstate(over="ignore"):
                rounded = values.astype(np.float32)
            bits = np.where(np.isnan(rounded), part.nan_is_above, rounded > part.border).astype(np.uint64)
        else:
            own, known = category_hashes(hashes[part.feature], values)
            if part.kind is PartKind.EQUALS:
                bits = (known & (own == part.hash)).astype(np.uint64)
            else:
                has_key &= known
                bits = own.astype(np.uint32).view(np.int32).astype(np.int64).view(np.uint64)
        key = MULTIPLIER * (key + MULTIPLIER * bits)
    order = np.argsort(table.keys)
    ascending = table.keys[order]
    position = np.minimum(np.searchsorted(ascending, key), max(0, len(ascending) - 1))
    if not len(ascending):
        return np.zeros(count, np.int64)
    return np.where(has_key & (ascending[position] == key), order[position], len(ascending))


def category_hashes(hashes: npt.NDArray[np.uint32], codes: F64) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.bool_]]:
    """Return [n] the hash of each code, and [n] whether the code has one."""
    found = np.zeros(len(codes), np.uint32)
    with np.errstate(invalid="ignore"):
        listed = (codes > -1.0) & (codes < len(hashes))
        hashed = (codes >= HASHED_CODE) & (codes < 2 * HASHED_CODE)
    found[listed] = hashes[codes[listed].astype(np.int64)]
    found[hashed] = (codes[hashed] - HASHED_CODE).astype(np.uint32)
    return found, listed | hashed
