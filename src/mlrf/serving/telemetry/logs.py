"""Structured logs: one JSON object per line on standard error, each written with one system call.

Python's `logging` with a formatter would work too, but takes time to import and uses locks. gunicorn's `logger_class` needs a
class with these methods anyway.
"""

from __future__ import annotations

import os
import select
import sys
import time
from typing import Any

import msgspec

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_QUOTED_CHARS = 4000
_STANDARD_ERROR = 2


class Log:
    """Writes lines of at least `level` to a file descriptor."""

    def __init__(self, level: str = "info", descriptor: int | None = None) -> None:
        self._threshold = LEVELS[level]
        self.descriptor = _STANDARD_ERROR if descriptor is None else descriptor

    def set_level(self, level: str) -> None:
        """Write lines of at least this level from now on."""
        self._threshold = LEVELS[level]

    def info(self, event: str, **facts: Any) -> None:
        """Log an event that is part of normal operation."""
        self._write("info", event, facts)

    def warning(self, event: str, **facts: Any) -> None:
        """Log an event that needs attention."""
        self._write("warning", event, facts)

    def error(self, event: str, *, fault: BaseException | None = None, **facts: Any) -> None:
        """Log an error, with its traceback."""
        if fault is not None:
            import traceback  # noqa: PLC0415  the settings import this module before the golden replay; asyncio, after it, imports this

            facts["fault"] = "".join(traceback.format_exception(fault))[-_QUOTED_CHARS:]
        self._write("error", event, facts)

    def debug(self, event: str, **facts: Any) -> None:
        """Log an event for troubleshooting."""
        self._write("debug", event, facts)

    def _write(self, level: str, event: str, facts: dict[str, Any]) -> None:
        if LEVELS[level] < self._threshold:
            return
        line = {"time": stamp(time.time()), "level": level, "event": event, "pid": os.getpid(), **facts}
        try:
            # If a pipe is full because its reader hangs, the line is dropped: logging must not delay supervision or an exit.
            if _takes_more(self.descriptor):
                os.write(self.descriptor, _encoded(line) + b"\n")
        except OSError:
            # The server must not end because the reader of its log is gone.
            return


_GUESS = " Perhaps out of memory?"


class ArbiterLog:
    """gunicorn's logger, in this format: ordinary messages are logged at debug level, warnings and errors at their own."""

    log = Log()
    """Set before the arbiter is created, because gunicorn creates its logger from a class and a configuration only."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg
        self.killed: set[int] = set()
        """Workers that the arbiter itself killed: of another one that was killed, gunicorn guesses that memory ran out."""

    def setup(self, cfg: Any) -> None:
        """Do nothing: gunicorn's configuration must not change anything."""

    def debug(self, message: str, *args: Any, **_options: Any) -> None:
        """Log gunicorn's debug and info lines."""
        self.log.debug("arbiter", message=_worded(message, args))

    info = debug

    def warning(self, message: str, *args: Any, **_options: Any) -> None:
        """Log gunicorn's warnings."""
        self.log.warning("arbiter", message=_worded(message, args))

    def error(self, message: str, *args: Any, **_options: Any) -> None:
        """Log gunicorn's errors, with the traceback of the one being handled, unless it reports a requested exit."""
        from gunicorn.errors import HaltServer  # noqa: PLC0415  as above; gunicorn calls this

        fault = sys.exc_info()[1]
        if isinstance(fault, HaltServer):
            fault = None
        if args and args[0] in self.killed:
            message = str(message).removesuffix(_GUESS)
        self.log.error("arbiter", message=_worded(message, args), fault=fault)

    critical = exception = error

    def log_message(self, *_args: Any, **_options: Any) -> None:
        """Do nothing."""

    def access(self, *_args: Any, **_options: Any) -> None:
        """Do nothing: gunicorn answers no request here."""

    def reopen_files(self) -> None:
        """Do nothing: standard error is not a file to reopen or close."""

    def close_on_exec(self) -> None:
        """Do nothing: standard error is not a file to reopen or close."""


def stamp(time_s: float) -> str:
    """Return a time in Unix seconds in the format of the logs: RFC 3339, UTC, milliseconds."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(time_s))}.{int(time_s % 1 * 1000):03d}Z"


def _takes_more(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(0))


def _encoded(line: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(line, enc_hook=str)
    except UnicodeEncodeError:
        # A path that is not UTF-8; Python represents its bytes by lone surrogates.
        facts = {name: str(fact).encode(errors="backslashreplace").decode() for name, fact in line.items()}
        return msgspec.json.encode(facts)


def _worded(message: Any, args: tuple[Any, ...]) -> str:
    return str(message) % args if args else str(message)
