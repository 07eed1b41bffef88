"""Golden rows for a forest's look-up tables (CatBoost's CTR features): one for each entry that can be found.

An entry is identified by the hash of its key, and a hash cannot be inverted: combinations must be tried. All combinations of
the named categories are tried if there are few, random ones and the rows of the sample if there are many.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from mlrf.core.forest import F64, Forest
from mlrf.core.table_columns import LookupTable, PartKind, TableColumns, find_entries

MAX_TRIED = 100_000
"""Number of combinations that are tried for a table."""
MAX_ROWS_A_TABLE = 2_000
MAX_CODES = 4_096
"""Number of categories of a feature that are tried in every column."""


def hashed_codes(forest: Forest) -> dict[int, frozenset[float]]:
    """Return the codes to try for each feature with hashed categories: the listed ones, one beyond, one below 0."""
    if forest.tables is None:
        return {}
    found = {}
    for feature, hashes in forest.tables.hashes.items():
        listed = np.unique(np.linspace(0, len(hashes) - 1, min(len(hashes), MAX_CODES)).astype(np.int64))
        found[feature] = frozenset({*map(float, listed.tolist()), float(len(hashes)), -1.0})
    return found


def table_borders(forest: Forest, feature: int) -> list[float]:
    """Return the borders of a numeric feature in the keys of tables."""
    if forest.tables is None:
        return []
    parts = [part for table in forest.tables.tables for part in table.parts]
    return sorted({part.border for part in parts if part.kind is PartKind.ABOVE and part.feature == feature})


def bordered_features(forest: Forest) -> set[int]:
    """Return the numeric features on which keys of tables depend."""
    if forest.tables is None:
        return set()
    parts = [part for table in forest.tables.tables for part in table.parts]
    return {part.feature for part in parts if part.kind is PartKind.ABOVE}


def entry_rows(forest: Forest, backgrounds: F64, rng: np.random.Generator) -> Iterator[F64]:
    """Yield rows [m, F] for each table that find different entries of it; other columns are those of random `backgrounds`."""
    if forest.tables is None:
        return
    for table in forest.tables.tables:
        values = _tried(forest.tables, table, rng)
        columns = dict(zip(table.features, values.T, strict=True))
        entries = find_entries(table, forest.tables.hashes, columns)
        _, first = np.unique(entries, return_index=True)
        first = first[:: math.ceil(len(first) / MAX_ROWS_A_TABLE)]
        rows = backgrounds[rng.integers(len(backgrounds), size=len(first))]
        for feature, column in columns.items():
            rows[:, feature] = column[first]
        yield rows


def sampled_entry_rows(forest: Forest, sampled: F64) -> F64:
    """Return the rows of a sample [m, F] that find different entries of some table."""
    if forest.tables is None:
        return sampled[:0]
    chosen: set[int] = set()
    for table in forest.tables.tables:
        entries = find_entries(table, forest.tables.hashes, _columns(table, sampled))
        _, first = np.unique(entries, return_index=True)
        chosen.update(first[:: math.ceil(len(first) / MAX_ROWS_A_TABLE)].tolist())
    return sampled[sorted(chosen)]


def count_found(forest: Forest, rows: F64) -> int:
    """Return the number of entries of all tables that rows [n, F] find."""
    if forest.tables is None:
        return 0
    found = 0
    for table in forest.tables.tables:
        entries = np.unique(find_entries(table, forest.tables.hashes, _columns(table, rows)))
        found += int(np.count_nonzero(entries < len(table.keys)))
    return found


def _columns(table: LookupTable, rows: F64) -> dict[int, F64]:
    return {feature: rows[:, feature] for feature in table.features}


def _tried(tables: TableColumns, table: LookupTable, rng: np.random.Generator) -> F64:
    """Return values [n, features of the table] that may lead to its entries."""
    pools = []
    for feature in table.features:
        if feature in tables.hashes:
            pools.append(np.arange(max(1, len(tables.hashes[feature]))).astype(np.float64))
            continue
        borders = np.array(
            [part.border for part in table.parts if part.kind is PartKind.ABOVE and part.feature == feature], np.float32
        )
        pools.append(np.unique(np.concatenate([borders, np.nextafter(borders, np.float32(np.inf))])).astype(np.float64))
    if math.prod(len(pool) for pool in pools) <= MAX_TRIED:
        return np.stack(np.meshgrid(*pools, indexing="ij"), axis=-1).reshape(-1, len(pools))
    return np.stack([rng.choice(pool, MAX_TRIED) for pool in pools], axis=1)
