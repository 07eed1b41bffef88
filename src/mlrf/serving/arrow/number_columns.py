"""The columns of numbers of a record batch, all read by one call of the kernel.

The kernel accepts only batches that are certainly valid, and reports others; `row_reader` then reads them column by column, and
says what is wrong. It checks the buffers of every column, so that `part_at` need not.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mlrf import _kernel
from mlrf.core.flatbuffers import Table
from mlrf.serving.arrow.columns import Buffers, Column, TypeId
from mlrf.serving.arrow.record_batch import BatchField

_COLUMN = struct.Struct("<IiI")
_PAIR = struct.Struct("<qq")
_SKIPPED = -1
_HALF = "e"


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """How the columns of a stream's schema are read."""

    columns: bytes
    """For the kernel: of each column its code, the feature that it is a number of, and its buffers."""
    by_value: tuple[tuple[int, int, int], ...]
    """The features that are not numbers: feature, column, and the first of the column's buffers."""


def plan_columns(
    columns: Sequence[Column], column_indices: Sequence[int], numeric: Sequence[bool]
) -> ColumnPlan | None:
    """Return the plan for a schema whose features are at `column_indices`; None where the kernel cannot read it.

    `numeric` tells of each feature whether numbers of its column are its values.
    """
    feature_of = {column: feature for feature, column in enumerate(column_indices)}
    packed, by_value, first_buffer = [], [], 0
    for index, column in enumerate(columns):
        feature = feature_of.get(index)
        is_number = feature is not None and numeric[feature] and column.is_number
        if column.type_id == TypeId.STRING_VIEW or (is_number and column.code == _HALF):
            # The number of a view's buffers differs from batch to batch; the kernel has no type of 16 bits.
            return None
        code = "?" if column.type_id == TypeId.BOOL else column.code
        target = feature if is_number and feature is not None else _SKIPPED
        packed.append(_COLUMN.pack(ord(code) if is_number else 0, target, column.n_buffers))
        if feature is not None and not is_number:
            by_value.append((feature, index, first_buffer))
        first_buffer += column.n_buffers
    return None if -1 in column_indices else ColumnPlan(b"".join(packed), tuple(by_value))


class Located(NamedTuple):
    """Where the values of a record batch are, as its metadata say."""

    nodes: bytes | memoryview
    """Of each column, its rows and how many of them are missing."""
    buffers: bytes | memoryview
    """Of each buffer, offset and size."""


def read_numbers(plan: ColumnPlan, header: Table, body: memoryview, n: int, table: array[float]) -> Located | None:
    """Write the numbers of n rows into a table [n, F]; None where the batch is not certainly valid."""
    if header.table(BatchField.COMPRESSION) is not None:
        return None
    found = Located(header.items(BatchField.NODES, _PAIR.size), header.items(BatchField.BUFFERS, _PAIR.size))
    return found if _kernel.fill_records(body, *found, plan.columns, table, n) else None


def part_at(located: Located, body: memoryview, column: Column, index: int, first_buffer: int) -> tuple[bool, Buffers]:
    """Return whether a column of a batch that `read_numbers` accepted lacks values, and its buffers."""
    n_missing = _PAIR.unpack_from(located.nodes, _PAIR.size * index)[1]
    buffers = []
    for number in range(first_buffer, first_buffer + column.n_buffers):
        offset, size = _PAIR.unpack_from(located.buffers, _PAIR.size * number)
        buffers.append(body[offset : offset + size])
    return n_missing != 0 and bool(buffers), buffers
