"""Reads rows from `{"columns": […], "data": [[…]]}`, as `DataFrame.to_json(orient="split")` writes them."""

from __future__ import annotations

import msgspec

from mlrf.core.errors import FeatureCountError, InvalidRequestError
from mlrf.core.repeated_names import first_repeated
from mlrf.core.value_text import clip, shown_name
from mlrf.serving.native.canonical_rows import Rows, RowWriter
from mlrf.serving.native.json_scanner import KnownMembers, begins_with, items_of, type_of

_NAMES = ("columns", "data", "index")
_MEMBERS = KnownMembers(_NAMES)


def rows_of_split(writer: RowWriter, raw: msgspec.Raw, name: str) -> Rows:
    """Return the rows of `{"columns": […], "data": [[…]]}`; if columns have no names, or are numbered, in schema order."""
    members = _MEMBERS.of(raw, name)
    for member in members:
        if member not in _NAMES:
            raise InvalidRequestError(
                f"unknown member {shown_name(member)} of {name}; its members are columns, data and index",
                field=clip(member),
            )
    if "data" not in members or not begins_with(members["data"], b"["):
        raise InvalidRequestError(f"{name} must have data, an array of rows", field="data", expected="array")
    data = writer.items(members["data"])
    names = None if "columns" not in members else _column_names(writer, members["columns"])
    rows: Rows = []
    named = None if names is None else writer.named(names)
    for index, item in enumerate(data):
        if not begins_with(item, b"["):
            raise InvalidRequestError(f"data[{index}] must be an array of values, not {type_of(item)}", field="data")
        if names is None or named is None:
            rows.append(writer.unnamed(index, item))
            continue
        values = items_of(item)
        if len(values) != len(names):
            raise FeatureCountError(
                f"data[{index}] has {len(values)} values, but there are {len(names)} columns; send a value for each, null "
                "where it is missing",
                expected=len(names),
                got=len(values),
                index=index,
            )
        rows.append(named.row([bytes(value) for value in values]))
    return rows


def _column_names(writer: RowWriter, raw: msgspec.Raw) -> list[str] | None:
    """Return the names of columns; None if they are the numbers from 0 that pandas gives to columns without names."""
    try:
        names = msgspec.json.decode(raw, type=list[str | int])
    except msgspec.MsgspecError as error:
        raise InvalidRequestError("columns must be an array of names", field="columns", expected="array") from error
    if names == list(range(len(writer.schema.names))):
        return None
    for name in names:
        if not isinstance(name, str):
            raise InvalidRequestError(
                f"columns must be names, not {name}; columns without names are numbered 0 to {len(writer.schema.names) - 1}",
                field="columns",
            )
    named = [str(name) for name in names]
    if (twice := first_repeated(named)) is not None:
        raise InvalidRequestError(f"the column {shown_name(twice)} is given twice", field="columns")
    return named
