"""The handlers of `/admin/models/{name}/features`: insert or replace rows while serving, one transaction for each push.

A worker reads and writes one push at a time, off the event loop. It answers when every worker finds the rows.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from mlrf.core import json_infinities
from mlrf.core.column_rules import whole_columns
from mlrf.core.errors import InvalidKeyError, InvalidRequestError, MalformedRequestError, NotKeyedError
from mlrf.core.leniency import STRICT
from mlrf.core.value_text import clip, shown, shown_name
from mlrf.features.as_of import read_as_of
from mlrf.features.interface import Key, Record
from mlrf.features.row_format import RowFormat
from mlrf.features.row_json import read_document
from mlrf.serving.lookup.stored_rows import StoredRows
from mlrf.serving.native.fast_parser import codes_by_value
from mlrf.serving.native.fast_value_rules import named_struct
from mlrf.serving.native.json_scanner import begins_with, items_of, members_of, value_of, whole_document
from mlrf.serving.runtime.results import Awaited, Handler

_MEMBERS = ("rows", "partial")
_CONTRACT = (
    'a push is {"rows": [{"key": {field: value, …}, "features": {name: value, …}, "as_of": "2026-01-31T06:00:00Z"}, …]}'
)


class PushHandler:
    """Handles row pushes and row counts; `rows_of` returns the stored rows of a served model."""

    def __init__(self, rows_of: Callable[[str], StoredRows | None]) -> None:
        self._rows_of = rows_of
        self._one_at_a_time = asyncio.Lock()

    def push(self, model: str) -> Handler:
        """Return the handler that inserts or replaces rows of a model."""
        return lambda body: self._push(model, body)

    def statistics(self, model: str) -> Handler:
        """Return the handler that reports how many rows a model has."""
        return lambda _body: self._stats(model)

    def _push(self, model: str, body: bytes) -> Awaited:
        rows = self._rows(model)

        async def write() -> bytes:
            async with self._one_at_a_time:
                given = await asyncio.to_thread(PushReader(rows.format).rows, body)
                pushed = await rows.store.push(given)
            return msgspec.json.encode({"model": model, **msgspec.structs.asdict(pushed)})

        return Awaited(write)

    def _stats(self, model: str) -> Awaited:
        rows = self._rows(model)

        async def count() -> bytes:
            stats = await rows.store.stats()
            return msgspec.json.encode({"model": model, **msgspec.structs.asdict(stats)})

        return Awaited(count)

    def _rows(self, model: str) -> StoredRows:
        rows = self._rows_of(model)
        if rows is None:
            raise NotKeyedError(
                f"the model {model} is served without rows by key; build its bundle with --features and --key"
            )
        return rows


class PushReader:
    """Reads pushes of rows of one format: with a decoder (4 µs for 27 features), or else by the schema's rules (22 µs)."""

    def __init__(self, rows: RowFormat) -> None:
        self._rows = rows
        self._decode_fast: Callable[[msgspec.Raw], Any] | None = None
        schema = rows.schema
        self._codes = [
            (i, codes_by_value(schema, i)) for i, f in enumerate(schema.features) if f.categories is not None
        ]
        self._whole = whole_columns(schema.features, by_code=False)
        named = named_struct("PushedFeatures", schema, STRICT)
        # A feature that is also a key field may be omitted, but must agree with the key: the slow path checks that.
        if named is not None and not set(rows.key.names) & set(schema.names):
            fields: list[tuple[str, Any] | tuple[str, Any, Any]] = [
                ("key", dict[str, str | int | float | bool]),
                ("features", named),
                ("as_of", str | None, None),
            ]
            document = msgspec.defstruct("PushedRow", fields, forbid_unknown_fields=True, gc=False)
            self._decode_fast = msgspec.json.Decoder(document).decode

    def rows(self, body: bytes) -> list[tuple[Key, Record]]:
        """Return the rows of a push; raises RequestError, which names the first invalid row."""
        given, partial = _split(body)
        return [self._row(index, raw, partial=partial) for index, raw in enumerate(given)]

    def _row(self, index: int, raw: msgspec.Raw, *, partial: bool) -> tuple[Key, Record]:
        if self._decode_fast is not None:
            try:
                return self._packed(self._decode_fast(raw))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError, ValueError, InvalidKeyError):
                pass
        try:
            return read_document(_decoded(raw), self._rows, partial=partial)
        except InvalidRequestError as error:
            raise type(error)(f"row {index}: {error}", index=index, **error.details) from error

    def _packed(self, row: Any) -> tuple[Key, Record]:
        given = msgspec.structs.astuple(row.features)
        if self._whole is not None and not self._whole.admit(given):
            raise ValueError
        values = [math.nan if value is None else value for value in given]
        for index, codes in self._codes:
            values[index] = codes[getattr(row.features, f"f{index}")]
        as_of_us = None if row.as_of is None else _as_of_us(row.as_of)
        return self._rows.key.encode(row.key), self._rows.pack(values, as_of_us)


_as_of_us = lru_cache(maxsize=64)(read_as_of)


def _split(body: bytes) -> tuple[list[msgspec.Raw], bool]:
    """Return the rows of a push as JSON text, and whether the push is partial."""
    members = members_of(whole_document(body, ()), "the body")
    for name in members:
        if name not in _MEMBERS:
            raise InvalidRequestError(
                f"unknown member {shown_name(name)} in the request body: {_CONTRACT}", field=clip(name)
            )
    if "rows" not in members or not begins_with(members["rows"], b"["):
        raise InvalidRequestError(f"rows must be an array: {_CONTRACT}", field="rows", expected="array")
    partial = value_of(members["partial"], "partial") if "partial" in members else False
    if not isinstance(partial, bool):
        raise InvalidRequestError(f"partial must be true or false, not {shown(partial)}", field="partial")
    given = items_of(members["rows"])
    if not given:
        raise InvalidRequestError("the push contains no rows; send at least one", field="rows")
    return given, partial


def _decoded(raw: msgspec.Raw) -> Any:
    try:
        return json_infinities.decode(raw)
    except msgspec.MsgspecError as error:
        raise InvalidRequestError("it contains a number outside the range of float64") from error
    except RecursionError as error:
        raise MalformedRequestError("the body is nested too deep") from error
