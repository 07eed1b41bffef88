"""Writes rows from bodies of any form as the equivalent body of `/predict/batch`.

A row is the JSON text of a native `features` member: an object by name, or an array in schema order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from mlrf.core.errors import BatchTooLargeError, FeatureCountError, InvalidFeatureError
from mlrf.core.feature import has_ambiguous_codes
from mlrf.core.schema import Schema
from mlrf.core.value_text import clip
from mlrf.serving.native.json_scanner import has_more_items, items_of, most_values, values_at_most

_NUMBER_STARTS = frozenset(b"-0123456789")
_BLANKS = b" \t\r\n"
_SHOWN_BYTES = 40
Rows = list[bytes]
"""Rows as JSON text."""


def batch_body(rows: Iterable[bytes], *, explain: bool = False) -> bytes:
    """Return the body of `/predict/batch` with these rows."""
    instances = b"},{".join(b'"features":%b' % row for row in rows)
    braces = b"{%b}" % instances if instances else b""
    return b'{"instances":[%b]%b}' % (braces, b',"explain":true' if explain else b"")


class RowWriter:
    """Writes rows of one schema."""

    def __init__(self, schema: Schema, max_rows: int, limit: str = "--max-batch") -> None:
        """`limit` is the option that sets `max_rows`, for errors."""
        self.schema = schema
        self.max_rows = max_rows
        self.limit = limit
        self._ambiguous = [index for index, each in enumerate(schema.features) if has_ambiguous_codes(each)]
        self._is_by_value = any(each.categories is not None for each in schema.features)
        self._position = {name: index for index, name in enumerate(schema.names)}

    def check_count(self, n_rows: int, *, is_all: bool = True) -> None:
        """Raise BatchTooLargeError for more rows than a batch may hold; `is_all` is false if not all rows were counted."""
        if n_rows > self.max_rows:
            raise BatchTooLargeError(
                f"the body holds {n_rows}{'' if is_all else ' or more'} rows, more than {self.max_rows}; send it in parts, "
                f"or raise {self.limit}",
                instances=n_rows,
                max_instances=self.max_rows,
            )

    def items(self, raw: msgspec.Raw) -> list[msgspec.Raw]:
        """Return the items of an array of rows; BatchTooLargeError if there are more than a batch may hold."""
        self.check_items(raw)
        items = items_of(raw)
        self.check_count(len(items))
        return items

    def check_items(self, raw: msgspec.Raw) -> None:
        """Raise BatchTooLargeError for an array, or an object, of very many rows before it is decoded."""
        if has_more_items(raw, self.max_rows, len(self.schema.names)):
            self.check_count(self.max_rows + 1, is_all=False)

    def most_values(self) -> int:
        """Return how many values a row may have, ignored ones included."""
        return most_values(len(self.schema.names))

    def check_width(self, index: int, row: msgspec.Raw) -> None:
        """Raise FeatureCountError for a row of more values than any may have, before it is decoded."""
        if (values := values_at_most(row)) > self.most_values():
            n = len(self.schema.names)
            raise FeatureCountError(
                f"instance {index}: expected {n} features, got about {values} values; GET /models lists the features",
                expected=n,
                got=values,
                index=index,
            )

    def unnamed(self, index: int | None, row: msgspec.Raw) -> bytes:
        """Return row `index`, an array in schema order, unchanged.

        InvalidFeatureError if a number could be a category or its code; without an index the error does not name the row.
        """
        text = bytes(row)
        if self._ambiguous:
            values = items_of(row)
            for position in self._ambiguous:
                if position < len(values) and (value := bytes(values[position]).lstrip(_BLANKS))[0] in _NUMBER_STARTS:
                    raise self.ambiguous_number(index, position, value)
        return text

    def ambiguous_number(self, index: int | None, position: int, value: bytes) -> InvalidFeatureError:
        """Return the error for a number that could be a category or its code."""
        name = self.schema.names[position]
        shown = value[:_SHOWN_BYTES].decode(errors="replace").strip()
        return InvalidFeatureError(
            ("" if index is None else f"instance {index}: ")
            + f"feature {name!r}: {shown} could be a category or a category code; name the columns to send "
            'categories, or send {"features": […]} to /predict, whose numbers are codes',
            feature=clip(name),
            **({} if index is None else {"index": index}),
        )

    def named(self, names: Sequence[str]) -> NamedRow:
        """Return a writer of rows whose columns have these names."""
        order = None
        if not self._is_by_value and len(names) == len(self._position) and self._position.keys() == set(names):
            order = [names.index(name) for name in self.schema.names]
        return NamedRow(names, order)


class NamedRow:
    """Writes rows whose columns have names: as objects, or in schema order if that is equivalent, because it is shorter."""

    def __init__(self, names: Sequence[str], order: Sequence[int] | None) -> None:
        self._keys = [msgspec.json.encode(name) for name in names]
        self._order = order

    def row(self, values: Sequence[bytes]) -> bytes:
        """Return the row with these values: one JSON text for each column."""
        if self._order is not None:
            return b"[%b]" % b",".join([values[index] for index in self._order])
        return b"{%b}" % b",".join([b"%b:%b" % pair for pair in zip(self._keys, values, strict=True)])
