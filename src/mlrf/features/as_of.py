"""Reads and formats as-of times, the times when rows were valid: RFC 3339 in text, microseconds since 1970 in UTC in memory.

A time without an offset is in UTC.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
MIN_AS_OF_US = (dt.datetime.min.replace(tzinfo=dt.UTC) - _EPOCH) // _MICROSECOND
MAX_AS_OF_US = (dt.datetime.max.replace(tzinfo=dt.UTC) - _EPOCH) // _MICROSECOND


def read_as_of(text: Any) -> int:
    """Return the microseconds of an RFC 3339 time or date; ValueError names the fault."""
    if not isinstance(text, str):
        raise ValueError(f"an as-of time must be a string like 2026-01-31T06:00:00Z, not {type(text).__name__}")  # noqa: TRY004
    try:
        time = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text[:40]!r} is not an RFC 3339 time like 2026-01-31T06:00:00Z") from error
    if time.tzinfo is None:
        time = time.replace(tzinfo=dt.UTC)
    as_of_us = (time - _EPOCH) // _MICROSECOND
    if not MIN_AS_OF_US <= as_of_us <= MAX_AS_OF_US:
        raise ValueError(f"{text[:40]!r} is outside the years 1 to 9999 in UTC")
    return as_of_us


def show_as_of(as_of_us: int) -> str:
    """Return the time as RFC 3339 in UTC, without a fraction of a second that is zero."""
    time = _EPOCH + dt.timedelta(microseconds=as_of_us)
    return time.isoformat().removesuffix("+00:00") + "Z"
