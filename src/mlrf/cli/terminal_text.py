"""Makes untrusted text safe for terminals: control characters are never printed.

Names and categories come from model files and requests, and may contain line breaks, escape sequences and characters that
change the direction of writing.
"""

from __future__ import annotations

import msgspec

from mlrf.core.value_text import printable


def escaped(text: str) -> str:
    """Return a text on one line, with each nonprintable character replaced by a blank."""
    return printable(text)


def escaped_json(document: object, *, indent: int | None = None) -> str:
    """Return a document as JSON, with nonprintable characters escaped in strings."""
    raw = msgspec.json.encode(document)
    text = (raw if indent is None else msgspec.json.format(raw, indent=indent)).decode()
    # JSON escapes line breaks in strings: the remaining ones are layout.
    return "".join(c if c.isprintable() or c == "\n" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
