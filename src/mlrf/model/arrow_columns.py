"""Columns of numbers of an Arrow table, which the kernel writes as float64 rows and checks in one pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlrf import _kernel
from mlrf.core.schema import Schema
from mlrf.model.array_rows import Table

_CODES = {
    "double": "d",
    "float": "f",
    "int8": "b",
    "uint8": "B",
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
}
"""The types that the kernel reads, with their codes in `struct`."""


def fill_numbers(schema: Schema, columns: Mapping[int, Any], rows: Table) -> set[int]:
    """Write Arrow columns, by index of the feature, into rows [n, F]; return the indices of those written, all values valid.

    Others are of another type or in several chunks, are categories by value, or have an invalid value.
    """
    if not len(rows):
        return set()
    found = []
    for index, column in columns.items():
        code = _CODES.get(str(column.type))
        if code is None or schema.features[index].categories is not None or getattr(column, "num_chunks", 1) != 1:
            continue
        chunk = column.chunk(0) if hasattr(column, "chunk") else column
        validity, values = chunk.buffers()
        found.append((ord(code), index, values, validity if chunk.null_count else None, chunk.offset))
    if not found:
        return set()
    refused = set(_kernel.fill_columns(found, schema.column_rules.packed, rows, len(rows)))
    return {index for at, (_, index, *_) in enumerate(found) if at not in refused}
