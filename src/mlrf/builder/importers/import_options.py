"""What a caller says of a model beside its file, read strictly."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mlrf.builder.importers.onnx_graph.semantics import TASKS
from mlrf.core.errors import SampleError
from mlrf.core.manifest import Task
from mlrf.core.repeated_names import first_repeated


def read_names(names: Any) -> tuple[str, ...] | None:
    """Return the names of features, None for None; SampleError when they are none, empty, or one stands twice."""
    if names is None:
        return None
    if isinstance(names, str | bytes) or not isinstance(names, Iterable):
        raise SampleError(f"feature names are a list of names in the order of the columns, not {names!r}")
    found = tuple(names)
    for name in found:
        if not isinstance(name, str) or not name.strip():
            raise SampleError(f"{name!r} cannot be the name of a feature")
    if (twice := first_repeated(found)) is not None:
        raise SampleError(f"the feature names hold {twice!r} twice")
    return found


def read_task(task: Any) -> Task | None:
    """Return a task, None for None; SampleError when it is none."""
    for known in TASKS:
        if task == known:
            return known
    if task is None:
        return None
    raise SampleError(f"a task is one of {', '.join(TASKS)}, not {task!r}")
