"""Rows of an Arrow stream as float64 for the engine: columns by name, categories by value, under the schema's rules."""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from mlrf.core.column_matching import find_columns
from mlrf.core.column_rules import ColumnRules, rule_by_value
from mlrf.core.errors import (
    BatchTooLargeError,
    EmptyBatchError,
    InvalidFeatureError,
    InvalidRequestError,
    MalformedRequestError,
    MissingFeatureError,
    UnknownFeatureError,
)
from mlrf.core.feature import Kind
from mlrf.core.flatbuffers import DamagedBufferError, Table
from mlrf.core.leniency import Leniency
from mlrf.core.schema import Schema
from mlrf.core.value_text import clip, shown_name
from mlrf.serving.arrow.columns import Buffers, Column, Dictionary, TypeId, keys, numbers, read_column, value_reader
from mlrf.serving.arrow.stream import PREFIX_BYTES, Header, Message, malformed, messages, metadata_bytes

_SPARE_COLUMNS = 1000
_SPARE_MESSAGES = 16
_KNOWN_DICTIONARIES, _KNOWN_DICTIONARY_BYTES = 256, 4096
_KNOWN_SCHEMAS, _KNOWN_SCHEMA_BYTES = 8, 1 << 20
"""Schemas whose reading is kept: reading one costs ten times the reading of its rows."""


class BatchField(IntEnum):
    """Fields of a RecordBatch table."""

    LENGTH = 0
    NODES = 1
    BUFFERS = 2
    COMPRESSION = 3
    VARIADIC = 4


@dataclass(frozen=True, slots=True)
class _Layout:
    """The columns of a stream, and the column of each feature by index; -1 for one that is left out."""

    number: int
    columns: tuple[Column, ...]
    places: tuple[int, ...]


class RowReader:
    """Reads the streams for one schema."""

    def __init__(self, schema: Schema, leniency: Leniency, max_rows: int) -> None:
        self._schema = schema
        self._leniency = leniency
        self._max_rows = max_rows
        self._rules = ColumnRules([rule_by_value(feature) for feature in schema.features])
        self._known: dict[bytes, _Layout] = {}
        self._n_layouts = 0
        self._dictionaries: dict[tuple[int, bytes, bytes], tuple[int, Dictionary]] = {}

    def knows(self, body: bytes) -> bool:
        """Return whether the schema of a stream was read before: its rows are then read fast."""
        try:
            return body[: PREFIX_BYTES + metadata_bytes(body)] in self._known
        except MalformedRequestError:
            return False

    def table(self, body: bytes) -> array[float]:
        """Return the rows [n, F] row by row; InvalidRequestError or MalformedRequestError says what is wrong."""
        try:
            return self._checked(self._read(body))
        except (DamagedBufferError, struct.error) as error:
            raise malformed(f"the metadata of a message is damaged, {error}") from error

    def _read(self, body: bytes) -> array[float]:
        layout: _Layout | None = None
        dictionaries: dict[int, Dictionary] = {}
        n_features = len(self._schema.features)
        table: array[float] = array("d")
        most = self._max_rows + n_features + _SPARE_MESSAGES
        for message in messages(body, most):
            if message.kind == Header.SCHEMA and layout is None:
                layout = self._layout(body, message.header)
            elif layout is None:
                raise malformed("it does not begin with a schema")
            elif message.kind == Header.DICTIONARY:
                self._read_dictionary(message, layout, dictionaries)
            elif message.kind == Header.RECORDS:
                n_rows = message.header.number(BatchField.LENGTH, "q", 0)
                self._check_count(len(table) // n_features + n_rows, n_rows)
                table += self._records(message, layout, n_rows, dictionaries)
            else:
                raise malformed(f"a message is of the kind {message.kind}")
        if not table:
            raise EmptyBatchError("the stream holds no row; send at least one", instances=0)
        return table

    def _read_dictionary(self, message: Message, layout: _Layout, dictionaries: dict[int, Dictionary]) -> None:
        """Add a dictionary; one that was read before, as that of a client's frames mostly was, is not read again."""
        key = None
        if len(message.metadata) + len(message.body) <= _KNOWN_DICTIONARY_BYTES:
            # Of a copy: what is kept must not hold the body of its request.
            message = message._replace(body=memoryview(bytes(message.body)))
            key = (layout.number, message.metadata, bytes(message.body))
        known = None if key is None else self._dictionaries.get(key)
        if known is None:
            known = _dictionary(message, layout)
            if key is not None:
                if len(self._dictionaries) >= _KNOWN_DICTIONARIES:
                    self._dictionaries.clear()
                self._dictionaries[key] = known
        dictionaries[known[0]] = known[1]

    def _check_count(self, n_all: int, n_rows: int) -> None:
        if n_rows < 0:
            raise malformed("a record batch has fewer than 0 rows")
        if n_all > self._max_rows:
            raise BatchTooLargeError(
                f"the stream holds {n_all} rows or more, more than {self._max_rows}; send it in parts, or raise --max-batch",
                instances=n_all,
                max_instances=self._max_rows,
            )

    def _layout(self, body: bytes, header: Table) -> _Layout:
        key = body[: PREFIX_BYTES + metadata_bytes(body)]
        layout = self._known.get(key)
        if layout is None:
            layout = self._read_layout(header)
            if len(self._known) >= _KNOWN_SCHEMAS:
                self._known.clear()
            if len(key) <= _KNOWN_SCHEMA_BYTES:
                self._known[key] = layout
        return layout

    def _read_layout(self, header: Table) -> _Layout:
        if header.number(0, "h", 0) != 0:
            raise malformed("its numbers are big-endian")
        features = self._schema.features
        if header.count(1) > len(features) + _SPARE_COLUMNS:
            raise UnknownFeatureError(
                f"the stream has {header.count(1)} columns, and the model {len(features)} features"
            )
        columns = tuple(read_column(field) for field in header.tables(1))
        found = find_columns(self._schema.names, [column.name for column in columns])
        if absent := [each.name for each in features if each.name not in found and not each.optional]:
            raise MissingFeatureError(
                f"the stream has no column {shown_name(absent[0])}; send one for every feature",
                feature=clip(absent[0]),
                missing=[clip(name) for name in absent[:20]],
            )
        extra = [column.name for index, column in enumerate(columns) if index not in set(found.values())]
        if extra and self._leniency.unknown_features == "refuse":
            raise UnknownFeatureError(
                f"the column {shown_name(extra[0])} is no feature of the model; drop it, or start the server with "
                "--unknown-features ignore",
                feature=clip(extra[0]),
                unknown=[clip(name) for name in extra[:20]],
            )
        for index, feature in enumerate(features):
            place = found.get(feature.name)
            if place is not None and feature.kind is not Kind.CATEGORICAL:
                self._check_type(index, columns[place])
        self._n_layouts += 1
        return _Layout(self._n_layouts, columns, tuple(found.get(feature.name, -1) for feature in features))

    def _check_type(self, index: int, column: Column) -> None:
        """Raise InvalidFeatureError for a column of strings where the feature takes none."""
        kind = (column.values or column).type_id
        if kind in (TypeId.STRING, TypeId.LARGE_STRING, TypeId.STRING_VIEW):
            feature = self._schema.features[index]
            raise InvalidFeatureError(
                f"feature {feature.name!r} is {feature.kind.value}, and its column holds strings",
                feature=feature.name,
                expected="a column of numbers" if feature.kind is not Kind.BOOLEAN else "a column of booleans",
            )

    def _records(self, message: Message, layout: _Layout, n: int, dictionaries: dict[int, Dictionary]) -> array[float]:
        parts = _parts(message.header, message.body, layout.columns, n)
        n_features = len(layout.places)
        table = array("d", bytes(8 * n * n_features))
        for index, place in enumerate(layout.places):
            if place < 0:
                table[index::n_features] = (
                    array("d", [self._schema.number(index, self._schema.features[index].default)]) * n
                )
                continue
            column = layout.columns[place]
            is_lacking, buffers = parts[place]
            if column.is_number and self._schema.features[index].categories is None:
                table[index::n_features] = numbers(column, n, is_lacking, buffers)
            else:
                table[index::n_features] = self._by_value(index, column, n, is_lacking, buffers, dictionaries)
        return table

    def _by_value(
        self,
        index: int,
        column: Column,
        n: int,
        is_lacking: bool,
        buffers: Buffers,
        dictionaries: dict[int, Dictionary],
    ) -> array[float]:
        dictionary = None
        if column.dictionary is not None:
            dictionary = dictionaries.get(column.dictionary)
            if dictionary is None:
                raise malformed(f"the dictionary of column {shown_name(column.name)} is not there")
        found, read = keys(column, n, is_lacking, buffers, dictionary)
        codes: dict[Any, float] = {} if dictionary is None else dictionary.codes.setdefault(index, {})
        for key in found:
            # The keys of a column are of one type: no True meets a 1.
            if key not in codes:
                try:
                    codes[key] = self._schema.number(index, None if key is None else read(key), self._leniency)
                except InvalidRequestError as error:
                    raise _at_row(error, found.index(key)) from error
        return array("d", map(codes.__getitem__, found))

    def _checked(self, table: array[float]) -> array[float]:
        """Return a table whose every value its feature takes; the error of the first that it does not take."""
        first = self._rules.first_outside(table)
        if first is None:
            return table
        rules, width = self._rules.rules, len(self._schema.features)
        for place in range(first, len(table)):
            row, index = divmod(place, width)
            x = table[place]
            if rules[index].admits(x):
                continue
            try:
                table[place] = self._schema.number(index, None if math.isnan(x) else x, self._leniency, by_code=True)
            except InvalidRequestError as error:
                raise _at_row(error, row) from error
        return table


def _parts(header: Table, body: memoryview, columns: Sequence[Column], n: int) -> list[tuple[bool, Buffers]]:
    """Return for each column whether it lacks values, and its buffers."""
    if header.table(BatchField.COMPRESSION) is not None:
        raise InvalidRequestError(
            "the buffers of the stream are compressed; send them uncompressed, and the body in gzip where size matters",
            field="compression",
        )
    nodes = list(struct.iter_unpack("<qq", header.items(BatchField.NODES, 16)))
    places = struct.iter_unpack("<qq", header.items(BatchField.BUFFERS, 16))
    variadic = struct.iter_unpack("<q", header.items(BatchField.VARIADIC, 8))
    if len(nodes) != len(columns):
        raise malformed(f"a record batch has {len(nodes)} columns, and the schema {len(columns)}")
    parts: list[tuple[bool, Buffers]] = []
    for column, (length, n_missing) in zip(columns, nodes, strict=True):
        if length != n:
            raise malformed(f"the column {shown_name(column.name)} has {length} rows, and its batch {n}")
        n_buffers = column.n_buffers
        if column.type_id == TypeId.STRING_VIEW:
            n_buffers += max(0, next(variadic, (0,))[0])
        buffers = []
        for _ in range(n_buffers):
            first, size = next(places, (-1, 0))
            if first < 0 or size < 0 or first + size > len(body):
                raise malformed(f"a buffer of column {shown_name(column.name)} lies outside its message")
            buffers.append(body[first : first + size])
        parts.append((n_missing != 0 and bool(buffers), buffers))
    return parts


def _dictionary(message: Message, layout: _Layout) -> tuple[int, Dictionary]:
    """Return the number of a dictionary, and the dictionary."""
    header = message.header
    number, data = header.number(0, "q", 0), header.table(1)
    column = next((each.values for each in layout.columns if each.dictionary == number), None)
    if column is None or data is None:
        raise malformed(f"no column has the dictionary {number}")
    if header.number(2, "B", 0):
        raise InvalidRequestError("a dictionary is sent in parts (a delta); send it whole", field=clip(column.name))
    n = data.number(BatchField.LENGTH, "q", 0)
    if not 0 <= n <= 8 * len(message.body):
        raise malformed(
            f"the dictionary of column {shown_name(column.name)} has {n} values in {len(message.body)} bytes"
        )
    ((is_lacking, buffers),) = _parts(data, message.body, [column], n)
    validity = buffers[0] if is_lacking else None
    if validity is not None and 8 * len(validity) < n:
        raise malformed(f"the dictionary of column {shown_name(column.name)} has fewer bytes than its values need")
    read = value_reader(column, n, buffers)

    def value(index: int) -> Any:
        if not 0 <= index < n:
            raise malformed(
                f"the column {shown_name(column.name)} holds the index {index}, and its dictionary {n} values"
            )
        if validity is not None and not validity[index >> 3] >> (index & 7) & 1:
            return None
        return read(index)

    return number, Dictionary(value)


def _at_row(error: InvalidRequestError, row: int) -> InvalidRequestError:
    return type(error)(f"instance {row}: {error}", **{"index": row, **error.details})
