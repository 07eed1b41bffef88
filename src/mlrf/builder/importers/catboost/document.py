"""The content of a CatBoost model, whatever its file format."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mlrf.builder.importers.catboost.ctr import Ctr, CtrTable, TableId
from mlrf.core.errors import UnsupportedModelError
from mlrf.core.forest import F64, I32

AS_FALSE, AS_TRUE, AS_IS = "AsFalse", "AsTrue", "AsIs"
NO_SPLIT = -1
NO_COLUMN = -1


@dataclass(frozen=True, slots=True)
class Column:
    """A feature: its index among all features and its name; `nan_is_large` says how NaN of a numeric one compares."""

    flat: int
    name: str
    is_category: bool = False
    nan_is_large: bool = False


@dataclass(frozen=True, slots=True)
class Split:
    """True for x > border of a numeric feature or of a CTR, or for the category with this hash."""

    column: int
    """Index of the feature among all; NO_COLUMN for a CTR."""
    border: float = 0.0
    category: int | None = None
    """The low 32 bits of the category's hash."""
    ctr: Ctr | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """m nodes, the root first, children after their parents; a row goes right if the split is true."""

    split: I32
    """[m] Index in the document's splits, NO_SPLIT at leaves."""
    left: I32
    """[m] The left child."""
    right: I32
    """[m] The right child."""
    leaf: I32
    """[m] At leaves: the row of `values`."""
    values: F64
    """[L, K] The values of the leaves."""
    weights: F64
    """[L] The weights of the training rows in the leaves."""
    numbers: I32 | None = None
    """[L] CatBoost's own numbers of the leaves; None where they are 0, 1, …"""


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """A complete model. Its raw value is `scale` times the sum of the trees' leaves, plus `bias`."""

    columns: tuple[Column, ...]
    splits: tuple[Split, ...]
    trees: tuple[Tree, ...]
    n_outputs: int
    scale: float
    bias: tuple[float, ...]
    """[K]"""
    info: dict[str, Any] = field(default_factory=dict)
    """What the training stored in the model: `params`, `class_params`."""
    ctr_tables: dict[TableId, CtrTable] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """What CatBoost reads unexpectedly, a sentence each."""


def refuse_kind(kind: str) -> UnsupportedModelError:
    """Return the error for a model with text or embedding features."""
    return UnsupportedModelError(
        f"the model has {kind} features, which CatBoost itself turns into numbers; mlrf does not serve them: train on numbers "
        "and categories alone"
    )
