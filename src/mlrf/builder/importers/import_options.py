"""Validation of what a caller states about a model in addition to its file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mlrf.core.errors import SampleError
from mlrf.core.manifest import Task
from mlrf.core.repeated_names import first_repeated

TASKS: tuple[Task, ...] = ("regression", "binary", "multiclass", "raw")


def read_names(names: Any) -> tuple[str, ...] | None:
    """Return the names of features, None for None; SampleError if they are not names, empty, or not unique."""
    if names is None:
        return None
    if isinstance(names, str | bytes) or not isinstance(names, Iterable):
        raise SampleError(f"feature names must be a list in the order of the columns, not {names!r}")
    found = tuple(names)
    for name in found:
        if not isinstance(name, str) or not name.strip():
            raise SampleError(f"{name!r} cannot be a feature name")
    if (twice := first_repeated(found)) is not None:
        raise SampleError(f"the feature names hold {twice!r} twice")
    return found


def read_task(task: Any) -> Task | None:
    """Return a task, None for None; SampleError if it is not a task."""
    for known in TASKS:
        if task == known:
            return known
    if task is None:
        return None
    raise SampleError(f"the task must be one of {', '.join(TASKS)}, not {task!r}")
