"""What importers are given, and what they return: the imported model or graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from mlrf.core.combination import Combination
from mlrf.core.feature import Category, Feature
from mlrf.core.forest import F64, Forest
from mlrf.core.link import Link
from mlrf.core.manifest import CombinationEntry, Covers, Task

ClassLabel = str | int | float | bool
CategoryLists = dict[str, list[Category]]
"""Category lists by feature name, in the order of their codes."""


@dataclass(frozen=True, slots=True)
class CategoryNames:
    """Names of categories: from a list, otherwise from a sample."""

    lists: CategoryLists
    sampled: Callable[[str], list[Category] | None] = lambda _: None
    """Returns the distinct values of a sample's column, None if there is no sample or it has no such column."""

    def of(self, name: str) -> list[Category] | None:
        """Return the names of a feature's categories; None if they are unknown."""
        return self.lists[name] if name in self.lists else self.sampled(name)


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """Facts about a model that the caller gives because the model file may lack them."""

    categories: CategoryLists = field(default_factory=dict)
    classes: tuple[ClassLabel, ...] | None = None
    """A classifier's labels in the order of its outputs."""
    feature_names: tuple[str, ...] | None = None
    """Names of the columns, in their order."""
    task: Task | None = None
    """What the outputs are."""
    sampled: Callable[[str], list[Category] | None] = lambda _: None
    """As in `CategoryNames`."""
    shared_categories: CategoryLists = field(default_factory=dict)
    """By raw column of a pipeline: all categories that the members of a combination know, in the order of their codes."""

    @property
    def category_names(self) -> CategoryNames:
        """The names of the categories of features that the model stores as hashes."""
        return CategoryNames(self.categories, self.sampled)


@dataclass(frozen=True, slots=True, order=True)
class Band:
    """Numbers around a threshold that the library sends to either side, depending on the processor it runs on."""

    low: float
    """Numbers up to this one are on the left on every processor."""
    cut: float
    """The threshold: the greatest number on the left on the machine that built the bundle."""
    high: float
    """Numbers beyond this one are on the right on every processor."""


@dataclass(frozen=True, slots=True)
class ImportedModel:
    """An imported model: its trees, the meaning of its margins, and its columns.

    `source` is the model in the training library's own format, with which the parity gate runs the library in a child process
    through the module `answers` (see parity/reference_runner.py).
    """

    forest: Forest
    """Its outputs are the margins, or those of all members of a combination."""
    task: Task
    objective: str
    """The training library's name of the objective."""
    link: Link
    classes: tuple[ClassLabel, ...] | None
    features: tuple[Feature, ...]
    library: str
    """The distribution that can run `source`."""
    source: bytes
    answers: str
    """Import name of the module whose `answer` runs the library."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What `answer` needs in addition to the source; JSON."""
    unused_packages: tuple[str, ...] = ()
    """Packages that the library imports although `answer` does not need them; importing them may take longer than answering."""
    labels_known: bool = True
    """Whether the labels of a classifier are its own or given, and not just 0, 1, …: then its `predict` returns them."""
    class_at_half: Literal[0, 1] = 1
    """The class that the library's own classifier returns if two are equally probable."""
    covers: Covers = "training"
    """The origin of the forest's covers; without covers the model cannot be explained."""
    notes: tuple[str, ...] = ()
    """Notes about what was read unexpectedly, a sentence each."""
    known_codes_only: tuple[int, ...] = ()
    """Columns for which the library refuses categories that are not in the feature's list."""
    largest_number: float = math.inf
    """The largest absolute value in rows given to the library."""
    refuses_beyond_float32: bool = False
    """Whether the library refuses numbers beyond float32 although the forest reads float64: all of them are refused then."""
    edge_values: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    """By column: values that golden rows must contain, in addition to those from the trees."""
    bands: Mapping[int, tuple[Band, ...]] = field(default_factory=dict)
    """By column: the bands around its thresholds, which golden rows leave out."""
    functions: tuple[str, ...] = ()
    """What its steps apply whose results differ between processors."""
    combination: CombinationEntry | None = None
    """How the forest's outputs become the margins, if they are those of several models."""
    final: ImportedModel | None = None
    """The trees that read the combined answers, and perhaps the row (`CombinationEntry.final`): they give the margins."""
    targets: tuple[tuple[ClassLabel, ...], ...] = ()
    """Class labels of each target of a classifier of several, in the order of the outputs."""

    @property
    def computes_margins(self) -> bool:
        """Whether only mlrf computes the margins: the library gives those of a combination's members, or clipped ones."""
        return self.combination is not None or self.link.kind == "clip"

    @property
    def counts_infinite_from_float32(self) -> bool:
        """Whether numbers that float32 rounds to an infinity are treated as the library treats that."""
        return self.forest.inputs == "float32" or self.refuses_beyond_float32

    @property
    def is_limited_to_float32(self) -> bool:
        """Whether the library refuses a number beyond float32 in any column: scikit-learn's trees, and what contains them."""
        return self.refuses_beyond_float32 or (self.library == "scikit-learn" and self.forest.inputs == "float32")

    def library_margins(self, outputs: F64) -> F64:
        """Return what the library gives for the forest's outputs, [n, M]: the margins of all members, or clipped ones."""
        if self.link.kind == "clip":
            return np.clip(outputs, 0.0, 1.0)
        if self.combination is None:
            return outputs
        return _of_rows(Combination(self.combination).member_margins_of_rows, outputs)

    def margins(self, outputs: F64, rows: F64 | None = None) -> F64:
        """Return the margins [n, K] of the forest's outputs [n, M] for rows [n, F]; without rows their numbers count as 0."""
        if self.combination is None:
            return outputs
        combination = Combination(self.combination)
        given = np.zeros((len(outputs), self.forest.n_features)) if rows is None else rows
        if self.final is not None:
            from mlrf.builder.parity.exports import tree_margins  # noqa: PLC0415  it imports this module

            answers = _of_rows(combination.margins_of_rows, outputs)
            read = np.hstack([answers, given]) if self.combination.reads_rows else answers
            return tree_margins(self.final.forest, read)
        if not combination.adds_rows:
            return _of_rows(combination.margins_of_rows, outputs)
        numbers = given.reshape(-1).tolist()
        return _of_rows(lambda found: combination.margins_of_rows(found, numbers), outputs)


def _of_rows(function: Callable[[list[float]], Any], outputs: F64) -> F64:
    return np.asarray(function(outputs.reshape(-1).tolist()), np.float64).reshape(len(outputs), -1)


@dataclass(frozen=True, slots=True)
class ImportedGraph:
    """An ONNX file with other operators than a tree ensemble, served unchanged by ONNX Runtime.

    Its answers determine the rest: which features may be missing, how many outputs there are, whether they are probabilities.
    """

    source: bytes
    """The file."""
    features: tuple[Feature, ...]
    """In the order of the columns; not nullable, as far as the file alone shows."""
    may_lack: tuple[bool, ...]
    """By feature: whether an operator may handle missing values."""
    centres: tuple[float, ...]
    spreads: tuple[float, ...]
    """By feature: a typical magnitude of its numbers, for trial rows."""
    operators: dict[str, int]
    settings: Mapping[str, Any]
    """What is needed to run the graph: inputs, output, label, keys, classes, categories; JSON."""
    task: Task | None
    """As the caller states."""
    classes: tuple[ClassLabel, ...] | None
    """As the caller states; those of the file are in the settings."""
    ends_in: str
    """The operator that computes the answer."""
    is_double: bool
    """Whether the answer is."""
    notes: tuple[str, ...]

    @property
    def labels_known(self) -> bool:
        """Whether the labels of its classes are from the file or given, and not just 0, 1, …."""
        return self.classes is not None or self.settings["classes"] is not None
