"""Copies of documents, such as Kubernetes manifests, in which one field differs."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any


def changed(document: Any, path: Sequence[str | int], value: Any) -> Any:
    """Return a copy with another value at a path, or without what is there for None."""
    made = at = copy.deepcopy(document)
    *steps, last = path
    for step in steps:
        at = at[step]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return made
