"""The interface between the build and the importers: the `Library` entry and the imported model or graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mlrf.core.combination import Combination
from mlrf.core.feature import Category, Feature
from mlrf.core.forest import F64, Forest
from mlrf.core.link import Link
from mlrf.core.manifest import CombinationEntry, Covers, Task

if TYPE_CHECKING:
    from mlrf.builder.model_source import Source

ClassLabel = str | int | float | bool
CategoryLists = dict[str, list[Category]]
"""Category lists by feature name, in the order of their codes."""


@dataclass(frozen=True, slots=True)
class CategoryNames:
    """Names of categories: those of a list, else those that a sample holds."""

    lists: CategoryLists
    sampled: Callable[[str], list[Category] | None] = lambda _: None
    """Returns the distinct values of a sample's column, None where there is no sample, or it has no such column."""

    def of(self, name: str) -> list[Category] | None:
        """Return the names of a feature's categories; None if they are unknown."""
        return self.lists[name] if name in self.lists else self.sampled(name)


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What a caller says of a model that its file may not know."""

    categories: CategoryLists = field(default_factory=dict)
    classes: tuple[ClassLabel, ...] | None = None
    """A classifier's labels in the order of its outputs."""
    feature_names: tuple[str, ...] | None = None
    """Names of the columns, in their order."""
    task: Task | None = None
    """What the outputs are."""
    sampled: Callable[[str], list[Category] | None] = lambda _: None
    """As `CategoryNames` has it."""

    @property
    def category_names(self) -> CategoryNames:
        """The names of the categories of features that the model knows by their hashes."""
        return CategoryNames(self.categories, self.sampled)


@dataclass(frozen=True, slots=True)
class Library:
    """A training library: how its models are recognised and read."""

    name: str
    reads: str
    """The models of it that mlrf reads, for a sentence."""
    packages: tuple[str, ...]
    """Import names of the packages whose objects are its models."""
    recognises: Callable[[bytes], bool]
    """Whether a file's content is one of its models, sound or damaged."""
    read: Callable[[Source, ImportOptions], ImportedModel | ImportedGraph]
    """Reads a recognised model; raises the BuildError for its fault."""
    takes_names: bool = False
    """Whether the caller may give feature names and the task, because its files may lack them."""
    recognises_object: Callable[[Any], bool] | None = None
    """Whether an object is one of its models, where the package of its class alone does not say so."""


@dataclass(frozen=True, slots=True)
class ImportedModel:
    """A model that was read: its trees, what its margins mean, and what its columns are.

    `source` is the model in the training library's own format: what the parity gate asks the library about, in a process
    of its own, through the module `answers` (see parity/library_process.py).
    """

    forest: Forest
    """Its outputs are the margins, or those of all members of a combination."""
    task: Task
    objective: str
    """As the training library names it."""
    link: Link
    classes: tuple[ClassLabel, ...] | None
    features: tuple[Feature, ...]
    library: str
    """The distribution that can answer for `source`."""
    source: bytes
    answers: str
    """Import name of the module whose `answer` runs the library."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What `answer` must know beside the source; JSON."""
    unused_packages: tuple[str, ...] = ()
    """What the library imports for callers that `answer` is not one of; importing it may take longer than answering."""
    labels_known: bool = True
    """Whether the labels of a classifier are its own or given, and not merely 0, 1, …: then its `predict` returns them."""
    class_at_half: Literal[0, 1] = 1
    """The class that the library's own classifier names where two are equally probable."""
    covers: Covers = "training"
    """Where the forest's covers are from; without any the model is not explained."""
    notes: tuple[str, ...] = ()
    """What was read otherwise than a person may expect, a sentence each."""
    known_codes_only: tuple[int, ...] = ()
    """Columns of which the library answers no category beyond the feature's list."""
    largest_number: float = math.inf
    """The largest absolute value in rows given to the library."""
    edge_values: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    """By column: values that golden rows must hold, beyond those that the trees themselves suggest."""
    combination: CombinationEntry | None = None
    """How the forest's outputs become the margins, if they are those of several models."""

    def library_margins(self, outputs: F64) -> F64:
        """Return the margins that the training library knows, [n, M], of the forest's outputs: those of all members."""
        return self._by_row(outputs, "member_margins")

    def margins(self, outputs: F64) -> F64:
        """Return the margins [n, K] of the forest's outputs [n, M]."""
        return self._by_row(outputs, "margins")

    def _by_row(self, outputs: F64, method: Literal["member_margins", "margins"]) -> F64:
        if self.combination is None:
            return outputs
        of_row = getattr(Combination(self.combination), method)
        return np.array([of_row(row) for row in outputs.tolist()], np.float64).reshape(len(outputs), -1)


@dataclass(frozen=True, slots=True)
class ImportedGraph:
    """An ONNX file that is more than trees, or holds none: it is served as it is, by ONNX Runtime.

    What it answers tells the rest: which features may be missing, how many outputs there are, whether they are probabilities.
    """

    source: bytes
    """The file."""
    features: tuple[Feature, ...]
    """In the order of the columns; none may be missing, as far as the file alone tells."""
    may_lack: tuple[bool, ...]
    """By feature: whether an operator may know what to do where it is missing."""
    centres: tuple[float, ...]
    spreads: tuple[float, ...]
    """By feature: about where the numbers lie, for rows to try."""
    operators: dict[str, int]
    settings: Mapping[str, Any]
    """What a question to the graph must know: inputs, output, label, keys, classes, categories; JSON."""
    task: Task | None
    """As the caller says."""
    classes: tuple[ClassLabel, ...] | None
    """As the caller says; those of the file are among the settings."""
    ends_in: str
    """The operator that makes the answer."""
    is_double: bool
    """Whether the answer is."""
    notes: tuple[str, ...]

    @property
    def labels_known(self) -> bool:
        """Whether the labels of its classes are the file's or given, and not merely 0, 1, …."""
        return self.classes is not None or self.settings["classes"] is not None
