"""The columns of a scikit-learn estimator: names, kinds, and the categories that its encoder knows.

Categories that are integers from 0 on are codes themselves. Others (strings, mostly) are a list, and a code is a
category's index in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlrf.builder.category_lists import check_category_names
from mlrf.builder.importers.imported_model import CategoryLists
from mlrf.core.errors import ModelUnreadableError, SampleError, UnsupportedModelError
from mlrf.core.feature import Category, Feature
from mlrf.core.feature import Kind as Values
from mlrf.core.forest import F64

_MAX_CODE = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a model, and how its trees number them."""

    features: tuple[Feature, ...]
    order: tuple[int, ...]
    """[F] the model's column by the trees' number: an encoder puts the categorical ones first."""
    codes: tuple[tuple[int, ...] | None, ...]
    """[F] by the trees' number: the code of each of the encoder's positions, None for a numeric column."""


def read_columns(estimator: Any, lists: CategoryLists, *, nullable: bool) -> Columns:
    """Return the columns of a fitted estimator; SampleError when a category list contradicts it."""
    count = int(estimator.n_features_in_)
    names = [str(name) for name in getattr(estimator, "feature_names_in_", ())] or [f"x{i}" for i in range(count)]
    if len(names) != count or not all(names) or len(set(names)) != count:
        raise ModelUnreadableError(f"the estimator has {count} columns, but their names are missing or repeated")
    check_category_names(lists, names)
    known = _encoder_categories(estimator, count)
    features, codes = [], {}
    for column, name in enumerate(names):
        if column not in known:
            if name in lists:
                raise SampleError(
                    f"feature {name!r}: the model uses it as a number, so it has no categories; leave its list out",
                    feature=name,
                )
            features.append(Feature(name, nullable=nullable, example=0.0))
            continue
        feature, codes[column] = _categorical(name, known[column], lists.get(name))
        features.append(feature)
    order = (*sorted(known), *(column for column in range(count) if column not in known))
    return Columns(tuple(features), order, tuple(codes.get(column) for column in order))


def raw_columns(estimator: Any, rows: F64) -> Any:
    """Return rows [n, F] with their codes turned back into the categories that the estimator was trained on.

    An array, or a frame with the estimator's names where its encoder looks for them. A code that is not a category becomes
    something that the encoder does not know; codes are truncated toward zero, as the engine reads them.
    """
    known = _encoder_categories(estimator, int(estimator.n_features_in_))
    if not known:
        return rows
    columns: dict[Any, Any] = dict(enumerate(rows.T))
    # Trained on an array of objects, as steps before it make of numbers and booleans, its encoder compares objects only.
    of_objects = any(listed.dtype == object for listed in _listed_categories(estimator))
    for column, categories in known.items():
        codes = np.trunc(rows[:, column])
        _, own_codes = _codes_of(categories)
        values = dict(zip(own_codes, categories, strict=True))
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in categories):
            numbers = [values.get(code, _unknown(code)) for code in codes.tolist()]
            columns[column] = np.array(numbers, object if of_objects else np.float64)
        else:
            columns[column] = np.array([values.get(code, _unknown_text(code)) for code in codes.tolist()], object)
    if not hasattr(estimator, "feature_names_in_"):
        is_plain = all(values.dtype == np.float64 for values in columns.values())
        return np.column_stack([values.astype(np.float64 if is_plain else object) for values in columns.values()])
    import pandas as pd  # noqa: PLC0415  an estimator that knows names was trained on a frame

    return pd.DataFrame({name: columns[column] for column, name in enumerate(estimator.feature_names_in_)})


def _unknown(code: float) -> float:
    return math.nan if math.isnan(code) else -1.5  # no integer is trained as a category's fraction


def _unknown_text(code: float) -> str | None:
    return None if math.isnan(code) else "\x00a category that nobody has"


def _encoder_categories(estimator: Any, count: int) -> dict[int, list[Category]]:
    if getattr(estimator, "_preprocessor", None) is None:
        return {}
    is_categorical = np.asarray(estimator.is_categorical_, np.bool_)
    listed = _listed_categories(estimator)
    columns = np.flatnonzero(is_categorical).tolist()
    if len(is_categorical) != count or len(listed) != len(columns):
        raise ModelUnreadableError("the estimator's encoder does not match its columns")
    return {column: _plain(categories) for column, categories in zip(columns, listed, strict=True)}


def _listed_categories(estimator: Any) -> list[Any]:
    found: list[Any] = estimator._preprocessor.named_transformers_["encoder"].categories_  # noqa: SLF001
    return found


def _plain(categories: Any) -> list[Category]:
    """Return an encoder's categories as plain values, without its missing category, which is always the last."""
    values = [value.item() if hasattr(value, "item") else value for value in categories]
    kept = [v for v in values if v is not None and not (isinstance(v, float) and math.isnan(v))]
    if bad := [v for v in kept if not isinstance(v, str | int | float)]:
        raise UnsupportedModelError(
            f"a category is the {type(bad[0]).__name__} {bad[0]!r}; mlrf supports strings and numbers"
        )
    return [int(v) if isinstance(v, float) and v.is_integer() else v for v in kept]


def _categorical(name: str, known: list[Category], given: list[Category] | None) -> tuple[Feature, tuple[int, ...]]:
    are_codes, codes = _codes_of(known)
    if are_codes:
        if given is not None and codes and max(codes) >= len(given):
            raise SampleError(
                f"feature {name!r}: the model was trained with category code {max(codes)}, but only {len(given)} categories "
                "are listed",
                feature=name,
            )
        listed = None if given is None else tuple(given)
    else:
        listed = tuple(known)
        if given is not None and list(given) != known:
            raise SampleError(
                f"feature {name!r}: the model defines its categories, and the list given differs; leave it out"
            )
    try:
        example = (listed[codes[0]] if listed is not None else codes[0]) if codes else None
        return Feature(name, Values.CATEGORICAL, listed, example=example), codes
    except ValueError as error:
        raise SampleError(str(error), feature=name) from error


def _codes_of(known: list[Category]) -> tuple[bool, tuple[int, ...]]:
    """Return whether categories are codes themselves, and the code of each."""
    if all(isinstance(v, int) and not isinstance(v, bool) and 0 <= v <= _MAX_CODE for v in known):
        return True, tuple(int(v) for v in known)
    return False, tuple(range(len(known)))
