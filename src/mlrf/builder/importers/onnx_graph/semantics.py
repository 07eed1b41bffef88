"""The meaning of a graph's outputs: task, classes and served column, and nullable features, inferred from its outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlrf.builder.importers.imported_model import ClassLabel, ImportedGraph
from mlrf.builder.importers.onnx_graph.graph_runner import GraphAnswers
from mlrf.core.errors import SampleError, UnsupportedModelError
from mlrf.core.forest import F64
from mlrf.core.manifest import Task

_ROUNDING = 1e-6
_TWO = 2


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the margins are."""

    task: Task
    column: int | None
    """The only column of the numbers that is used; None if all are."""
    n_outputs: int
    classes: tuple[ClassLabel, ...] | None
    notes: tuple[str, ...] = ()

    def margins(self, numbers: F64) -> F64:
        """Return the margins [n, K] among the graph's numbers [n, C]."""
        return numbers if self.column is None else numbers[:, self.column : self.column + 1]


def read_meaning(graph: ImportedGraph, answers: GraphAnswers) -> Meaning:
    """Return the meaning of a graph's numbers: as the caller states, otherwise inferred from the file and its outputs.

    SampleError if the caller's options do not match; UnsupportedModelError if it cannot be inferred.
    """
    numbers = answers.numbers[np.all(np.isfinite(answers.numbers), axis=1)]
    if not len(numbers):
        raise UnsupportedModelError(
            "the ONNX model gave no finite answer for any row that was tried; give typical rows with --sample"
        )
    width = numbers.shape[1]
    if graph.task in ("regression", "raw"):
        if graph.classes is not None:
            raise SampleError(
                f"class labels are given, but the task {graph.task} has no classes; leave one of them out"
            )
        return Meaning(graph.task, None, width, None)
    classes = _classes(graph, width)
    if graph.task is None and classes is None and graph.ends_in != "Softmax":
        if graph.settings["label"]:
            raise UnsupportedModelError(
                "the ONNX model gives labels, but does not say which number belongs to which label; list the labels in the "
                "order of the numbers: --classes a,b,c"
            )
        hint = (
            "it ends in a Sigmoid, and its numbers are served as they are; --classes no,yes would add the class label",
        )
        return Meaning("regression", None, width, None, hint if graph.ends_in == "Sigmoid" and width == 1 else ())
    return _of_classifier(graph, numbers, classes or tuple(range(max(_TWO, width))))


def _classes(graph: ImportedGraph, width: int) -> tuple[ClassLabel, ...] | None:
    n_classes = max(_TWO, width)
    if graph.classes is not None:
        if len(graph.classes) != n_classes:
            raise SampleError(
                f"the model has {n_classes} classes, each of which needs its own label, not {list(graph.classes)}"
            )
        return graph.classes
    named = graph.settings["classes"]
    return tuple(named) if named is not None and len(named) == n_classes else None


def _of_classifier(graph: ImportedGraph, numbers: F64, classes: tuple[ClassLabel, ...]) -> Meaning:
    width = numbers.shape[1]
    task: Task = "binary" if width <= _TWO else "multiclass"
    if graph.task not in (None, task):
        raise SampleError(f"the task {graph.task} is given, but the ONNX model returns {width} numbers a row: {task}")
    if numbers.min() < -_ROUNDING or numbers.max() > 1.0 + _ROUNDING:
        bounds = f"from {numbers.min():.3g} to {numbers.max():.3g}"
        if graph.task is not None or graph.classes is not None:
            raise SampleError(
                f"the ONNX model's numbers ({bounds}) are not probabilities, so they determine no class; serve them with "
                "--task raw"
            )
        note = (
            f"the file gives scores ({bounds}), not probabilities: they are served as they are, and no class is named"
        )
        return Meaning("raw", None, width, None, (note,))
    if task == "binary":
        return Meaning(task, width - 1, 1, classes)
    return Meaning(task, None, width, classes)


def class_at_half(meaning: Meaning, answers: GraphAnswers) -> int:
    """Return the class of a prediction of 0.5; UnsupportedModelError if labels do not follow from probabilities."""
    if meaning.classes is None:
        return 1
    is_labelled = ~np.isnan(answers.labels)
    labels = answers.labels[is_labelled].astype(np.int64)
    shares = answers.numbers[is_labelled]
    if shares.shape[1] == 1:
        shares = np.hstack([1.0 - shares, shares])
    if not len(labels):
        return 0
    off = shares[np.arange(len(labels)), labels] < np.max(shares, axis=1) - _ROUNDING
    if np.any(off):
        worst = int(np.argmax(off))
        raise UnsupportedModelError(
            f"the ONNX model's labels are not those of its largest probabilities on {int(np.sum(off))} of {len(labels)} rows "
            f"(it returns {meaning.classes[labels[worst]]!r} with {shares[worst].tolist()}), as happens with scikit-learn's "
            "SVC; serve only its numbers with --task raw"
        )
    ties = shares[:, -1] == 0.5  # noqa: PLR2004  half
    return int(bool(np.any(ties)) and bool(np.all(labels[ties] == 1)))


def missing_answered(may_lack: Sequence[bool], columns: Sequence[int], numbers: F64) -> list[bool]:
    """Return which features may be missing: `numbers` [n, C] are the answers to rows that lack the column with that index."""
    answered = dict(zip(columns, np.all(np.isfinite(numbers), axis=1).tolist(), strict=True))
    return [may and bool(answered.get(column, False)) for column, may in enumerate(may_lack)]
