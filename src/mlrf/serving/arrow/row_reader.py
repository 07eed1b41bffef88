"""Reads the rows of an Arrow stream as float64 for the engine: columns by name, categories by value, by the schema's rules."""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from mlrf.core.column_rules import ColumnRules, rule_by_value
from mlrf.core.errors import (
    BatchTooLargeError,
    EmptyBatchError,
    InvalidRequestError,
    MalformedRequestError,
)
from mlrf.core.feature import Value
from mlrf.core.flatbuffers import DamagedBufferError, Table
from mlrf.core.leniency import Leniency
from mlrf.core.schema import Schema
from mlrf.core.value_text import shown_name
from mlrf.serving.arrow.base_margin_column import ABSENT, read_base_margins
from mlrf.serving.arrow.columns import Buffers, Column, Dictionary, TypeId, keys, numbers
from mlrf.serving.arrow.known_prefixes import KnownPrefixes
from mlrf.serving.arrow.number_columns import part_at, read_numbers
from mlrf.serving.arrow.record_batch import BatchField, parts_of, read_dictionary
from mlrf.serving.arrow.stream import PREFIX_BYTES, Header, Message, malformed, messages, metadata_bytes
from mlrf.serving.arrow.stream_layout import Layout, read_layout

_SPARE_MESSAGES = 16
_SPARE_DICTIONARIES = 1000
"""How many more dictionaries than the schema has a stream may have, because one may be replaced: reading one takes 40 µs."""
_KNOWN_DICTIONARIES, _KNOWN_DICTIONARY_BYTES, _KNOWN_CODES = 256, 4096, 1 << 16
"""Most dictionaries that are kept, most bytes of one, and most codes of all: a few bytes may hold thousands of values."""
_SPARE_TEXT = 1 << 24
"""A stream may have this many characters of categories and twice its size more; with more, its values must share bytes."""
_KNOWN_SCHEMAS, _KNOWN_SCHEMA_BYTES = 8, 1 << 20
"""Most schemas that are kept once read, and most bytes of one: reading a schema takes ten times as long as reading its rows."""


class StreamRows(NamedTuple):
    """The rows [n, F] of a stream, row-major, and what it says about all of them."""

    table: array[float]
    base_margins: array[float] | None
    """Where the margin of each row starts, [n]."""
    defaults: Mapping[str, Value]
    """The defaults that were used for features without a column, by name."""


class _Prefix(NamedTuple):
    """What the messages before a stream's rows say."""

    layout: Layout | None
    dictionaries: dict[int, Dictionary]


_NO_PREFIX = _Prefix(None, {})


@dataclass(slots=True)
class _Budget:
    """What was read of a stream, and may still be read."""

    left: int
    """Characters of categories that may still be read."""
    n_dictionaries: int = 0

    def spend(self, value: Any, column: str) -> None:
        """Subtract a value's characters; MalformedRequestError if too few are left."""
        if isinstance(value, str):
            self.left -= len(value)
            if self.left < 0:
                raise malformed(f"too many strings of column {shown_name(column)} share the same bytes")


class RowReader:
    """Reads the streams for one schema."""

    def __init__(self, schema: Schema, leniency: Leniency, max_rows: int) -> None:
        self._schema = schema
        self._leniency = leniency
        self._max_rows = max_rows
        self._rules = ColumnRules([rule_by_value(feature) for feature in schema.features])
        self._known: dict[bytes, Layout] = {}
        self._n_layouts = 0
        self._dictionaries: dict[tuple[int, bytes, bytes], tuple[int, Dictionary]] = {}
        self._n_codes = 0
        self._prefixes: KnownPrefixes[_Prefix] = KnownPrefixes()

    def knows(self, body: bytes) -> bool:
        """Return whether the schema of a stream was read before: its rows are then read fast."""
        if self._prefixes.find(body) is not None:
            return True
        try:
            return body[: PREFIX_BYTES + metadata_bytes(body)] in self._known
        except MalformedRequestError:
            return False

    def rows(self, body: bytes) -> StreamRows:
        """Return the rows of a stream; InvalidRequestError or MalformedRequestError says what is wrong."""
        try:
            rows = self._read(body)
            return rows._replace(table=self._checked(rows.table))
        except (DamagedBufferError, struct.error) as error:
            raise malformed(f"the metadata of a message is damaged, {error}") from error

    def _read(self, body: bytes) -> StreamRows:
        if self._n_codes > _KNOWN_CODES:
            self._forget_dictionaries()
        base_margins: array[float] = array("d")
        start, (layout, known) = self._prefixes.find(body) or (0, _NO_PREFIX)
        dictionaries = dict(known)
        is_settled = start > 0
        n_features = len(self._schema.features)
        table: array[float] = array("d")
        budget = _Budget(2 * len(body) + _SPARE_TEXT)
        most = self._max_rows + n_features + _SPARE_MESSAGES
        for message in messages(body, most, start):
            if message.kind == Header.SCHEMA and layout is None:
                layout = self._layout(body, message.header)
            elif layout is None:
                raise malformed("it does not begin with a schema")
            elif message.kind == Header.DICTIONARY:
                is_settled |= not self._read_dictionary(message, layout, dictionaries, budget)
            elif message.kind == Header.RECORDS:
                if not is_settled:
                    self._prefixes.keep(body[: message.start], _Prefix(layout, dict(dictionaries)))
                    is_settled = True
                n_rows = message.header.number(BatchField.LENGTH, "q", 0)
                self._check_count(len(table) // n_features + n_rows, n_rows)
                table += self._records(message, layout, n_rows, dictionaries, budget)
                if layout.base_margin != ABSENT:
                    base_margins += read_base_margins(message, layout.columns, layout.base_margin, n_rows)
            else:
                raise malformed(f"a message is of the kind {message.kind}")
        if not table or layout is None:
            raise EmptyBatchError("the stream contains no rows; send at least one", instances=0)
        return StreamRows(table, base_margins or None, layout.defaults)

    def _read_dictionary(
        self, message: Message, layout: Layout, dictionaries: dict[int, Dictionary], budget: _Budget
    ) -> bool:
        """Add a dictionary, and return whether it is kept: one that was read before is not read again."""
        budget.n_dictionaries += 1
        if budget.n_dictionaries > (most := len(layout.dictionary_values) + _SPARE_DICTIONARIES):
            raise malformed(f"it has more than {most} dictionaries; send each of them once")
        key = None
        if len(message.metadata) + len(message.body) <= _KNOWN_DICTIONARY_BYTES:
            # Read from a copy: what is kept must not refer to the body of its request.
            message = message._replace(body=memoryview(bytes(message.body)))
            key = (layout.number, message.metadata, bytes(message.body))
        known = None if key is None else self._dictionaries.get(key)
        if known is None:
            known = read_dictionary(message, layout.dictionary_values)
            if key is not None:
                if len(self._dictionaries) >= _KNOWN_DICTIONARIES:
                    self._forget_dictionaries()
                self._dictionaries[key] = known
        dictionaries[known[0]] = known[1]
        return key is not None

    def _forget_dictionaries(self) -> None:
        self._dictionaries.clear()
        self._prefixes.clear()
        self._n_codes = 0

    def _check_count(self, n_all: int, n_rows: int) -> None:
        if n_rows < 0:
            raise malformed("a record batch has fewer than 0 rows")
        if n_all > self._max_rows:
            raise BatchTooLargeError(
                f"the stream holds {n_all} rows or more, more than {self._max_rows}; send it in parts, or raise --max-batch",
                instances=n_all,
                max_instances=self._max_rows,
            )

    def _layout(self, body: bytes, header: Table) -> Layout:
        key = body[: PREFIX_BYTES + metadata_bytes(body)]
        layout = self._known.get(key)
        if layout is None:
            self._n_layouts += 1
            layout = read_layout(self._n_layouts, header, len(key), self._schema, self._leniency)
            if len(self._known) >= _KNOWN_SCHEMAS:
                self._known.clear()
            if len(key) <= _KNOWN_SCHEMA_BYTES:
                self._known[key] = layout
        return layout

    def _records(
        self, message: Message, layout: Layout, n: int, dictionaries: dict[int, Dictionary], budget: _Budget
    ) -> array[float]:
        n_features = len(layout.column_indices)
        table = array("d", bytes(8 * n * n_features))
        located = None
        if n and layout.plan is not None:
            located = read_numbers(layout.plan, message.header, message.body, n, table)
        if layout.plan is not None and located is not None:
            for index, column_index, first_buffer in layout.plan.by_value:
                column = layout.columns[column_index]
                part = part_at(located, message.body, column, column_index, first_buffer)
                table[index::n_features] = self._by_value(index, column, n, *part, dictionaries, budget)
            return table
        parts = parts_of(message.header, message.body, layout.columns, n)
        for index, column_index in enumerate(layout.column_indices):
            if column_index < 0:
                table[index::n_features] = (
                    array("d", [self._schema.number(index, self._schema.features[index].default)]) * n
                )
                continue
            column = layout.columns[column_index]
            is_lacking, buffers = parts[column_index]
            if column.is_number and self._schema.features[index].categories is None:
                table[index::n_features] = numbers(column, n, is_lacking, buffers)
            else:
                table[index::n_features] = self._by_value(index, column, n, is_lacking, buffers, dictionaries, budget)
        return table

    def _by_value(
        self,
        index: int,
        column: Column,
        n: int,
        is_lacking: bool,
        buffers: Buffers,
        dictionaries: dict[int, Dictionary],
        budget: _Budget,
    ) -> array[float]:
        if column.type_id == TypeId.NULL and column.dictionary is None and n:
            # Rows take no bytes in such a column, so they must cost next to nothing.
            try:
                return array("d", [self._schema.number(index, None, self._leniency)]) * n
            except InvalidRequestError as error:
                raise _at_row(error, 0) from error
        dictionary = None
        if column.dictionary is not None:
            dictionary = dictionaries.get(column.dictionary)
            if dictionary is None:
                raise malformed(f"the stream has no dictionary for column {shown_name(column.name)}")
        found, read = keys(column, n, is_lacking, buffers, dictionary)
        codes: dict[Any, float] = {} if dictionary is None else dictionary.codes.setdefault(index, {})
        try:
            return array("d", map(codes.__getitem__, found))
        except KeyError:
            pass  # some are new
        for key in found:
            # The keys of a column are of one type: no True meets a 1.
            if key not in codes:
                value = None if key is None else read(key)
                budget.spend(value, column.name)
                try:
                    codes[key] = self._schema.number(index, value, self._leniency)
                except InvalidRequestError as error:
                    raise _at_row(error, found.index(key)) from error
                self._n_codes += dictionary is not None
        return array("d", map(codes.__getitem__, found))

    def _checked(self, table: array[float]) -> array[float]:
        """Return the table if every value is valid for its feature; otherwise raise the error of the first invalid value."""
        first = self._rules.first_outside(table)
        if first is None:
            return table
        rules, width = self._rules.rules, len(self._schema.features)
        for position in range(first, len(table)):
            row, index = divmod(position, width)
            x = table[position]
            if rules[index].admits(x):
                continue
            try:
                table[position] = self._schema.number(index, None if math.isnan(x) else x, self._leniency, by_code=True)
            except InvalidRequestError as error:
                raise _at_row(error, row) from error
        return table


def _at_row(error: InvalidRequestError, row: int) -> InvalidRequestError:
    return type(error)(f"instance {row}: {error}", **{"index": row, **error.details})
