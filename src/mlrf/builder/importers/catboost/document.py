"""What a CatBoost model says, in whichever of its formats it was written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mlrf.core.errors import UnsupportedModelError
from mlrf.core.forest import F64, I32

AS_FALSE, AS_TRUE, AS_IS = "AsFalse", "AsTrue", "AsIs"
NO_SPLIT = -1


@dataclass(frozen=True, slots=True)
class Column:
    """A feature: its place among all features and its name; `nan_is_large` says where NaN of a numeric one stands."""

    flat: int
    name: str
    is_category: bool = False
    nan_is_large: bool = False


@dataclass(frozen=True, slots=True)
class Split:
    """True for x > border of a numeric feature, or for the category with this hash."""

    column: int
    border: float = 0.0
    category: int | None = None
    """The low 32 bits of the category's hash."""


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """m nodes, the root first, children behind their parents; where a split is true a row goes right."""

    split: I32
    """[m] place in the document's splits, NO_SPLIT at leaves."""
    left: I32
    """[m]"""
    right: I32
    """[m]"""
    leaf: I32
    """[m] at leaves: the row of `values`."""
    values: F64
    """[L, K]"""
    weights: F64
    """[L]"""


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """A whole model. Its raw value is `scale` times the sum of the trees' leaves, plus `bias`."""

    columns: tuple[Column, ...]
    splits: tuple[Split, ...]
    trees: tuple[Tree, ...]
    n_outputs: int
    scale: float
    bias: tuple[float, ...]
    """[K]"""
    info: dict[str, Any] = field(default_factory=dict)
    """What the trainer noted: `params`, `class_params`."""


def refuse_ctr(names: list[str]) -> UnsupportedModelError:
    """Return the error for a model that splits by statistics of categories."""
    of = f" of {', '.join(map(repr, names[:5]))}{' …' if len(names) > 5 else ''}" if names else ""  # noqa: PLR2004
    return UnsupportedModelError(
        f"the model splits by target statistics of its categories (CTR features{of}), whose tables mlrf does not serve; "
        "train it with one_hot_max_size at least the number of categories of each feature, or encode the categories before",
        features=names[:20],
    )


def refuse_kind(kind: str) -> UnsupportedModelError:
    """Return the error for a model with text or embedding features."""
    return UnsupportedModelError(
        f"the model has {kind} features, which CatBoost itself turns into numbers; mlrf does not serve them: train on numbers "
        "and categories alone"
    )
