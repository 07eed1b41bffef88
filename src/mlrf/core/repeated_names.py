"""Finds a name that a list contains twice, in one pass, because a caller's list may have hundreds of thousands."""

from __future__ import annotations

from collections.abc import Iterable


def first_repeated(names: Iterable[str]) -> str | None:
    """Return the first name that occurs in a list for the second time; None if all names differ."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
