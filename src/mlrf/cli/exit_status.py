"""Exit statuses: the table from errors to exit statuses, and errors as one line on stderr instead of a traceback."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mlrf.cli.signals import EndedBySignal
from mlrf.cli.terminal_text import escaped
from mlrf.core.errors import (
    BundleError,
    ConfigError,
    FeaturesUnavailableError,
    MlrfError,
    OutputExistsError,
    RowsError,
    SampleError,
)

DONE, FAILED, MISUSED, BAD_BUNDLE = 0, 1, 2, 3
BY_SIGNAL = 128
"""Offset of the exit status from a signal's number: 130 for Ctrl-C, 143 for SIGTERM."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers of a write without disk space."""
_REFUSED_PATHS = {
    errno.ENAMETOOLONG: "give a shorter path",
    errno.ELOOP: "give a path without a loop of links",
    errno.EACCES: "permit this user to use it, or give another path",
    errno.EPERM: "permit this user to use it, or give another path",
    errno.EROFS: "give a path on a file system that can be written",
}
"""What to do about a path that the system refuses, by the error number: a command may use it before it looks at it."""
EXIT_STATUS: tuple[tuple[type[MlrfError], int], ...] = (
    (BundleError, BAD_BUNDLE),
    (ConfigError, MISUSED),
    (OutputExistsError, MISUSED),
    (SampleError, MISUSED),
    (RowsError, MISUSED),
    (MlrfError, FAILED),
)
"""Exit status by error class; the first class that matches counts."""


class Outcome:
    """The exit status of a command, once it is known."""

    def __init__(self) -> None:
        self.status = DONE


def exit_status(error: MlrfError) -> int:
    """Return the exit status of an error, from the table."""
    return next(status for kind, status in EXIT_STATUS if isinstance(error, kind))


@contextmanager
def reported() -> Iterator[Outcome]:
    """Report an MlrfError, a path that the system refuses, or the end of memory, as a line on stderr and an exit status.

    Other exceptions stay tracebacks.
    """
    outcome = Outcome()
    try:
        yield outcome
        if sys.stdout is not None:
            sys.stdout.flush()
    except MlrfError as error:
        text = error.explained if isinstance(error, FeaturesUnavailableError) else str(error)
        print(f"mlrf: {escaped(text)}", file=sys.stderr)
        outcome.status = exit_status(error)
    except (EndedBySignal, KeyboardInterrupt) as end:
        number = end.number if isinstance(end, EndedBySignal) else signal.SIGINT
        print("mlrf: interrupted" if number == signal.SIGINT else "mlrf: terminated", file=sys.stderr)
        outcome.status = BY_SIGNAL + number
    except MemoryError:
        print(
            "mlrf: memory ran out; give less at once (`mlrf score` reads files of any size in parts), or allow more memory",
            file=sys.stderr,
        )
        outcome.status = FAILED
    except BrokenPipeError:
        # The reader of the output closed it (`| head`). Python would report it again when it flushes at exit.
        _drop_output()
        outcome.status = FAILED
    except OSError as error:
        path = error.filename
        if isinstance(path, str | bytes) and error.errno in _REFUSED_PATHS:
            what = f"{os.fsdecode(path)}: {error.strerror}; {_REFUSED_PATHS[error.errno]}"
            print(f"mlrf: {escaped(what)}", file=sys.stderr)
            outcome.status = MISUSED
            return
        is_closed = error.errno == errno.EBADF and sys.__stdout__ is None
        if (not is_closed and error.errno not in _FULL) or path is not None:
            raise
        why = "it is closed; write to a file" if is_closed else f"{error.strerror}; free space, or write elsewhere"
        print(f"mlrf: standard output cannot be written: {why}", file=sys.stderr)
        _drop_output()
        outcome.status = FAILED


def _drop_output() -> None:
    """Discard unflushed output: Python would report an error for it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
