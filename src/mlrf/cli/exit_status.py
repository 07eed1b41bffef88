"""How a command ends: the one table from errors to exit statuses, and one line on stderr instead of a traceback."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mlrf.cli.signals import Ended
from mlrf.cli.terminal_text import harmless
from mlrf.core.errors import BundleError, ConfigError, MlrfError, OutputExistsError, RowsError, SampleError

DONE, FAILED, MISUSED, BAD_BUNDLE = 0, 1, 2, 3
BY_SIGNAL = 128
"""What a shell adds to a signal's number: 130 for Ctrl-C, 143 for SIGTERM."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Where a write finds no space."""
EXIT_STATUS: tuple[tuple[type[MlrfError], int], ...] = (
    (BundleError, BAD_BUNDLE),
    (ConfigError, MISUSED),
    (OutputExistsError, MISUSED),
    (SampleError, MISUSED),
    (RowsError, MISUSED),
    (MlrfError, FAILED),
)
"""The first class that an error belongs to tells its status."""


@dataclass(slots=True)
class Outcome:
    """The exit status of a command, once it is known."""

    status: int = DONE


def exit_status(error: MlrfError) -> int:
    """Return the exit status that the table gives an error."""
    return next(status for kind, status in EXIT_STATUS if isinstance(error, kind))


@contextmanager
def reported() -> Iterator[Outcome]:
    """Turn what a command raises on purpose into a line on stderr and a status; all else stays a traceback."""
    outcome = Outcome()
    try:
        yield outcome
        if sys.stdout is not None:
            sys.stdout.flush()
    except MlrfError as error:
        print(f"mlrf: {harmless(str(error))}", file=sys.stderr)
        outcome.status = exit_status(error)
    except (Ended, KeyboardInterrupt) as end:
        number = end.number if isinstance(end, Ended) else signal.SIGINT
        print("mlrf: interrupted" if number == signal.SIGINT else "mlrf: terminated", file=sys.stderr)
        outcome.status = BY_SIGNAL + number
    except BrokenPipeError:
        # The reader of our output went away (`| head`). Python would complain once more when it flushes at exit.
        _drop_output()
        outcome.status = FAILED
    except OSError as error:
        if error.errno not in _FULL or error.filename is not None:
            raise
        print(
            f"mlrf: standard output cannot be written: {error.strerror}; free space, or write elsewhere",
            file=sys.stderr,
        )
        _drop_output()
        outcome.status = FAILED


def _drop_output() -> None:
    """Have what is still to be flushed go nowhere: Python would complain about it at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
