"""The meaning of an ONNX tree ensemble's sum: its task, its link, and the names of its classes.

The margin is the sum of the trees before `post_transform`. A classifier of two classes whose trees add to one number has
that as its margin; one whose trees contain the probabilities of both classes has that of the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlrf.builder.importers.imported_model import ClassLabel
from mlrf.builder.importers.onnx_trees.tree_nodes import Ensemble
from mlrf.core.errors import UnsupportedModelError
from mlrf.core.link import Link, LinkKind
from mlrf.core.manifest import Task

_SHARES_TOLERANCE = 1e-4
_BOTH = frozenset((0, 1))


@dataclass(frozen=True, slots=True)
class Kind:
    """What the margins are."""

    task: Task
    link: Link
    classes: tuple[ClassLabel, ...] | None
    column: int | None
    """The only column of the operator's scores that is the margin; None if all of them are."""
    output: int | None
    """The only output of the leaves that counts; None if all do."""
    n_outputs: int


def read_kind(ensemble: Ensemble, link: LinkKind, labels: Sequence[ClassLabel] | None) -> Kind:
    """Return the meaning of an ensemble; `link` and `labels` come from the operators after it.

    UnsupportedModelError names a transform or an aggregate that mlrf does not support.
    """
    if ensemble.aggregate not in ("SUM", "AVERAGE"):
        raise UnsupportedModelError(
            f"the ONNX model aggregates its trees by {ensemble.aggregate}; mlrf supports sums and averages of trees"
        )
    if ensemble.transform not in ("NONE", "LOGISTIC", "SOFTMAX"):
        raise UnsupportedModelError(
            f"the ONNX model's post_transform is {ensemble.transform}; mlrf supports NONE, LOGISTIC and SOFTMAX"
        )
    if ensemble.transform != "NONE":
        if link != "identity":
            raise UnsupportedModelError(
                f"the ONNX model has post_transform {ensemble.transform} and a {link} after it; mlrf supports one of them"
            )
        link = "sigmoid" if ensemble.transform == "LOGISTIC" else "softmax"
    if ensemble.labels is None:
        return _of_regressor(ensemble, link, None if labels is None else tuple(labels))
    names: tuple[ClassLabel, ...] = tuple(ensemble.labels)
    if ensemble.n_outputs == len(ensemble.base) == 2:  # noqa: PLR2004  two classes
        raise UnsupportedModelError(
            "the ONNX model is a classifier of two classes with a base value for each, of which ONNX Runtime drops one score; "
            "export it with one base value, that of the second class"
        )
    if ensemble.n_outputs == 2 and ensemble.class_ids <= {0}:  # noqa: PLR2004  two classes
        if link == "identity" and not _only_shares(ensemble):
            return Kind("raw", Link(), None, 1, 0, 1)
        return Kind("binary", Link("identity" if link == "softmax" else link), names, 1, 0, 1)
    if ensemble.n_outputs == 2 and _second_determines_both(ensemble, link):  # noqa: PLR2004
        return Kind("binary", Link(link), names, 1, 1, 1)
    return Kind(
        "multiclass", Link("sigmoid_each" if link == "sigmoid" else link), names, None, None, ensemble.n_outputs
    )


def _of_regressor(ensemble: Ensemble, link: LinkKind, names: tuple[ClassLabel, ...] | None) -> Kind:
    k = ensemble.n_outputs
    if names is not None and len(names) != max(2, k):
        raise UnsupportedModelError(f"the ONNX model names {len(names)} classes for {k} outputs")
    if k == 1:
        if link == "softmax":
            raise UnsupportedModelError("the ONNX model takes the softmax of one number, which is always 1")
        return Kind("regression" if names is None else "binary", Link(link), names, None, None, 1)
    task: Task = "regression" if names is None and link in ("identity", "exp") else "multiclass"
    if task == "multiclass" and names is None:
        names = tuple(range(k))
    return Kind(task, Link("sigmoid_each" if link == "sigmoid" else link), names, None, None, k)


def _only_shares(ensemble: Ensemble) -> bool:
    """Whether no leaf is negative: ONNX Runtime then returns 1 - s with s, and -s otherwise."""
    return all(value >= 0 for adds in ensemble.nodes.weights.values() for _, value in adds)


def _second_determines_both(ensemble: Ensemble, link: LinkKind) -> bool:
    """Whether the second class's score determines the first's: they are probabilities, or a margin and its negative."""
    if ensemble.class_ids != _BOTH:
        return False
    if link == "identity":
        return _complementary(ensemble)
    return link == "sigmoid" and _opposite(ensemble)


def _opposite(ensemble: Ensemble) -> bool:
    """Whether each leaf has a number for the second class and its negative for the first, as CatBoost writes them."""
    return not any(ensemble.base) and all(
        sum(value for _, value in adds) == 0 for adds in ensemble.nodes.weights.values()
    )


def _complementary(ensemble: Ensemble) -> bool:
    """Whether the two classes' scores always add up to one."""
    adds = list(ensemble.nodes.weights.values())
    if any(value < 0 for leaf in adds for _, value in leaf):
        return False
    sums = [sum(value for _, value in leaf) for leaf in adds]
    total = sums[0] * len(ensemble.nodes.roots) + sum(ensemble.base)
    return max(sums) - min(sums) <= _SHARES_TOLERANCE * max(sums) and abs(total - 1.0) <= _SHARES_TOLERANCE
