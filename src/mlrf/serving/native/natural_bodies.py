"""Rewrites natural forms of bodies as the equivalent canonical members, for the strict parser.

1. A bare object is a row only if every member is a feature and none is a reserved word; otherwise it is a request.
2. A bare array of values is a row in schema order: strings are names of categories, numbers are codes. If a feature's own
   categories are numbers, a number could be either, and is refused with the feature's name.
3. In the body of `/predict/batch`, an array holds instances, `{"columns": […], "data": [[…]]}` holds rows of named columns, and
   an object of arrays or of objects, bare or as `instances`, holds columns by name.
"""

from __future__ import annotations

import msgspec

from mlrf.core.errors import InvalidRequestError
from mlrf.core.reserved_names import RESERVED_NAMES, reserved_among
from mlrf.core.schema import Schema
from mlrf.core.value_text import clip, shown_name
from mlrf.serving.native.canonical_rows import Rows, RowWriter
from mlrf.serving.native.column_rows import rows_of_columns
from mlrf.serving.native.json_scanner import begins_with, items_of, members_of, type_of
from mlrf.serving.native.split_rows import rows_of_split

_SPLIT = ("columns", "data", "index")
Members = dict[str, msgspec.Raw]


class NaturalBodies:
    """Rewrites bodies for one schema."""

    def __init__(self, schema: Schema, max_instances: int) -> None:
        self._names = frozenset(schema.names)
        self._writer = RowWriter(schema, max_instances)

    def instance(self, raw: msgspec.Raw, what: str) -> Members:
        """Return the members of an instance; `what` names it in errors."""
        if begins_with(raw, b"["):
            return {"features": self._unnamed(raw, what)}
        if not begins_with(raw, b"{") and not begins_with(raw, b'"'):
            remedy = "" if what == "the body" or type_of(raw) == "null" else "; a single row goes to /predict"
            raise InvalidRequestError(
                f"{what} must be an object or an array of {len(self._names)} values, not {type_of(raw)}{remedy}",
                expected="object or array",
            )
        members = members_of(raw, what)
        return {"features": raw} if self._are_features(members) else members

    def batch(self, raw: msgspec.Raw) -> tuple[Members, list[msgspec.Raw] | None]:
        """Return the members of a batch, and its instances if they are not in the member `instances`."""
        if begins_with(raw, b"["):
            return {"instances": raw}, None
        members = members_of(raw, "the body")
        if "instances" in members or "data" not in members:
            return members, self._columns(raw, members)
        if "columns" not in members:
            raise InvalidRequestError('"data" needs "columns", the names of its columns', field="columns")
        split = {name: members.pop(name) for name in _SPLIT if name in members}
        rows = rows_of_split(self._writer, msgspec.Raw(msgspec.json.encode(split)), "the body")
        return members, _as_instances(rows)

    def _columns(self, raw: msgspec.Raw, members: Members) -> list[msgspec.Raw] | None:
        """Return the rows of an object of columns, which is the body or its `instances`; None if there is none.

        The members of a body of columns are removed: they are not members of a request.
        """
        if "instances" in members:
            columns = members["instances"]
            rows = rows_of_columns(self._writer, columns, "instances") if begins_with(columns, b"{") else None
        else:
            rows = rows_of_columns(self._writer, raw, "the body") if self._are_features(members) else None
            if rows is not None:
                members.clear()
        return None if rows is None else _as_instances(rows)

    def _are_features(self, members: Members) -> bool:
        return bool(members) and self._names.issuperset(members) and RESERVED_NAMES.isdisjoint(members)

    def _unnamed(self, raw: msgspec.Raw, what: str) -> msgspec.Raw:
        for index, item in enumerate(items_of(raw)):
            if begins_with(item, b"[") or begins_with(item, b"{"):
                rows = "several rows" if what == "the body" else f"an array or object at {index}"
                raise InvalidRequestError(
                    f"{what} is an array that holds {rows}; a row is an array of {len(self._names)} values in schema order, "
                    "and several rows go to /predict/batch",
                    expected=f"an array of {len(self._names)} values",
                )
        return msgspec.Raw(self._writer.unnamed(None, raw))


def _as_instances(rows: Rows) -> list[msgspec.Raw]:
    return [msgspec.Raw(b'{"features":%b}' % row) for row in rows]


def check_members(schema: Schema, members: Members, known: tuple[str, ...], contract: str) -> None:
    """Raise InvalidRequestError, which says how to send a row, if a request has members other than the known ones."""
    unknown = [name for name in members if name not in known]
    if not unknown:
        return
    names = frozenset(schema.names)
    folded = {name.casefold(): name for name in names}
    for name in unknown:
        if name not in names:
            neither = "" if names.isdisjoint(members) else ", which is not a feature either"
            if name == "instances":
                neither = "; several rows go to /predict/batch"
            elif name.casefold() in folded:
                neither = f"; the feature is {shown_name(folded[name.casefold()])}"
            raise InvalidRequestError(
                f"unknown member {shown_name(name)} in the request body{neither}: {contract}", field=clip(name)
            )
    remedy = f'did you mean {{"features": {{{shown_name(unknown[0])}: …}}}}?'
    if (reserved := reserved_among(members)) and names.issuperset(members):
        remedy = f"{shown_name(reserved[0])} is a reserved word, and an object with it a request; {remedy}"
    raise InvalidRequestError(
        f"unknown member {shown_name(unknown[0])} in the request body; {remedy}", field=clip(unknown[0])
    )
