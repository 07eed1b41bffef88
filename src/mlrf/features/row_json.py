"""Converts rows from and to JSON: `{"key": {field: value}, "features": {name: value}, "as_of": time}`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mlrf.core.errors import InvalidKeyError, InvalidRequestError
from mlrf.core.value_rules import MISSING
from mlrf.core.value_text import clip, json_type, shown, shown_name
from mlrf.features.as_of import read_as_of, show_as_of
from mlrf.features.interface import Key, Record, StoredRow
from mlrf.features.row_format import RowFormat

_MEMBERS = ("key", "features", "as_of")
_CONTRACT = 'a row is {"key": {field: value, …}, "features": {name: value, …}, "as_of": "2026-01-31T06:00:00Z"}'


def read_document(document: Any, rows: RowFormat, *, partial: bool = False) -> tuple[Key, Record]:
    """Return the key and the bytes of one row.

    A key field that is also a feature need not be repeated. An absent feature is refused, unless the row may be `partial`;
    requests must then send it as an override. InvalidRequestError names field, value and remedy.
    """
    if not isinstance(document, Mapping):
        raise InvalidRequestError(f"a row must be an object, not {json_type(document)}: {_CONTRACT}", expected="object")
    for name in document:
        if name not in _MEMBERS:
            raise InvalidRequestError(f"unknown member {shown_name(name)} in a row: {_CONTRACT}", field=clip(name))
    key = document.get("key")
    if not isinstance(key, Mapping):
        raise InvalidKeyError(f"a row needs a key, an object of {rows.key.contract()}", field="key")
    encoded = rows.key.encode(key)
    values, absent = _values(document.get("features"), key, rows, partial=partial)
    return encoded, rows.pack(values, _as_of_us(document.get("as_of")), absent)


def show_document(key: Key, row: StoredRow, rows: RowFormat) -> dict[str, Any]:
    """Return the document of a row, in the form that `read_document` reads."""
    document: dict[str, Any] = {"key": rows.key.decode(key), "features": features_of(row, rows)}
    if row.as_of_us is not None:
        document["as_of"] = show_as_of(row.as_of_us)
    return document


def features_of(row: StoredRow, rows: RowFormat) -> dict[str, Any]:
    """Return the features of a row by name, with None for missing values and without absent features."""
    features = rows.schema.instance(list(row.values))
    for index in row.absent:
        del features[rows.schema.names[index]]
    return features


def _values(
    features: Any, key: Mapping[str, Any], rows: RowFormat, *, partial: bool
) -> tuple[list[float], tuple[int, ...]]:
    if not isinstance(features, Mapping):
        raise InvalidRequestError(
            f"features must be an object of names and values, not {json_type(features)}: {_CONTRACT}", field="features"
        )
    schema = rows.schema
    known = set(schema.names)
    given = {**{name: value for name, value in key.items() if name in known}, **features}
    if not partial:
        values = schema.row_by_name(given)
        _check_shared(key, values, rows)
        return values, ()
    if any(name not in known for name in given):
        raise schema.unknown_features(given)
    absent = tuple(index for index, name in enumerate(schema.names) if name not in given)
    values = [
        MISSING if index in absent else schema.number(index, given[name]) for index, name in enumerate(schema.names)
    ]
    _check_shared(key, values, rows)
    return values, absent


def _check_shared(key: Mapping[str, Any], values: list[float], rows: RowFormat) -> None:
    """Raise InvalidRequestError if a key field and the feature of the same name differ."""
    for index, name in enumerate(rows.schema.names):
        if name in key:
            number = rows.schema.number(index, key[name])
            if number != values[index] and not (math.isnan(number) and math.isnan(values[index])):
                raise InvalidKeyError(
                    f"{shown_name(name)} is {shown(key[name])} in the key and has another value in the features; send the "
                    "same value",
                    field=name,
                )


def _as_of_us(text: Any) -> int | None:
    if text is None:
        return None
    try:
        return read_as_of(text)
    except ValueError as error:
        raise InvalidRequestError(f"as_of: {error}", field="as_of") from error
