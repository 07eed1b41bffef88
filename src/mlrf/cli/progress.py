"""Progress display, on terminals only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn


def progress_console() -> Console:
    """Return a console on stderr for progress bars; it prints nothing if stderr is not a terminal, as in a job's log."""
    console = Console(stderr=True)
    console.quiet = not console.is_terminal
    return console


@contextmanager
def upload_progress() -> Iterator[Callable[[int, int], None]]:
    """Yield what is called with the bytes that are uploaded, and all bytes."""
    columns = (TextColumn("uploading"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=progress_console(), transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
