"""Formats untrusted values for error messages and their details: with their type, quoted, and of bounded length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

_SHOWN_CHARS = 80
_SHOWN_ITEMS = 5


def json_type(value: Any) -> str:
    """Return the JSON type of a decoded value, with its article: "a string"."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return "a string"
        case int() | float():
            return "a number"
        case list() | tuple():
            return "an array"
        case _:
            return "an object" if isinstance(value, dict) else f"a value of type {type(value).__name__}"


def shown(value: Any) -> str:
    """Return an untrusted value as text for an error message, cut to a bounded length: "the number 3"."""
    match value:
        case None | bool():
            return json_type(value)
        case str():
            return f"the string {shown_name(value)}"
        case int() if abs(value) >= 1 << 63:
            return "an integer outside 64 bits"
        case int() | float():
            return f"the number {detail_value(value)}"
        case _:
            return json_type(value)


def shown_name(name: str) -> str:
    """Return an untrusted name in quotes, cut to a bounded length."""
    return '"' + clip(name) + '"'


def clip(text: str) -> str:
    """Return an untrusted text, cut to the length that errors show."""
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"


def detail_value(value: Any) -> float | int | bool | str | None:
    """Return an untrusted value as a JSON scalar for an error's `details`; of arrays and objects only the type."""
    match value:
        case None | bool():
            return value
        case str():
            return clip(value)
        case int() if abs(value) >= 1 << 63:
            return "an integer outside 64 bits"
        case float() if not math.isfinite(value):
            return str(value)
        case int() | float():
            return value
    return json_type(value)


def plural(noun: str, count: int) -> str:
    """Return a noun in the singular or plural, according to a count."""
    return noun if count == 1 else noun + "s"


def listed(items: Sequence[str]) -> str:
    """Return the first items, joined by commas, and the number of the others."""
    first = ", ".join(items[:_SHOWN_ITEMS])
    return first if len(items) <= _SHOWN_ITEMS else f"{first} and {len(items) - _SHOWN_ITEMS} more"


def printable(text: str) -> str:
    """Return a text on one line, with each nonprintable character (control, direction of writing) replaced by a blank."""
    return "".join(c if c.isprintable() else " " for c in text)
