"""What a terminal is shown of names from outside: nothing that it would obey.

Names and categories come from model files and requests, and may hold line breaks, escape sequences and characters that
turn the direction of writing.
"""

from __future__ import annotations

import msgspec


def harmless(text: str) -> str:
    """Return a text for people, on one line: a blank in place of each character that prints nothing."""
    return "".join(c if c.isprintable() else " " for c in text)


def harmless_json(document: object, *, indent: int | None = None) -> str:
    """Return a document as JSON that means the same: what prints nothing is escaped within its strings."""
    raw = msgspec.json.encode(document)
    text = (raw if indent is None else msgspec.json.format(raw, indent=indent)).decode()
    # JSON itself escapes line breaks in strings: those that stand here are its layout.
    return "".join(c if c.isprintable() or c == "\n" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
