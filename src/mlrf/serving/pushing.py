"""`/admin/models/{name}/features`: rows inserted or replaced while the server serves, all of a push in one transaction.

A push is read and written beside the loop, one at a time a worker, and answered when every worker finds its rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from mlrf.core.errors import InvalidRequestError, MalformedRequestError, NotKeyedError
from mlrf.core.schema import clip, shown, shown_name
from mlrf.features.documents import read_document
from mlrf.features.port import Key, Record
from mlrf.features.row_format import RowFormat
from mlrf.serving.http.route import Awaited, Handler
from mlrf.serving.json_text import begins_with, items_of, members_of, value_of, whole_document
from mlrf.serving.stored_rows import StoredRows

_MEMBERS = ("rows", "partial")
_CONTRACT = (
    'a push is {"rows": [{"key": {field: value, …}, "features": {name: value, …}, "as_of": "2026-01-31T06:00:00Z"}, …]}'
)


class Pushing:
    """Takes rows for the models of a worker, and says how many they have; `rows_of` finds those that are served now."""

    def __init__(self, rows_of: Callable[[str], StoredRows | None]) -> None:
        self._rows_of = rows_of
        self._one_at_a_time = asyncio.Lock()

    def handlers(self, model: str) -> dict[bytes, Handler]:
        """Return the handlers of a model's rows, by method."""
        return {b"POST": lambda body: self._push(model, body), b"GET": lambda _body: self._stats(model)}

    def _push(self, model: str, body: bytes) -> Awaited:
        rows = self._rows(model)

        async def write() -> bytes:
            async with self._one_at_a_time:
                given = await asyncio.to_thread(read_push, body, rows.format)
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


def read_push(body: bytes, rows: RowFormat) -> list[tuple[Key, Record]]:
    """Return the rows of a push; RequestError names what is wrong, and the row it is wrong with: then none is written."""
    members = members_of(whole_document(body, ()), "the body")
    for name in members:
        if name not in _MEMBERS:
            raise InvalidRequestError(f"the body has no member {shown_name(name)}: {_CONTRACT}", field=clip(name))
    if "rows" not in members or not begins_with(members["rows"], b"["):
        raise InvalidRequestError(f"rows must be an array: {_CONTRACT}", field="rows", expected="array")
    partial = value_of(members["partial"], "partial") if "partial" in members else False
    if not isinstance(partial, bool):
        raise InvalidRequestError(f"partial must be true or false, not {shown(partial)}", field="partial")
    given = items_of(members["rows"])
    if not given:
        raise InvalidRequestError("the push holds no row; send at least one", field="rows")
    return [_row(index, raw, rows, partial=partial) for index, raw in enumerate(given)]


def _row(index: int, raw: msgspec.Raw, rows: RowFormat, *, partial: bool) -> tuple[Key, Record]:
    try:
        return read_document(_decoded(raw), rows, partial=partial)
    except InvalidRequestError as error:
        raise type(error)(f"row {index}: {error}", index=index, **error.details) from error


def _decoded(raw: msgspec.Raw) -> Any:
    try:
        return _decode(raw)
    except msgspec.MsgspecError as error:
        raise InvalidRequestError("it holds a number out of the range of float64") from error
    except RecursionError as error:
        raise MalformedRequestError("the body is nested too deep") from error


_decode: Callable[[msgspec.Raw], Any] = msgspec.json.Decoder().decode
