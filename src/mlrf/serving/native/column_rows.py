"""Reads rows from an object of columns, arrays or objects by row: what pandas' `to_dict("list")` and `to_json()` write."""

from __future__ import annotations

import msgspec

from mlrf.core.errors import InvalidRequestError
from mlrf.core.value_text import clip
from mlrf.serving.native.canonical_rows import Rows, RowWriter
from mlrf.serving.native.json_scanner import begins_with, items_of, members_of, values_at_most


def is_of_columns(writer: RowWriter, raw: msgspec.Raw, index: int) -> bool:
    """Return whether an object has more values than a row may have; FeatureCountError if it is not columns of rows either."""
    if values_at_most(raw) <= writer.most_values():
        return False
    text = bytes(raw)
    brackets = text.count(b"["), text.count(b"{") - 1
    if not any(0 < each <= writer.most_values() for each in brackets):
        writer.check_width(index, raw)
    return True


def rows_of_columns(writer: RowWriter, raw: msgspec.Raw, name: str, index: int = 0) -> Rows | None:
    """Return the rows of an object whose members are all arrays, or all objects; None for another object.

    InvalidRequestError when columns differ in length or in the labels of their rows, FeatureCountError, which names the row of
    this `index`, when it has too many members.
    """
    is_of_columns(writer, raw, index)
    members = members_of(raw, name)
    columns = list(members.values())
    for each in columns:
        writer.check_items(each)
    if columns and all(begins_with(each, b"[") for each in columns):
        values = [items_of(each) for each in columns]
    elif columns and all(begins_with(each, b"{") for each in columns):
        by_row = [members_of(each, name) for each in columns]
        if any(list(each) != list(by_row[0]) for each in by_row):
            raise InvalidRequestError(f"the columns of {name} have different row labels", field=clip(name))
        values = [list(each.values()) for each in by_row]
    else:
        return None
    lengths = {len(each) for each in values}
    if len(lengths) != 1:
        shown = ", ".join(
            f"{clip(column)} has {len(each)}" for column, each in list(zip(members, values, strict=True))[:5]
        )
        raise InvalidRequestError(f"the columns of {name} differ in length: {shown}", field=clip(name))
    writer.check_count(lengths.pop())
    named = writer.named(list(members))
    return [named.row([bytes(value) for value in row]) for row in zip(*values, strict=True)]
