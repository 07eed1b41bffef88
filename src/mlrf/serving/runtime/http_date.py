"""The time as HTTP writes it (RFC 9110, 5.6.7). `email.utils` does that too, but imports twelve modules at each start."""

from __future__ import annotations

import time

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def http_date(timestamp_s: float) -> str:
    """Return a time in seconds since the epoch as `Sun, 06 Nov 1994 08:49:37 GMT`, in any locale."""
    year, month, day, hour, minute, second, weekday, *_ = time.gmtime(timestamp_s)
    return f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year:04} {hour:02}:{minute:02}:{second:02} GMT"
