"""The tree model that a stack ends in: it reads the members' answers, and then the row's columns if the stack passes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from mlrf.builder.importers.combination.recipe import Recipe
from mlrf.builder.importers.fitted_model import read_fitted_model
from mlrf.builder.importers.imported_model import ImportedModel, ImportOptions
from mlrf.core.errors import ModelUnreadableError, UnsupportedModelError
from mlrf.core.feature import Feature, Kind
from mlrf.core.forest import LEAF

_MAX_EDGES = 2_000


def read_final_model(recipe: Recipe, n_answers: int, n_columns: int) -> ImportedModel | None:
    """Return the tree model that a combination ends in, None if it has none; UnsupportedModelError names another kind."""
    if recipe.final is None:
        return None
    kind = type(recipe.final).__name__
    linear = "a linear regression (LinearRegression, Ridge, …)" if recipe.classes is None else "a LogisticRegression"
    remedy = f"train it with a tree model or {linear} as final_estimator"
    try:
        model = read_fitted_model(recipe.final, ImportOptions())
    except UnsupportedModelError as error:
        raise _unserved(recipe, f"ends in a {kind}", f"{remedy} ({error})") from error
    if model is None or model.combination is not None:
        raise _unserved(recipe, f"ends in a {kind}", remedy)
    if len(model.forest.set_codes) or model.forest.tables is not None:
        raise _unserved(recipe, f"ends in a {kind} with categories", "train its final_estimator on numbers")
    expected = n_answers + (n_columns if recipe.passes_rows else 0)
    if model.forest.n_features != expected:
        raise ModelUnreadableError(
            f"the {recipe.name}'s final estimator reads {model.forest.n_features} columns, its members give {expected}"
        )
    return model


def _unserved(recipe: Recipe, what: str, remedy: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"the {recipe.name} {what}, which mlrf does not serve; {remedy}, or export it to ONNX with skl2onnx"
    )


def check_numbers(recipe: Recipe, features: Sequence[Feature]) -> None:
    """Raise UnsupportedModelError for a category among the columns that the final estimator reads as numbers."""
    for feature in features:
        if feature.kind is Kind.CATEGORICAL:
            raise UnsupportedModelError(
                f"the {recipe.name} gives its final estimator the rows too (passthrough=True), and members read "
                f"{feature.name!r} as a category, which that reads as a number; train it with passthrough=False",
                feature=feature.name,
            )


def with_final(features: tuple[Feature, ...], final: ImportedModel | None, n_answers: int) -> tuple[Feature, ...]:
    """Return the features of the row as the final model takes them too, which reads them after `n_answers` columns."""
    if final is None:
        return features
    pairs = zip(features, final.features[n_answers:], strict=True)
    return tuple(msgspec.structs.replace(own, nullable=own.nullable and seen.nullable) for own, seen in pairs)


def edges_of_rows(final: ImportedModel | None, n_answers: int) -> dict[int, tuple[float, ...]]:
    """Return, by column of the row, numbers at and next to the thresholds of the final model."""
    found: dict[int, tuple[float, ...]] = {}
    if final is None:
        return found
    forest = final.forest
    kind: Any = np.float32 if forest.inputs == "float32" else np.float64
    for feature in np.unique(forest.feature[(forest.feature != LEAF) & (forest.feature >= n_answers)]).tolist():
        cuts = np.unique(forest.threshold[forest.feature == feature]).astype(kind)[: _MAX_EDGES // 3]
        moved = [np.nextafter(cuts, kind(-np.inf)), cuts, np.nextafter(cuts, kind(np.inf))]
        numbers = np.unique(np.concatenate(moved).astype(np.float64))
        found[feature - n_answers] = tuple(numbers[np.isfinite(numbers)].tolist())
    return found
