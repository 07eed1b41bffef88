"""The progress bar of scoring, with rows per second and the time left; on terminals only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from mlrf.cli.progress import progress_console


@contextmanager
def scoring_progress() -> Iterator[Callable[[int, int], None]]:
    """Yield what is called with the number of rows done, and of all rows."""
    columns = (
        TextColumn("scoring"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} rows, {task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=progress_console()) as progress:
        task = progress.add_task("scoring", total=0, start=False, speed="")

        def show(done: int, total: int) -> None:
            if not progress.tasks[0].started:
                progress.start_task(task)
            speed = progress.tasks[0].speed
            progress.update(task, completed=done, total=total, speed="" if speed is None else f"{speed:,.0f} rows/s")

        yield show
