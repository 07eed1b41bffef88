"""The columns of a LightGBM file: names, kinds, example values, categories."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mlrf.builder.category_lists import check_category_names
from mlrf.builder.importers.imported_model import CategoryLists
from mlrf.builder.importers.lightgbm.text import ModelText
from mlrf.core.errors import ModelUnreadableError, SampleError
from mlrf.core.feature import Category, Feature, Kind

_EXAMPLE_DIGITS = 4
_SHOWN_CATEGORIES = 5


def read_features(text: ModelText, split_by_category: set[int], lists: CategoryLists) -> tuple[Feature, ...]:
    """Return the model's features in column order.

    `split_by_category` are the columns that a categorical node tests; `lists` gives the categories that the file does not
    contain. ModelUnreadableError if names and columns do not match; SampleError if a category list does not, or contradicts
    the file.
    """
    names = feature_names(text)
    infos = text.header.get("feature_infos", "").split(" ")
    if len(infos) != len(names):
        raise ModelUnreadableError(f"the model file describes {len(infos)} features but names {len(names)}")
    declared = _declared_categorical(text, len(names))
    codes = {i: found for i, info in enumerate(infos) if (found := _seen_codes(info)) is not None}
    categorical = split_by_category | codes.keys() | declared
    own = _pandas_lists(text, sorted(categorical), sorted(declared), names, lists)
    check_category_names(lists, names)
    features = []
    for i, (name, info) in enumerate(zip(names, infos, strict=True)):
        listed = lists.get(name, own.get(i))
        if name in lists:
            _check_agreement(name, lists[name], own.get(i), info, is_categorical=i in categorical)
        if listed is not None:
            _check_codes(name, listed, codes.get(i, []))
            features.append(_categorical(name, listed, codes.get(i, [])))
        elif i in categorical:
            features.append(Feature(name, Kind.CATEGORICAL, example=min(codes.get(i, [0]), default=0)))
        else:
            features.append(Feature(name, Kind.NUMERIC, example=_example(info)))
    return tuple(features)


def feature_names(text: ModelText) -> list[str]:
    """Return the names of the columns; ModelUnreadableError if the file lacks some, as LightGBM refuses it too."""
    if "feature_names" not in text.header:
        raise ModelUnreadableError(
            "the model file does not state its feature_names, without which LightGBM cannot load it either; save the model "
            "again"
        )
    # LightGBM replaces white space in names by underscores, so a space always separates two names.
    names = text.header.get("feature_names", "").split(" ")
    try:
        count = int(text.header.get("max_feature_idx", "")) + 1
    except ValueError as error:
        raise ModelUnreadableError("the model file does not state its max_feature_idx") from error
    if len(names) != count:
        raise ModelUnreadableError(
            f"the model file has {count} columns but {len(names)} feature_names; LightGBM cannot load it either; save the "
            "model again"
        )
    if not all(names) or len(set(names)) != len(names):
        raise ModelUnreadableError("the model file has a feature without a name, or two with the same name")
    return names


def _declared_categorical(text: ModelText, count: int) -> set[int]:
    words = text.parameters.get("categorical_feature", "").split(",")
    return {int(word) for word in words if word.isascii() and word.isdigit() and int(word) < count}


def _seen_codes(info: str) -> list[int] | None:
    """Return the codes of a categorical feature's info (`3:1:7`), None for a numeric one (`[0:1]`) or `none`."""
    if info == "none" or info.startswith("["):
        return None
    try:
        return [code for code in map(int, info.split(":")) if code >= 0]
    except ValueError as error:
        raise ModelUnreadableError(f"the model file has feature_infos that mlrf cannot read: {info[:40]!r}") from error


def _pandas_lists(
    text: ModelText, categorical: Sequence[int], declared: Sequence[int], names: list[str], lists: CategoryLists
) -> dict[int, list[Any]]:
    listed = text.pandas_categorical
    if not listed:
        return {}
    for columns in (declared, categorical):
        if len(columns) == len(listed):
            return dict(zip(columns, listed, strict=True))
    # Ordered categories, or columns excluded from categorical_feature: the file has their lists, but not their columns.
    if all(names[i] in lists for i in categorical):
        for i in categorical:
            _check_order(names[i], lists[names[i]], listed)
        return {}
    raise SampleError(
        f"the model has {len(categorical)} categorical features but its file lists the categories of {len(listed)} pandas "
        "columns, so it is unclear which list belongs to which feature; list each feature's categories with --categories"
    )


def _check_agreement(
    name: str, given: Sequence[Category], own: Sequence[Category] | None, info: str, *, is_categorical: bool
) -> None:
    """Refuse a list that contradicts the model file: every check would pass, but every prediction by name would be wrong."""
    if own is not None and _keys(given) != _keys(own):
        raise SampleError(
            f"feature {name!r}: the model file contains its categories, {_shown(own)} in the order of their codes, but the "
            f"list given is {_shown(given)}; leave it out",
            feature=name,
        )
    if not is_categorical and info.startswith("["):
        raise SampleError(
            f"feature {name!r}: the model was trained on it as a number, in the range {info}, so it has no categories; "
            "leave its list out",
            feature=name,
        )


def _check_order(name: str, given: Sequence[Category], known: Sequence[Sequence[Category]]) -> None:
    """Raise SampleError for a list with the categories of a pandas column in another order."""
    same = [own for own in known if set(_keys(own)) == set(_keys(given))]
    if same and _keys(given) not in map(_keys, same):
        raise SampleError(
            f"feature {name!r}: the model file contains these categories in another order of codes, {_shown(same[0])}, than "
            f"the list given, {_shown(given)}",
            feature=name,
        )


def _keys(categories: Sequence[Category]) -> list[tuple[bool, Category]]:
    return [(isinstance(category, bool), category) for category in categories]  # True == 1 in Python only


def _shown(categories: Sequence[Category]) -> str:
    first = ", ".join(repr(category) for category in categories[:_SHOWN_CATEGORIES])
    return f"[{first}{', …' if len(categories) > _SHOWN_CATEGORIES else ''}]"


def _check_codes(name: str, listed: Sequence[Any], codes: Sequence[int]) -> None:
    if bad := [c for c in listed if not isinstance(c, str | int | float) or c != c]:  # noqa: PLR0124  NaN alone
        raise SampleError(f"feature {name!r}: {bad[0]!r} cannot be a category; use strings, numbers or booleans")
    if codes and max(codes) >= len(listed):
        raise SampleError(
            f"feature {name!r}: the model was trained with category code {max(codes)}, but only {len(listed)} "
            "categories are listed",
            feature=name,
        )


def _categorical(name: str, listed: Sequence[Category], codes: Sequence[int]) -> Feature:
    example = listed[min(codes, default=0)] if listed else None
    try:
        return Feature(name, Kind.CATEGORICAL, tuple(listed), example=example)
    except ValueError as error:
        raise SampleError(str(error), feature=name) from error


def _example(info: str) -> float:
    """Return a short number within a numeric feature's range, for people to read."""
    if info == "none":
        return 0.0
    low_text, _, high_text = info.strip("[]").partition(":")
    try:
        low, high = float(low_text), float(high_text)
    except ValueError as error:
        raise ModelUnreadableError(f"the model file has feature_infos that mlrf cannot read: {info[:40]!r}") from error
    middle = low / 2 + high / 2
    if not math.isfinite(middle):
        return 0.0
    for digits in range(1, _EXAMPLE_DIGITS):
        rounded = float(f"{middle:.{digits}g}")
        if low <= rounded <= high:
            return rounded
    return middle if low <= middle <= high else low
