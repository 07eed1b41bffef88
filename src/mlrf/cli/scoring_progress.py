"""The progress bar of scoring, with rows per second and the time left; on terminals only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from mlrf.cli.progress import progress_console


class ScoringProgress(NamedTuple):
    """What a job calls."""

    on_start: Callable[[int, int], None]
    """Takes the number of workers, and their memory in bytes."""
    on_rows: Callable[[int, int], None]
    """Takes the number of rows done, and of all rows."""


@contextmanager
def scoring_progress() -> Iterator[ScoringProgress]:
    """Yield what is called when a job starts, and when rows are done."""
    columns = (
        TextColumn("{task.description}"),
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

        def start(workers: int, memory_bytes: int) -> None:
            progress.update(task, description=f"scoring, {workers} workers, at most about {memory_bytes >> 20} MB:")

        yield ScoringProgress(start, show)
