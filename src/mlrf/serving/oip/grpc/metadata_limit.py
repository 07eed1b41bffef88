"""Bounds the metadata of a call, also of a client that never acknowledged the server's settings.

grpcio's core refuses metadata over 16 KB, but only once the client has acknowledged that setting. A header may take one byte on
the wire (an index of HPACK's table), and grpcio creates a Python object for each before it calls any of mlrf's code: a megabyte
occupied the event loop for a second. This module replaces grpcio's constructor of those objects by a function that counts them.
"""

from __future__ import annotations

import logging
from asyncio import CancelledError, Task, current_task
from time import perf_counter
from types import SimpleNamespace
from typing import Any

from grpc._cython import cygrpc

MOST_METADATA = 1024
"""Twice what the core accepts (16 KB, where each entry counts its text and 32 bytes), as a call's metadata are read twice."""
_FEW_METADATA = 64
_ALARM_S = 1.0
"""For `_ALARM_S` after a call had too many, a call may have `_FEW_METADATA`: thousands of such calls wait, each in memory."""


class TooMuchMetadataError(Exception):
    """A call has more metadata than a client that respects the server's settings can send."""


_SILENT = SimpleNamespace(print_exc=lambda: None)


class _Counter:
    """Creates the metadata of calls and counts them, one call for each task."""

    def __init__(self, make: Any) -> None:
        self._make = make
        self._task: Task[Any] | None = None
        self._n_left = 0
        self._alarm_until_s = 0.0

    def __call__(self, key: str, value: Any) -> Any:
        """Return an entry of metadata; TooMuchMetadataError if the current call has too many."""
        task = current_task()
        if task is not self._task:
            self._task, self._n_left = task, MOST_METADATA if perf_counter() > self._alarm_until_s else _FEW_METADATA
        self._n_left -= 1
        if self._n_left < 0:
            self._alarm_until_s = perf_counter() + _ALARM_S
            raise TooMuchMetadataError
        return self._make(key, value)


def limit_metadata() -> None:
    """Limit the metadata of all calls of this process; grpcio ends a call with more as UNKNOWN."""
    if not isinstance(cygrpc._Metadatum, _Counter):  # noqa: SLF001  there is no other place before the event loop is held
        cygrpc._Metadatum = _Counter(cygrpc._Metadatum)  # noqa: SLF001
        # If the core has already ended such a call, grpcio prints that it could not end it, besides logging it.
        cygrpc.traceback = _SILENT


def is_no_trouble(record: logging.LogRecord) -> bool:
    """Return whether a record of grpcio is about a caller's mistake: a call that ends early, or invalid or too many metadata.

    Metadata that are not UTF-8 may be a key, which must not be logged.
    """
    fault = record.exc_info[1] if record.exc_info else None
    of_caller = CancelledError | TooMuchMetadataError | UnicodeDecodeError | cygrpc.ExecuteBatchError
    return isinstance(fault, of_caller)
