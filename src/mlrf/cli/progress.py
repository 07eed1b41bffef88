"""Where progress is shown: on a terminal alone."""

from __future__ import annotations

from rich.console import Console


def progress_console() -> Console:
    """Return a console on stderr for bars: it is silent where stderr is no terminal, as is a log of a job."""
    console = Console(stderr=True)
    console.quiet = not console.is_terminal
    return console
