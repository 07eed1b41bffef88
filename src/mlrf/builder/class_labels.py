"""Class labels of a classifier: the caller's, or those of the fitted object."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mlrf.builder.importers.imported_model import ClassLabel
from mlrf.core.errors import SampleError


def read_class_labels(classes: Any) -> tuple[ClassLabel, ...] | None:
    """Return the labels of a list, tuple or array; None for None.

    SampleError for anything else, or for a value that cannot be a label. Their number is checked against the model later.
    """
    if classes is None:
        return None
    if isinstance(classes, str | bytes) or not isinstance(classes, Iterable):
        raise SampleError(f"class labels must be a list in the order of the model's outputs, not {classes!r}")
    labels = tuple(label.item() if getattr(label, "ndim", None) == 0 else label for label in classes)
    for label in labels:
        if not isinstance(label, str | int | float) or label != label:  # noqa: PLR0124  NaN alone
            raise SampleError(f"{label!r} cannot be a class label; use strings, numbers or booleans")
        if isinstance(label, str) and not label.strip():
            raise SampleError(f"the class labels {list(labels)} contain an empty label")
    if len({str(label) for label in labels}) < len(labels):
        # Including 1 and "1", because classes are names of members in the JSON of explanations.
        raise SampleError(f"the class labels {list(labels)} contain the same label twice once they are written as JSON")
    return labels


def fitted_labels(classes: Any) -> tuple[ClassLabel, ...] | None:
    """Return the labels of a fitted object's `classes_` as plain values, None for None."""
    if classes is None:
        return None
    labels = [label.item() if hasattr(label, "item") else label for label in classes]
    return tuple(label if isinstance(label, str | int | float) else str(label) for label in labels)


def targets_note(targets: Sequence[Sequence[ClassLabel]]) -> tuple[str, ...]:
    """Return a sentence on the outputs of a classifier of several targets, whose classes these are; nothing for none."""
    if not targets:
        return ()
    named = "; ".join(f"target {index}: {', '.join(map(str, labels))}" for index, labels in enumerate(targets))
    return (
        f"the {sum(map(len, targets))} outputs are the probabilities of the classes of each target in turn ({named})",
    )


def choose_labels(
    given: Sequence[ClassLabel] | None, own: Sequence[ClassLabel] | None, n_classes: int | None, what: str
) -> tuple[ClassLabel, ...] | None:
    """Return the labels of a model with `n_classes` (None: not a classifier): those given, or its own, or 0, 1, ….

    SampleError if they do not match the model, which `what` names in the message.
    """
    if n_classes is None:
        if given is not None:
            raise SampleError(f"class labels are given, but {what} is not a classifier; leave them out")
        return None
    labels = given if given is not None else own
    if labels is None:
        return tuple(range(n_classes))
    if given is None and len(labels) < n_classes:
        raise SampleError(
            f"the model was trained on rows of {len(labels)} class{'es' * (len(labels) != 1)}, {list(labels)}, but has outputs "
            f"for {n_classes}; train it on rows of all classes, or list {n_classes} labels with --classes"
        )
    if len(labels) != n_classes or len(set(labels)) != len(labels):
        raise SampleError(f"the model has {n_classes} classes, each of which needs its own label, not {list(labels)}")
    return tuple(labels)
