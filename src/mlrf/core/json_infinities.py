"""Reads and writes infinities in JSON, which has no literal for them.

A number beyond the range of float64, such as 1e999, is infinity, as in the JSON parsers of JavaScript and Python.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import msgspec

_TEXT = {math.inf: msgspec.Raw(b"1e999"), -math.inf: msgspec.Raw(b"-1e999")}
_OUT_OF_RANGE = "out of range"
_decode_array = msgspec.json.Decoder(list[Any]).decode
_LINES: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


def decode(text: bytes | msgspec.Raw) -> Any:
    """Return the decoded document with numbers beyond float64 as infinities; errors as for `msgspec.json.decode`."""
    return decode_with(msgspec.json.decode, text)


def decode_documents(raw: bytes) -> list[Any]:
    """Return the items of a JSON array, or the documents of JSON lines; errors as for `decode`, or UnicodeDecodeError."""
    if raw.lstrip()[:1] == b"[":
        return list(decode_with(_decode_array, raw, list[Any]))
    try:
        return _LINES.decode_lines(raw)
    except msgspec.ValidationError:
        return [decode(line) for line in raw.split(b"\n") if line.strip()]


def decode_with(fast: Callable[[Any], Any], text: bytes | msgspec.Raw, kind: Any = Any) -> Any:
    """Return the result of `fast`, msgspec's decoder for `kind`, or, if a number is out of range, the same with infinities."""
    try:
        return fast(text)
    except msgspec.ValidationError as error:
        if _OUT_OF_RANGE not in str(error):
            raise
        import json  # noqa: PLC0415  seldom needed

        try:
            # float() of an integer's digits, because Python limits how long the digits of an int may be.
            document = json.loads(bytes(text), parse_int=_number, parse_constant=_refuse)
        except ValueError:
            raise error from None
        return msgspec.convert(document, kind)


def encoded_infinities(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the members of a flat object for `msgspec.json.encode`, which by itself writes null for an infinity."""
    if not any(isinstance(value, float) and math.isinf(value) for value in values.values()):
        return values
    return {
        name: _TEXT[value] if isinstance(value, float) and math.isinf(value) else value
        for name, value in values.items()
    }


def _number(digits: str) -> int | float:
    number = float(digits)
    return number if math.isinf(number) else int(digits)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
