"""Names that a list holds twice, found in one pass: a caller's list may hold hundreds of thousands."""

from __future__ import annotations

from collections.abc import Iterable


def first_repeated(names: Iterable[str]) -> str | None:
    """Return the first name that stands in a list for the second time, None where every name stands there once."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
