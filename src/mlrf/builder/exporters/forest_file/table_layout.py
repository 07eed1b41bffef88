"""Lays out the look-up tables of the forest file: keys in a hash table with open addressing, values by entry."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mlrf.core.errors import UnsupportedModelError
from mlrf.core.forest import Forest
from mlrf.core.table_columns import LookupTable, PartKind, TableColumns

HASHED_FEATURE = np.dtype([("feature", "<u4"), ("first_code", "<u4"), ("n_codes", "<u4")])
KEY_PART = np.dtype([("kind", "<u4"), ("source", "<u4"), ("hash", "<u4"), ("nan_is_above", "<u4"), ("border", "<f8")])
TABLE = np.dtype(
    [
        (name, "<u4")
        for name in (
            "first_part",
            "n_parts",
            "first_slot",
            "slot_bits",
            "first_value",
            "n_columns",
            "n_entries",
            "first_column",
        )
    ]
)
SLOT = np.dtype([("key", "<u8"), ("entry", "<u4"), ("is_used", "<u4")])
GROUP = np.dtype([("first", "<u4"), ("count", "<u4")])

_MAX_COUNT = 0xFFFFFFFF
_SPREAD = np.uint64(0x9E3779B97F4A7C15)

Section = npt.NDArray[Any]


def lay_out_tables(forest: Forest) -> list[Section]:
    """Return the sections from kHashedFeatures on; UnsupportedModelError for more entries than 32 bits can number."""
    tables = forest.tables if forest.tables is not None else TableColumns({}, ())
    features = sorted(tables.hashes)
    sizes = [len(tables.hashes[feature]) for feature in features]
    hashed = np.zeros(len(features), HASHED_FEATURE)
    hashed["feature"] = features
    hashed["first_code"] = np.cumsum([0, *sizes])[:-1]
    hashed["n_codes"] = sizes
    parts, records, slots, values = _lay_out(tables, features)
    groups = tables.groups()
    group = np.zeros(len(groups), GROUP)
    counts = [len(each) for each in groups]
    group["first"] = np.cumsum([0, *counts])[:-1]
    group["count"] = counts
    return [
        hashed,
        np.concatenate([np.zeros(0, "<u4"), *(tables.hashes[feature] for feature in features)]).astype("<u4"),
        parts,
        records,
        slots,
        values,
        group,
        np.array([feature for each in groups for feature in each], "<u4"),
    ]


def _lay_out(tables: TableColumns, features: list[int]) -> tuple[Section, Section, Section, Section]:
    position = {feature: index for index, feature in enumerate(features)}
    parts, slots, values = [np.zeros(0, KEY_PART)], [np.zeros(0, SLOT)], [np.zeros(0, "<f4")]
    records = np.zeros(len(tables.tables), TABLE)
    first_part = first_slot = first_value = first_column = 0
    for index, table in enumerate(tables.tables):
        own = np.zeros(len(table.parts), KEY_PART)
        for number, part in enumerate(table.parts):
            source = part.feature if part.kind is PartKind.ABOVE else position[part.feature]
            own[number] = (int(part.kind), source, part.hash, int(part.nan_is_above), part.border)
        parts.append(own)
        slots.append(_slots(table))
        values.append(table.values.astype("<f4").reshape(-1))
        bits = len(slots[-1]).bit_length() - 1
        records[index] = (
            *(first_part, len(own), first_slot, bits, first_value, table.n_columns, len(table.keys)),
            first_column,
        )
        first_part, first_slot = first_part + len(own), first_slot + len(slots[-1])
        first_value, first_column = first_value + len(values[-1]), first_column + table.n_columns
        if max(first_slot, first_value) > _MAX_COUNT:
            raise UnsupportedModelError("the model's CTR tables have more values than the tree engine can number")
    return np.concatenate(parts), records, np.concatenate(slots), np.concatenate(values)


def _slots(table: LookupTable) -> Section:
    """Return a hash table with at least twice as many slots as keys; a key whose slot is taken is in the next free one."""
    bits = max(1, (2 * len(table.keys)).bit_length())
    slots = np.zeros(1 << bits, SLOT)
    home_slots = ((table.keys * _SPREAD) >> np.uint64(64 - bits)).tolist()
    used = [False] * len(slots)
    at = []
    for slot in home_slots:
        while used[slot]:
            slot = (slot + 1) & (len(used) - 1)  # noqa: PLW2901  the search goes on from there
        used[slot] = True
        at.append(slot)
    slots["key"][at] = table.keys
    slots["entry"][at] = np.arange(len(table.keys))
    slots["is_used"][at] = 1
    return slots
