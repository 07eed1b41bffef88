"""Columns of numbers of Arrow and pandas tables, which the kernel writes as float64 rows and checks in one pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

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
"""The types that the kernel reads, as Arrow names them, with their codes in `struct`."""
_NUMPY_CODES = {"float64": "d", "float32": "f"} | {name: code for name, code in _CODES.items() if "int" in name}
_ROWS = 16_384
"""Rows that are written together: columns that lie apart in memory are copied for so many."""


class _Numbers(NamedTuple):
    code: int
    feature: int
    """Its index."""
    values: Callable[[int, int], tuple[Any, Any, int]]
    """Returns what the kernel takes for the rows from one to another: values, validity, and the offset in both."""


def fill_numbers(schema: Schema, columns: Mapping[int, Any], rows: Table) -> set[int]:
    """Write columns, by index of the feature, into rows [n, F]; return the indices of those written, all values valid.

    Others are of another type or in several chunks, are categories by value, or have an invalid value.
    """
    found = [
        _Numbers(ord(read[0]), index, read[1])
        for index, column in columns.items()
        if schema.features[index].categories is None and (read := _reader(column)) is not None
    ]
    refused: set[int] = set()
    for begin in range(0, len(rows) if found else 0, _ROWS):
        end = min(begin + _ROWS, len(rows))
        part = [(each.code, each.feature, *each.values(begin, end)) for each in found]
        refused.update(_kernel.fill_columns(part, schema.column_rules.packed, rows[begin:end], end - begin))
    return {each.feature for at, each in enumerate(found) if at not in refused} if len(rows) else set()


def _reader(column: Any) -> tuple[str, Callable[[int, int], tuple[Any, Any, int]]] | None:
    """Return the code of a column's type and a function that returns its values; None for a column that is not read here."""
    if hasattr(column, "iloc"):  # pandas
        kind = getattr(column, "dtype", None)
        if not isinstance(kind, np.dtype) or not kind.isnative or kind.name not in _NUMPY_CODES:
            return None
        array = column.to_numpy()
        return _NUMPY_CODES[kind.name], lambda begin, end: (np.ascontiguousarray(array[begin:end]), None, 0)
    code = _CODES.get(str(getattr(column, "type", "")))
    if code is None or getattr(column, "num_chunks", 1) != 1:
        return None
    chunk = column.chunk(0) if hasattr(column, "chunk") else column
    validity, values = chunk.buffers()
    present = validity if chunk.null_count else None
    return code, lambda begin, _end: (values, present, chunk.offset + begin)
