"""The recipe of a meta-estimator: its members, and how their answers are combined into its margins and predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mlrf.builder.class_labels import fitted_labels
from mlrf.builder.importers.imported_model import ClassLabel
from mlrf.core.errors import ModelUnreadableError, UnsupportedModelError
from mlrf.core.link import Link
from mlrf.core.manifest import CalibratorEntry, Task

Response = Literal["predict", "predict_proba", "decision_function"]
Kind = Literal["mean", "weighted_mean", "weighted_median", "linear", "each", "votes", "one_against_one"]

_TWO = 2


@dataclass(frozen=True, slots=True)
class MemberRecipe:
    """A member of a meta-estimator, and which of its answers are combined."""

    estimator: Any
    response: Response
    columns: Sequence[int] | None = None
    """Indices of the columns that are the member's input; None for all columns."""
    calibrators: tuple[CalibratorEntry, ...] = ()
    second_class_only: bool = False
    """Whether only the second of a binary classifier's two probabilities is used."""
    votes: bool = False
    """Whether its answer is the index of the class that it predicts."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A meta-estimator as members, an operation on their answers, and a link."""

    name: str
    kind: Kind
    members: tuple[MemberRecipe, ...]
    classes: tuple[ClassLabel, ...] | None = None
    """Labels of a classifier, in the order of its probabilities."""
    link: Link = field(default_factory=Link)
    """From the combined margins to the prediction."""
    weights: tuple[float, ...] = ()
    coefficients: tuple[tuple[float, ...], ...] = ()
    intercepts: tuple[float, ...] = ()
    row_coefficients: tuple[tuple[float, ...], ...] = ()
    """Of a linear combination that adds multiples of the row's own numbers: a stack with `passthrough`."""
    final: Any = None
    """The tree model that reads the members' answers, and whose answer is the whole's."""
    passes_rows: bool = False
    """Whether the final model reads the row too."""
    is_probabilities: bool = False
    """Whether the combined answer has a probability for each class; of two, the second is served."""
    in_members_precision: bool = False
    """Whether a mean of float32 answers is computed in float32."""
    takes_missing: bool = True
    """Whether the meta-estimator passes missing values on to its members."""
    normalises: bool = False
    """Whether the prediction is the share of each margin, after the members' link, in the sum of all (one against the rest)."""
    n_classes: int = 0
    """Number of classes that members vote for."""
    raw: bool = False
    """Whether a classifier's answers are several numbers that are not the probabilities of its classes."""
    targets: tuple[tuple[ClassLabel, ...], ...] = ()
    """Labels of each target of a classifier that answers all classes of several."""
    notes: tuple[str, ...] = ()

    @property
    def task(self) -> Task:
        """The task of the whole."""
        if self.raw:
            return "raw"
        return "regression" if self.classes is None else "binary" if len(self.classes) == _TWO else "multiclass"


def classes_of(estimator: Any) -> tuple[ClassLabel, ...]:
    """Return a fitted classifier's labels; UnsupportedModelError when there are not two or more."""
    labels = fitted_labels(getattr(estimator, "classes_", None))
    if labels is None or len(labels) < _TWO:
        raise UnsupportedModelError(
            f"the {type(estimator).__name__} was not trained on two or more classes; train it again"
        )
    return labels


def fitted(estimator: Any, attribute: str) -> Any:
    """Return an attribute that fitting sets; ModelUnreadableError when the estimator is not fitted."""
    found = getattr(estimator, attribute, None)
    if found is None:
        raise ModelUnreadableError(f"the {type(estimator).__name__} is not fitted; call its fit first")
    return found
