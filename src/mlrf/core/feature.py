"""A feature of a model: the values that it accepts, the codes of its categories, and the value that a float64 stands for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from mlrf.core.category_hash import HASHED_CODE, category_hash, category_text
from mlrf.core.infinities import REFUSED, Infinities

Category = str | int | float | bool
Value = float | int | bool | str | None
"""What an instance may hold for a feature; None is missing."""


class Kind(StrEnum):
    """What values a feature takes."""

    NUMERIC = "numeric"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    CATEGORICAL = "categorical"


class CategoryHashing(msgspec.Struct, frozen=True):
    """Which unlisted categories a model accepts that knows categories by their hash alone (CatBoost)."""

    known: tuple[int, ...] = ()
    """Hashes that the model knows and that no listed category has, ascending."""
    is_open: bool = False
    """Whether every category is accepted, because the model does not say which hashes it knows."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of the model.

    `categories` lists a categorical feature's values in the order of their codes; with None, any integer code is accepted
    and means what it means to the training library. `nullable` says whether the value may be missing. `example` is a value
    for documentation.
    """

    name: str
    kind: Kind = Kind.NUMERIC
    categories: tuple[Category, ...] | None = None
    nullable: bool = True
    example: Value = None
    hashing: CategoryHashing | None = None
    """For a categorical feature with a list; None where only listed categories are known."""
    optional: bool = False
    """Whether an instance by name may leave it out: then it has the value `default`."""
    default: Value = None
    infinities: Infinities = REFUSED
    """Of a numeric or integer feature; infinity is not an integer, so an integer feature takes none."""

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a feature needs a name")
        if self.categories is not None:
            if self.kind is not Kind.CATEGORICAL:
                raise ValueError(f"feature {self.name!r} is {self.kind} and cannot have categories")
            keys = [category_key(c) for c in self.categories]
            if len(set(keys)) != len(keys):
                raise ValueError(f"feature {self.name!r} lists a category twice")
        elif self.hashing is not None:
            raise ValueError(f"feature {self.name!r} hashes categories, but has no list of them")


def category_codes(feature: Feature) -> Mapping[tuple[bool, Category], float] | None:
    """Return the code of each listed category, by `category_key`; None where the feature has no list."""
    if feature.categories is None:
        return None
    return {category_key(c): float(code) for code, c in enumerate(feature.categories)}


def codes_by_hash(feature: Feature) -> Mapping[int, float]:
    """Return the code of each category that a hashing feature knows, by the hash of the category."""
    if feature.hashing is None or feature.categories is None:
        return {}
    codes = {hashed: HASHED_CODE + hashed for hashed in feature.hashing.known}
    for code, category in enumerate(feature.categories):
        text = category_text(category)
        if text is not None:
            codes.setdefault(category_hash(text), float(code))
    return codes


def has_ambiguous_codes(feature: Feature) -> bool:
    """Return whether a number could be a category or its code: some category is a number, and not its own code."""
    return any(
        isinstance(category, int | float) and not isinstance(category, bool) and category != code
        for code, category in enumerate(feature.categories or ())
    )


def category_key(value: Category) -> tuple[bool, Category]:
    """Return what a category is looked up by: equal exactly where JSON values are."""
    # True == 1 to Python, but not to JSON; 12 == 12.0 to both.
    return (isinstance(value, bool), value)


def canonical_value(feature: Feature, x: float) -> Value:
    """Return the value that a float64 of a row stands for; ValueError for a code that is not in the list."""
    if math.isnan(x):
        return None
    match feature.kind:
        case Kind.BOOLEAN:
            return x != 0.0
        case Kind.INTEGER:
            return int(x)
        case Kind.CATEGORICAL:
            return _category(feature, int(x))
    return x


def _category(feature: Feature, code: int) -> Category:
    if feature.categories is None:
        return code
    if feature.hashing is not None and code >= HASHED_CODE:
        # The bundle does not keep the name, and the hash does not give it back.
        return f"(hash {code - int(HASHED_CODE)})"
    if not 0 <= code < len(feature.categories):
        raise ValueError(f"feature {feature.name!r} has no category with code {code}")
    return feature.categories[code]


def example_value(feature: Feature) -> Value:
    """Return a value that the feature accepts: its example, or a default of its kind."""
    if feature.example is not None:
        return feature.example
    match feature.kind:
        case Kind.BOOLEAN:
            return False
        case Kind.INTEGER:
            return 0
        case Kind.CATEGORICAL:
            if feature.categories is None:
                return 0
            # A list may be empty: then only a missing value is known.
            return feature.categories[0] if feature.categories else None
    return 0.0
