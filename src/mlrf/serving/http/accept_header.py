"""The Accept header (RFC 9110, 12.5.1): the media types that a client accepts, the most preferred first."""

from __future__ import annotations

from mlrf.core.lazy_pattern import lazy_pattern

_WEIGHT = lazy_pattern(rb";\s*q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*(?:;|$)")


def preferred_types(accept: bytes) -> list[bytes]:
    """Return the media types of an Accept header without parameters, in lower case, by weight; those of weight 0 are left out.

    Types of equal weight keep their order. A weight that is not a number from 0 to 1 counts as 1.
    """
    weighted = []
    for part in accept.lower().split(b","):
        found = _WEIGHT.search(part)
        weight = float(found[1]) if found else 1.0
        if weight:
            weighted.append((weight, part.partition(b";")[0].strip()))
    return [media_type for _, media_type in sorted(weighted, key=lambda each: -each[0])]
