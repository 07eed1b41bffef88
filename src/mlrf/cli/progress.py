"""Progress display, on terminals only."""

from __future__ import annotations

from rich.console import Console


def progress_console() -> Console:
    """Return a console on stderr for progress bars; it prints nothing if stderr is not a terminal, as in a job's log."""
    console = Console(stderr=True)
    console.quiet = not console.is_terminal
    return console
