"""Bounds the metadata of a call, also of a client that never acknowledged the server's settings.

grpcio's core refuses metadata over 16 KB, but only once the client has acknowledged the settings that say so. A header costs
one byte on the wire (an index of HPACK's table) and grpcio makes a Python object of each before it calls any of mlrf's code: a
megabyte took the event loop a second. What grpcio makes those objects of is replaced by a function that counts them.
"""

from __future__ import annotations

import logging
from asyncio import CancelledError, Task, current_task
from time import perf_counter
from types import SimpleNamespace
from typing import Any

from grpc._cython import cygrpc

MOST_METADATA = 1024
"""Twice what the core lets through (16 KB, of which each counts 32 and its text): a call's metadata are read twice."""
_FEW_METADATA = 64
_ALARM_S = 1.0
"""How many a call may have for so long after one had too many: thousands of such calls wait, each of which costs memory."""


class TooMuchMetadataError(Exception):
    """A call has more metadata than any client that keeps to the settings can send."""


_SILENT = SimpleNamespace(print_exc=lambda: None)


class _Counter:
    """Makes the metadata of calls, each of which is read in a task of its own."""

    def __init__(self, make: Any) -> None:
        self._make = make
        self._task: Task[Any] | None = None
        self._n_left = 0
        self._alarm_until_s = 0.0

    def __call__(self, key: str, value: Any) -> Any:
        """Return a piece of metadata; TooMuchMetadataError where the call under way has too many."""
        task = current_task()
        if task is not self._task:
            self._task, self._n_left = task, MOST_METADATA if perf_counter() > self._alarm_until_s else _FEW_METADATA
        self._n_left -= 1
        if self._n_left < 0:
            self._alarm_until_s = perf_counter() + _ALARM_S
            raise TooMuchMetadataError
        return self._make(key, value)


def limit_metadata() -> None:
    """Bound the metadata of all calls of this process; grpcio ends a call with more as UNKNOWN."""
    if not isinstance(cygrpc._Metadatum, _Counter):  # noqa: SLF001  there is no other place before the event loop is held
        cygrpc._Metadatum = _Counter(cygrpc._Metadatum)  # noqa: SLF001
        # Where the core has ended such a call already, grpcio prints why it could not, in addition to the record that it logs.
        cygrpc.traceback = _SILENT


def is_no_trouble(record: logging.LogRecord) -> bool:
    """Return whether grpcio logs what callers do: calls that end early, metadata that are too many or not UTF-8.

    What is not UTF-8 may be a key, and belongs into no log.
    """
    fault = record.exc_info[1] if record.exc_info else None
    of_caller = CancelledError | TooMuchMetadataError | UnicodeDecodeError | cygrpc.ExecuteBatchError
    return isinstance(fault, of_caller)
