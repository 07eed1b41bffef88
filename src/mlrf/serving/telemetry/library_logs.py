"""Forwards log records of a library to the server's log, at a limited rate: libraries repeat them while a fault lasts."""

from __future__ import annotations

import logging
import time
from asyncio import CancelledError
from collections.abc import Callable

from mlrf.serving.telemetry.logs import Log

_QUIET_S = 60.0
"""Seconds for which further records of a library are dropped after one was logged."""


def is_cancelled(record: logging.LogRecord) -> bool:
    """Return whether a record reports that a call was cancelled."""
    return record.exc_info is not None and isinstance(record.exc_info[1], CancelledError)


class _Forwarder(logging.Handler):
    def __init__(self, log: Log, event: str, ignored: Callable[[logging.LogRecord], bool]) -> None:
        super().__init__(logging.WARNING)
        self._ignored = ignored
        self._log = log
        self._event = event
        self._due_s = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record, unless one was logged recently, or it is to be ignored."""
        fault = record.exc_info[1] if record.exc_info else None
        now_s = time.monotonic()
        if now_s >= self._due_s and not self._ignored(record):
            self._due_s = now_s + _QUIET_S
            self._log.warning(self._event, reason=record.getMessage(), fault=fault)


def forward_records(
    library: str, log: Log, event: str, *, ignored: Callable[[logging.LogRecord], bool] = is_cancelled
) -> None:
    """Send warnings and errors of a library's logger to `log` and nowhere else, as events named `event`."""
    logger = logging.getLogger(library)
    logger.handlers = [_Forwarder(log, event, ignored)]
    logger.propagate = False
