"""The `traceparent` header, which continues a trace from caller to callee (W3C Trace Context, level 1, section 3.2)."""

from __future__ import annotations

import re
from typing import NamedTuple

_VALUE = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1
_INVALID_VERSION = b"ff"
_FIRST_VERSION = b"00"


class Parent(NamedTuple):
    """The caller's span, and whether the caller records this trace."""

    trace_id: int
    span_id: int
    sampled: bool


def parse(value: bytes) -> Parent | None:
    """Return the caller's span; None for a value that the standard says to ignore."""
    matched = _VALUE.fullmatch(value.strip(b" \t"))
    if matched is None:
        return None
    version, trace_id, span_id, flags, more = matched.groups()
    if version == _INVALID_VERSION or (more is not None and version == _FIRST_VERSION):
        return None
    parent = Parent(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & _SAMPLED))
    return parent if parent.trace_id and parent.span_id else None


def write(trace_id: int, span_id: int) -> bytes:
    """Return the header value for a span of a recorded trace."""
    return b"00-%032x-%016x-01" % (trace_id, span_id)
