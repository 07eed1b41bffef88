"""Reads the rows of JSON bodies: lists of arrays or objects, columns, data frames and JSON lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import islice

import msgspec

from mlrf.core.errors import BatchTooLargeError, InvalidRequestError, MalformedRequestError
from mlrf.core.lazy_pattern import lazy_pattern
from mlrf.core.value_text import clip, shown_name
from mlrf.serving.native.canonical_rows import Rows, RowWriter
from mlrf.serving.native.column_rows import is_of_columns, rows_of_columns
from mlrf.serving.native.json_scanner import (
    KnownMembers,
    begins_with,
    items_of,
    members_of,
    type_of,
    values_at_most,
    whole_document,
)

_NO_PARAMETERS = frozenset((b"null", b"{}"))
_LINE = lazy_pattern(rb"\S[^\n]*")
"""A line that is not blank."""
Reader = Callable[[RowWriter, msgspec.Raw, str], Rows]
_known_members = cache(KnownMembers)


def rows_of_form(writer: RowWriter, body: bytes, forms: Mapping[str, Reader], parameters: str, *ignored: str) -> Rows:
    """Return the rows of an object's one member of `forms`; InvalidRequestError if it has none, two or an unknown member.

    The member `parameters` must be empty, because no model takes any; the members `ignored` may have any value.
    """
    raw = document(writer, body)
    if not begins_with(raw, b"{"):
        expected = f'{{"{next(iter(forms))}": …}}'
        raise InvalidRequestError(f"the body must be an object ({expected}), not {type_of(raw)}", expected="object")
    others = (parameters, *ignored)
    members = _known_members((*forms, *others)).of(raw, "the body")
    name = _the_one_form(members, forms, others)
    _refuse_parameters(members, parameters)
    return forms[name](writer, members[name], name)


def document(writer: RowWriter, body: bytes) -> msgspec.Raw:
    """Return a body as JSON text; MalformedRequestError if it is not JSON, BatchTooLargeError if it has too many values."""
    raw = whole_document(body, writer.schema.names)
    most = writer.max_rows * writer.most_values()
    if (values := values_at_most(raw)) > most:
        raise BatchTooLargeError(
            f"the body has about {values} values, more than {writer.max_rows} rows of {len(writer.schema.names)} features "
            f"can have; send it in parts, or raise {writer.limit}",
            values=values,
            max_instances=writer.max_rows,
        )
    return raw


def rows_of_list(writer: RowWriter, raw: msgspec.Raw, name: str) -> Rows:
    """Return the rows of a list of arrays in schema order or of objects by name.

    An object whose members are all arrays, or all objects, holds several rows by column, as KServe's clients send frames.
    """
    if not begins_with(raw, b"["):
        raise InvalidRequestError(
            f"{name} must be an array of rows, which are arrays of {len(writer.schema.names)} values in schema order, or "
            "objects by name",
            field=clip(name),
            expected="array",
        )
    items = writer.items(raw)
    rows: Rows = []
    for index, item in enumerate(items):
        if begins_with(item, b"["):
            rows.append(writer.unnamed(index, item))
        elif begins_with(item, b"{"):
            rows += _rows_of_object(writer, item, f"{name}[{index}]", index)
        else:
            raise InvalidRequestError(
                f"{name}[{index}] must be a row (an array or an object), not {type_of(item)}; a single row is {name}: [[…]]",
                field=clip(name),
                index=index,
            )
    writer.check_count(len(rows))
    return rows


def rows_or_columns(writer: RowWriter, raw: msgspec.Raw, name: str) -> Rows:
    """Return the rows of a list of rows, or of an object of columns by name."""
    return _rows_of_object(writer, raw, name) if begins_with(raw, b"{") else rows_of_list(writer, raw, name)


def rows_of_records(writer: RowWriter, raw: msgspec.Raw, name: str) -> Rows:
    """Return the rows of a list of objects by name."""
    if not begins_with(raw, b"["):
        raise InvalidRequestError(f"{name} must be an array of objects by name", field=name, expected="array")
    items = writer.items(raw)
    for index, item in enumerate(items):
        if not begins_with(item, b"{"):
            raise InvalidRequestError(f"{name}[{index}] must be an object by name, not {type_of(item)}", field=name)
    return [bytes(item) for item in items]


def rows_of_lines(writer: RowWriter, body: bytes) -> Rows:
    """Return the rows of JSON lines: each an array, an object by name, or `{"features": …}` as SageMaker writes it."""
    # Reading one line more than allowed is enough to refuse the body, which may have millions.
    lines = [found[0] for found in islice(_LINE.finditer(body), writer.max_rows + 1)]
    writer.check_count(len(lines), is_all=False)
    rows: Rows = []
    for index, line in enumerate(lines):
        try:
            raw = document(writer, line)
        except MalformedRequestError as error:
            raise MalformedRequestError(f"line {index}: {error}", **{**error.details, "index": index}) from error
        writer.check_width(index, raw)
        if begins_with(raw, b"["):
            rows.append(writer.unnamed(index, raw))
        else:
            rows.append(bytes(features_of(writer, members_of(raw, f"line {index}"), raw, index)))
    return rows


def rows_of_instances(writer: RowWriter, raw: msgspec.Raw, name: str) -> Rows:
    """Return the rows as `rows_of_list` does; an object may be `{"features": …}`, as SageMaker's algorithms accept it."""
    if not begins_with(raw, b"["):
        return rows_of_list(writer, raw, name)
    writer.check_items(raw)
    items = items_of(raw)
    if items and not any(begins_with(item, bracket) for item in items for bracket in (b"[", b"{")):
        # One row, as SageMaker's JSONSerializer sends a one-dimensional array.
        return [writer.unnamed(0, raw)]
    opened = [
        _opened(writer, item, f"{name}[{index}]", index) if begins_with(item, b"{") else item
        for index, item in enumerate(items)
    ]
    return rows_of_list(writer, msgspec.Raw(b"[%b]" % b",".join(bytes(item) for item in opened)), name)


def _opened(writer: RowWriter, item: msgspec.Raw, name: str, index: int) -> msgspec.Raw:
    return item if is_of_columns(writer, item, index) else features_of(writer, members_of(item, name), item, index)


def features_of(writer: RowWriter, members: Mapping[str, msgspec.Raw], raw: msgspec.Raw, index: int) -> msgspec.Raw:
    """Return the member `features` if it is the only one and no feature has that name, otherwise the whole object."""
    if list(members) != ["features"] or "features" in writer.schema.names:
        return raw
    inner = members["features"]
    return msgspec.Raw(writer.unnamed(index, inner)) if begins_with(inner, b"[") else inner


def _rows_of_object(writer: RowWriter, raw: msgspec.Raw, name: str, index: int = 0) -> Rows:
    return rows_of_columns(writer, raw, name, index) or [bytes(raw)]


def _the_one_form(members: Mapping[str, msgspec.Raw], forms: Mapping[str, Reader], others: Sequence[str]) -> str:
    """Return the name of the member with the rows; InvalidRequestError if there are none or two, or an unknown member."""
    known = " or ".join(f'"{name}"' for name in forms)
    given = [name for name in members if name in forms]
    for name in members:
        if name not in forms and name not in others:
            raise InvalidRequestError(
                f"unknown member {shown_name(name)} in the request body; send {known}", field=clip(name)
            )
    if len(given) != 1:
        found = " and ".join(given) or "none of them"
        raise InvalidRequestError(f"the body must have exactly one of {known}; it has {found}", field="body")
    return given[0]


def _refuse_parameters(members: Mapping[str, msgspec.Raw], name: str) -> None:
    """Raise InvalidRequestError if a body has parameters, because no model takes any."""
    raw = members.get(name)
    if raw is not None and b"".join(bytes(raw).split()) not in _NO_PARAMETERS:
        raise InvalidRequestError(f'the model has no parameters; leave "{name}" out, or send {{}}', field=name)
