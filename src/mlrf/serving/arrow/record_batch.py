"""Reads record batches and dictionaries of an Arrow stream: each column's buffers, checked against their message's body."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

from mlrf.core.errors import InvalidRequestError
from mlrf.core.flatbuffers import Table
from mlrf.core.value_text import clip, shown_name
from mlrf.serving.arrow.columns import Buffers, Column, Dictionary, TypeId, value_reader
from mlrf.serving.arrow.stream import Message, malformed


class BatchField(IntEnum):
    """Fields of a RecordBatch table."""

    LENGTH = 0
    NODES = 1
    BUFFERS = 2
    COMPRESSION = 3
    VARIADIC = 4


def parts_of(header: Table, body: memoryview, columns: Sequence[Column], n: int) -> list[tuple[bool, Buffers]]:
    """Return for each column whether values are missing, and its buffers."""
    if header.table(BatchField.COMPRESSION) is not None:
        raise InvalidRequestError(
            "the buffers of the stream are compressed; send them uncompressed, and the body in gzip where size matters",
            field="compression",
        )
    if header.count(BatchField.NODES) != len(columns):
        raise malformed(f"a record batch has {header.count(BatchField.NODES)} columns, and the schema {len(columns)}")
    nodes = struct.iter_unpack("<qq", header.items(BatchField.NODES, 16))
    buffer_ranges = struct.iter_unpack("<qq", header.items(BatchField.BUFFERS, 16))
    variadic = struct.iter_unpack("<q", header.items(BatchField.VARIADIC, 8))
    n_left = len(body)
    parts: list[tuple[bool, Buffers]] = []
    for column, (length, n_missing) in zip(columns, nodes, strict=True):
        if length != n:
            raise malformed(f"the column {shown_name(column.name)} has {length} rows, and its batch {n}")
        n_buffers = column.n_buffers
        if column.type_id == TypeId.STRING_VIEW:
            n_buffers += max(0, next(variadic, (0,))[0])
        buffers = []
        for _ in range(n_buffers):
            first, size = next(buffer_ranges, (-1, 0))
            if first < 0 or size < 0 or first + size > len(body):
                raise malformed(f"a buffer of column {shown_name(column.name)} lies outside its message")
            # Writers give each buffer its own bytes. A thousand columns that share eight mebibytes would be gigabytes of work.
            n_left -= size
            if n_left < 0:
                raise malformed(f"the buffers of column {shown_name(column.name)} overlap others")
            buffers.append(body[first : first + size])
        parts.append((n_missing != 0 and bool(buffers), buffers))
    return parts


def read_dictionary(message: Message, values: Mapping[int, Column]) -> tuple[int, Dictionary]:
    """Return the number of a dictionary, and the dictionary; `values` are the columns that dictionaries form, by number."""
    header = message.header
    number, data = header.number(0, "q", 0), header.table(1)
    column = values.get(number)
    if column is None or data is None:
        raise malformed(f"no column has the dictionary {number}")
    if header.number(2, "B", 0):
        raise InvalidRequestError("a dictionary is sent in parts (a delta); send it whole", field=clip(column.name))
    n = data.number(BatchField.LENGTH, "q", 0)
    if not 0 <= n <= 8 * len(message.body):
        raise malformed(
            f"the dictionary of column {shown_name(column.name)} has {n} values in {len(message.body)} bytes"
        )
    ((is_lacking, buffers),) = parts_of(data, message.body, [column], n)
    validity = buffers[0] if is_lacking else None
    if validity is not None and 8 * len(validity) < n:
        raise malformed(f"the dictionary of column {shown_name(column.name)} has fewer bytes than its values need")
    read = value_reader(column, n, buffers)

    def value(index: int) -> Any:
        if not 0 <= index < n:
            raise malformed(
                f"the column {shown_name(column.name)} has the index {index}, but its dictionary only {n} values"
            )
        if validity is not None and not validity[index >> 3] >> (index & 7) & 1:
            return None
        return read(index)

    return number, Dictionary(value)
