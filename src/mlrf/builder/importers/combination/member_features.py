"""The columns of a combination: features that all members can read, and rows as the table that scikit-learn takes.

A column is a number to all members or a category to all of them, with one list of categories. Categories reach scikit-learn
as a pandas column of the type "category", as the members were trained on, or as codes if their categories are their codes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mlrf.builder.importers.combination.members import Member
from mlrf.builder.importers.combination.recipe import Recipe
from mlrf.core.errors import UnsupportedModelError
from mlrf.core.feature import Feature, Kind
from mlrf.core.forest import F64

_SHOWN = 5


def combined_features(recipe: Recipe, members: Sequence[Member], names: Sequence[str]) -> tuple[Feature, ...]:
    """Return the features of the rows, which may be missing where all members take missing values.

    UnsupportedModelError names a column that members read differently.
    """
    found: list[Feature | None] = [None] * len(names)
    for member in members:
        columns = member.columns or range(len(names))
        if len(columns) != len(member.model.features):
            raise UnsupportedModelError(
                f"a member of the {recipe.name} takes {len(member.model.features)} columns of {len(columns)}"
            )
        for column, feature in zip(columns, member.model.features, strict=True):
            own = _as_column(feature, names[column])
            before = found[column]
            if before is not None and not _is_same(before, own):
                raise UnsupportedModelError(
                    f"members of the {recipe.name} read {names[column]!r} differently: one as {_words(before)}, another as "
                    f"{_words(own)}; train all of them on the same column, or encode it before (a Pipeline of an "
                    "OrdinalEncoder and the combination)",
                    feature=names[column],
                )
            found[column] = own if before is None else replace(before, nullable=before.nullable and own.nullable)
    return tuple(
        replace(
            feature or Feature(name, example=0.0),
            nullable=recipe.takes_missing and (feature is None or feature.nullable),
        )
        for name, feature in zip(names, found, strict=True)
    )


def listed_columns(members: Sequence[Member], features: Sequence[Feature]) -> tuple[int, ...]:
    """Return the columns whose golden rows may hold listed categories only: pandas has no value for another."""
    inner = {
        column if member.columns is None else member.columns[column]
        for member in members
        for column in member.model.known_codes_only
    }
    return tuple(index for index, feature in enumerate(features) if index in inner or feature.categories is not None)


def table_settings(features: Sequence[Feature], no_code_up_to: float, *, is_frame: bool) -> dict[str, Any]:
    """Return how `table_of` makes rows a table; JSON."""
    return {
        "no_code_up_to": no_code_up_to,
        "names": [feature.name for feature in features] if is_frame else None,
        "categories": [
            list(feature.categories) if feature.kind is Kind.CATEGORICAL and feature.categories is not None else None
            for feature in features
        ],
    }


def table_of(settings: Mapping[str, Any], rows: F64) -> Any:
    """Return rows [n, F] as the estimator was trained on them: a frame where it knows names or categories are strings."""
    names, lists, no_code = settings["names"], settings["categories"], settings["no_code_up_to"]
    if names is None:
        columns = [_values(column, listed, no_code) for column, listed in zip(rows.T, lists, strict=True)]
        return np.column_stack(columns) if any(listed is not None for listed in lists) else rows
    import pandas as pd  # noqa: PLC0415  an estimator that knows names was trained on a frame

    return pd.DataFrame(
        {
            name: column if listed is None else pd.Categorical.from_codes(_codes(column, no_code), categories=listed)
            for name, column, listed in zip(names, rows.T, lists, strict=True)
        }
    )


def _codes(column: F64, no_code_up_to: float) -> Any:
    return np.where(column > no_code_up_to, np.trunc(column), -1.0).astype(np.int64)


def _values(column: F64, listed: Sequence[Any] | None, no_code_up_to: float) -> Any:
    return column if listed is None else np.array([*listed, math.nan], np.float64)[_codes(column, no_code_up_to)]


def _as_column(feature: Feature, name: str) -> Feature:
    if feature.kind is Kind.CATEGORICAL:
        return replace(feature, name=name)
    return Feature(name, nullable=feature.nullable, example=0.0)


def _is_same(first: Feature, second: Feature) -> bool:
    return (first.kind, first.categories, first.hashing) == (second.kind, second.categories, second.hashing)


def _words(feature: Feature) -> str:
    if feature.kind is not Kind.CATEGORICAL:
        return "a number"
    if feature.categories is None:
        return "a category"
    shown = ", ".join(map(str, feature.categories[:_SHOWN])) + (", …" if len(feature.categories) > _SHOWN else "")
    return f"the categories {shown}" + (" by their hashes" if feature.hashing is not None else "")
