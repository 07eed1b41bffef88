"""JSON arrays of a tensor's values, read and written in pieces so that no call keeps the GIL for long (`thresholds`)."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, cast

import msgspec

from mlrf.core import json_infinities
from mlrf.core.lazy_pattern import lazy_pattern
from mlrf.serving.oip.datatypes import BYTES, DATATYPES, Datatype
from mlrf.serving.runtime.thresholds import JSON_PIECE_BYTES, JSON_PIECE_VALUES

_encode = msgspec.json.encode
_NESTED = lazy_pattern(rb"\[\s*\[")


class TooManyValuesError(Exception):
    """There are more values than the shape states."""


_NUMBERS = lazy_pattern(rb"(),")
"""The separator of two elements; its group belongs to the first."""
_NUMBER_ROWS = lazy_pattern(rb"(\])\s*,\s*(?=\[)")
_STRINGS = lazy_pattern(rb'(")\s*,\s*(?=")')
_STRING_ROWS = lazy_pattern(rb'("\s*\])\s*,\s*(?=\[\s*")')
_TRIES = 3


_Decode = Callable[[bytes], list[Any]]


def _decoders(datatype: Datatype) -> tuple[_Decode, _Decode, _Decode]:
    """Return the decoders of arrays of a datatype's values: without infinities, with them, and of nested arrays."""
    kind: Any = str if datatype is BYTES else bool if datatype.name == "BOOL" else float if datatype.is_float else int
    values: Any = list[kind | None]
    rows: Any = list[values]
    flat, by_row = (msgspec.json.Decoder(kind).decode for kind in (values, rows))
    if not datatype.is_float:
        return flat, flat, by_row
    return (
        flat,
        lambda text: json_infinities.decode_with(flat, text, values),
        lambda text: json_infinities.decode_with(by_row, text, rows),
    )


_DECODERS = {name: _decoders(datatype) for name, datatype in DATATYPES.items()}


def read_values(text: bytes, datatype: Datatype, shape: Sequence[int], most: int) -> Sequence[Any]:
    """Return the values of a JSON array, flat or nested as the shape says; null is None, or NaN for floats.

    MsgspecError if the text is not such an array; TooManyValuesError for a long text with more values than `most`.
    """
    fast, flat, by_row = _DECODERS[datatype.name]
    if len(text) <= JSON_PIECE_BYTES:
        # TensorReader reports what is wrong.
        most = len(text)
        if not _NESTED.match(text):
            try:
                return fast(text)
            except msgspec.ValidationError:
                return flat(text)
    if _NESTED.match(text):
        gap = _STRING_ROWS if datatype is BYTES else _NUMBER_ROWS
        pieces = _flattened(_pieces(text, by_row, gap), shape)
    else:
        pieces = _pieces(text, flat, _STRINGS if datatype is BYTES else _NUMBERS)
    # A list of millions of floats takes as long to free as to create.
    values: Any = array("d") if datatype.is_float and len(text) > JSON_PIECE_BYTES else []
    for piece in pieces:
        values.extend([math.nan if each is None else each for each in piece] if datatype.is_float else piece)
        if len(values) > most:
            raise TooManyValuesError
    return cast("Sequence[Any]", values)


def write_values(values: Sequence[Any]) -> msgspec.Raw:
    """Return the values as a JSON array, NaN as null."""
    pieces = (values[start : start + JSON_PIECE_VALUES] for start in range(0, len(values), JSON_PIECE_VALUES))
    return msgspec.Raw(b"[" + b",".join([_encode(list(each))[1:-1] for each in pieces]) + b"]")


def _flattened(pieces: Iterator[list[list[Any]]], shape: Sequence[int]) -> Iterator[list[Any]]:
    for rows in pieces:
        if len(shape) != 2 or any(len(row) != shape[1] for row in rows):  # noqa: PLR2004
            raise msgspec.ValidationError("its rows are not nested as the shape requires")
        yield list(chain.from_iterable(rows))


def _pieces(text: bytes, decode: _Decode, gap: re.Pattern[bytes]) -> Iterator[list[Any]]:
    end = len(text) - 1
    if end < JSON_PIECE_BYTES or text[:1] + text[-1:] != b"[]":
        yield decode(text)
        return
    start, found = 1, None
    while True:
        begin = start + JSON_PIECE_BYTES
        for tried in range(_TRIES):
            found = gap.search(text, begin, end)
            cut = end if found is None else found.end(1)
            try:
                piece = decode(b"[%b]" % text[start:cut])
            except msgspec.MsgspecError:
                # A string that contains a separator was cut in two, so its first half is not JSON: try the next separator.
                if found is None or tried == _TRIES - 1:
                    raise
                begin = found.start() + 1
            else:
                break
        if not piece:
            raise msgspec.DecodeError("a value is missing before or after a comma")
        yield piece
        if found is None:
            return
        start = found.end()
