"""The interface of importers: each is a package here that defines its `LIBRARY`, and `importers/detect.py` finds them all.

A new importer also takes an extra in pyproject.toml (with `make lock`) if its library is a package of its own. If its models
are directories, `builder/model_source.py` finds the file in them; if they were refused by name, `builder/foreign_files.py` did.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from mlrf.builder.importers.imported_model import ImportedGraph, ImportedModel, ImportOptions

if TYPE_CHECKING:
    from mlrf.builder.model_source import Source


class Turn(IntEnum):
    """When a library is tried: those that would recognise models of others come after them."""

    OWN_MODELS = 0
    """It recognises only its own models, by a magic number, or a class that others do not inherit from."""
    AFTER_WRAPPERS = 1
    """scikit-learn: wrappers of the boosting libraries, pipelines and combinations inherit from its classes."""
    LAST = 2
    """ONNX: its files have no magic number."""


@dataclass(frozen=True, slots=True)
class Library:
    """A training library: how its models are recognised and read."""

    name: str
    reads: str
    """The models of it that mlrf reads, for messages."""
    packages: tuple[str, ...]
    """Import names of the packages whose objects are its models."""
    recognises: Callable[[bytes], bool]
    """Whether a file's content is one of its models, valid or damaged."""
    read: Callable[[Source, ImportOptions], ImportedModel | ImportedGraph]
    """Reads a recognised model; raises a BuildError if it is invalid."""
    numbered: str | None = None
    """How it names the columns of an array, as in `"f{}"`: the caller may then name them; None if it has no such names."""
    takes_names: bool = False
    """Whether the caller may give feature names and the task, because the library's files may lack them."""
    recognises_object: Callable[[Any], bool] | None = None
    """Whether an object is one of its models, if its class's package does not decide that."""
    turn: Turn = Turn.OWN_MODELS
