"""The columns of a combination: features that all members can read, and rows as the table that scikit-learn takes.

A column is a number to all members or a category to all of them, with one list of categories. Categories reach scikit-learn
as a pandas column of the type "category", as the members were trained on, as codes if their categories are their codes, or as
plain values if all members that have categories are pipelines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from mlrf.builder.importers.combination.members import Member
from mlrf.builder.importers.combination.recipe import Recipe
from mlrf.builder.importers.imported_model import Band
from mlrf.builder.importers.pipeline.raw_table import RawColumn, RawTable
from mlrf.builder.importers.pipeline.raw_table import table_of as raw_table_of
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
            found[column] = own if before is None else _both(before, own)
    return tuple(
        msgspec.structs.replace(
            feature or Feature(name, example=0.0),
            nullable=recipe.takes_missing and (feature is None or feature.nullable),
        )
        for name, feature in zip(names, found, strict=True)
    )


def edge_values(members: Sequence[Member]) -> dict[int, tuple[float, ...]]:
    """Return, by column, the values that golden rows must contain for one of the members."""
    found: dict[int, set[float]] = {}
    for member in members:
        for feature, values in member.model.edge_values.items():
            column = feature if member.columns is None else member.columns[feature]
            found.setdefault(column, set()).update(values)
    return {column: tuple(sorted(values)) for column, values in sorted(found.items())}


def bands(members: Sequence[Member]) -> dict[int, tuple[Band, ...]]:
    """Return, by column, the bands around the thresholds of all members."""
    found: dict[int, set[Band]] = {}
    for member in members:
        for feature, of_member in member.model.bands.items():
            column = feature if member.columns is None else member.columns[feature]
            found.setdefault(column, set()).update(of_member)
    return {column: tuple(sorted(values)) for column, values in sorted(found.items())}


def listed_columns(members: Sequence[Member], features: Sequence[Feature]) -> tuple[int, ...]:
    """Return the columns whose golden rows may hold listed categories only: the type "category" has no value for another."""
    inner = {
        column if member.columns is None else member.columns[column]
        for member in members
        for column in member.model.known_codes_only
    }
    typed = not _has_raw_table(members)
    return tuple(
        index for index, feature in enumerate(features) if index in inner or (typed and feature.categories is not None)
    )


def _has_raw_table(members: Sequence[Member]) -> bool:
    """Whether categories are plain values, as pipelines take them: no member splits categories itself."""
    splits = [m for m in members if not m.is_pipeline and any(f.categories is not None for f in m.model.features)]
    return not splits and any(member.is_pipeline for member in members)


def used_columns(members: Sequence[Member], n_columns: int) -> list[int]:
    """Return the columns that are features: all, or those that a pipeline needs if all members are pipelines."""
    if not all(member.is_pipeline for member in members):
        return list(range(n_columns))
    return sorted({column for member in members for column in member.columns or ()})


def on_columns(member: Member, used: Sequence[int]) -> Member:
    """Return a member whose columns are positions among those used."""
    if member.columns is None:
        return member
    position = {column: index for index, column in enumerate(used)}
    return replace(member, columns=tuple(position[column] for column in member.columns))


def table_settings(
    members: Sequence[Member],
    features: Mapping[int, Feature],
    names: Sequence[str],
    *,
    no_code_up_to: float,
    is_frame: bool,
) -> dict[str, Any]:
    """Return how `table_of` makes rows a table; JSON.

    `features` by column of the table, which has further columns that are no features if all members are pipelines.
    """
    if _has_raw_table(members):
        with_none = {
            column["name"] for member in members for column in member.raw_columns or () if column["none_is_missing"]
        }
        columns = tuple(
            RawColumn(
                name,
                None if index not in features or (listed := features[index].categories) is None else list(listed),
                none_is_missing=name in with_none,
                is_used=index in features,
            )
            for index, name in enumerate(names)
        )
        return RawTable(columns, is_frame, no_code_up_to).settings()
    return {
        "no_code_up_to": no_code_up_to,
        "names": list(names) if is_frame else None,
        "categories": [
            list(feature.categories) if feature.kind is Kind.CATEGORICAL and feature.categories is not None else None
            for feature in features.values()
        ],
    }


def table_of(settings: Mapping[str, Any], rows: F64) -> Any:
    """Return rows [n, F] as the estimator was trained on them: a frame where it knows names or categories are strings."""
    if "columns" in settings:
        return raw_table_of(dict(settings)).rows(rows)
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
        return msgspec.structs.replace(feature, name=name)
    example = min(max(0.0, feature.least), feature.most)
    return Feature(name, nullable=feature.nullable, example=example, least=feature.least, most=feature.most)


def _both(first: Feature, second: Feature) -> Feature:
    """Return the feature that accepts what two members accept."""
    least, most = max(first.least, second.least), min(first.most, second.most)
    if least > most:
        raise UnsupportedModelError(
            f"no number of {first.name!r} is accepted by all members, so scikit-learn answers no row; train the members again",
            feature=first.name,
        )
    example = min(max(0.0, least), most) if first.kind is Kind.NUMERIC else first.example
    return msgspec.structs.replace(
        first, nullable=first.nullable and second.nullable, least=least, most=most, example=example
    )


def _is_same(first: Feature, second: Feature) -> bool:
    return (first.kind, first.categories, first.hashing) == (second.kind, second.categories, second.hashing)


def _words(feature: Feature) -> str:
    if feature.kind is not Kind.CATEGORICAL:
        return "a number"
    if feature.categories is None:
        return "a category"
    shown = ", ".join(map(str, feature.categories[:_SHOWN])) + (", …" if len(feature.categories) > _SHOWN else "")
    return f"the categories {shown}" + (" by their hashes" if feature.hashing is not None else "")
