"""Structured logs: one JSON object a line on standard error, few of them, each written with one system call.

Python's `logging` with a formatter would do as well, at the cost of its import and locks; gunicorn asks for a class of
this shape (`logger_class`), so the whole of what is needed stands here.
"""

from __future__ import annotations

import os
import select
import sys
import time
import traceback
from typing import Any

import msgspec
from gunicorn.errors import HaltServer

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
        """Log what an operator expects to see now and then."""
        self._write("info", event, facts)

    def warning(self, event: str, **facts: Any) -> None:
        """Log what an operator should look at."""
        self._write("warning", event, facts)

    def error(self, event: str, *, fault: BaseException | None = None, **facts: Any) -> None:
        """Log what went wrong, with the fault's traceback."""
        if fault is not None:
            facts["fault"] = "".join(traceback.format_exception(fault))[-_QUOTED_CHARS:]
        self._write("error", event, facts)

    def debug(self, event: str, **facts: Any) -> None:
        """Log what only someone who searches wants to see."""
        self._write("debug", event, facts)

    def _write(self, level: str, event: str, facts: dict[str, Any]) -> None:
        if LEVELS[level] < self._threshold:
            return
        line = {"time": stamp(time.time()), "level": level, "event": event, "pid": os.getpid(), **facts}
        try:
            # Of a pipe that is full because its reader hangs the line is lost: it must not hold up supervision, nor an exit.
            if _takes_more(self.descriptor):
                os.write(self.descriptor, _encoded(line) + b"\n")
        except OSError:
            # A log that nobody reads any more must not end the server.
            return


class ArbiterLog:
    """gunicorn's logger: its own words at debug, its troubles at their level, all in our shape."""

    log = Log()
    """Set before the arbiter is made: gunicorn makes its logger from a class and a configuration alone."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg

    def setup(self, cfg: Any) -> None:
        """Do nothing: there is nothing that gunicorn's configuration may change."""

    def debug(self, message: str, *args: Any, **_options: Any) -> None:
        """Log gunicorn's debug and info lines."""
        self.log.debug("arbiter", message=_worded(message, args))

    info = debug

    def warning(self, message: str, *args: Any, **_options: Any) -> None:
        """Log gunicorn's warnings."""
        self.log.warning("arbiter", message=_worded(message, args))

    def error(self, message: str, *args: Any, **_options: Any) -> None:
        """Log gunicorn's errors, with the traceback of the one being handled, unless that is its word for a wanted end."""
        fault = sys.exc_info()[1]
        if isinstance(fault, HaltServer):
            fault = None
        self.log.error("arbiter", message=_worded(message, args), fault=fault)

    critical = exception = error

    def log_message(self, *_args: Any, **_options: Any) -> None:
        """Do nothing."""

    def access(self, *_args: Any, **_options: Any) -> None:
        """Do nothing: gunicorn answers no request here."""

    def reopen_files(self) -> None:
        """Do nothing: standard error is not a file of ours."""

    def close_on_exec(self) -> None:
        """Do nothing: standard error is not a file of ours."""


def stamp(time_s: float) -> str:
    """Return a time in Unix seconds as logs write it: RFC 3339, UTC, milliseconds."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(time_s))}.{int(time_s % 1 * 1000):03d}Z"


def _takes_more(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(0))


def _encoded(line: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(line, enc_hook=str)
    except UnicodeEncodeError:
        # A path whose bytes are not UTF-8, of which Python makes lone surrogates.
        facts = {name: str(fact).encode(errors="backslashreplace").decode() for name, fact in line.items()}
        return msgspec.json.encode(facts)


def _worded(message: Any, args: tuple[Any, ...]) -> str:
    return str(message) % args if args else str(message)
