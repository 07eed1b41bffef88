"""Features of a model: the values that they accept, the codes of their categories, and the value of a float64 in a row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum

import msgspec

from mlrf.core.category_hash import HASHED_CODE, category_hash, category_text
from mlrf.core.infinities import REFUSED, Infinities

Category = str | int | float | bool
Value = float | int | bool | str | None
"""The value of a feature in an instance; None is missing."""


class Kind(StrEnum):
    """The kind of values that a feature accepts."""

    NUMERIC = "numeric"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    CATEGORICAL = "categorical"


class CategoryHashing(msgspec.Struct, frozen=True):
    """Which unlisted categories are accepted by a model that knows categories only by their hash (CatBoost)."""

    known: tuple[int, ...] = ()
    """Hashes that the model knows and that no listed category has, ascending."""
    is_open: bool = False
    """Whether every category is accepted, because the model does not say which hashes it knows."""


class Feature(msgspec.Struct, frozen=True):
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
    """For a categorical feature with a list: which unlisted categories are accepted; None if none are."""
    optional: bool = False
    """Whether an instance by name may leave it out; its value is then `default`."""
    default: Value = None
    infinities: Infinities = REFUSED
    """How a numeric feature treats infinities. An integer feature always refuses them, as infinity is not an integer."""
    least: float = -math.inf
    """The least number that a feature of numbers accepts, because the library refuses smaller ones."""
    most: float = math.inf
    """The greatest number that a feature of numbers accepts."""

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a feature needs a name")
        if not self.least <= self.most or (self.is_bounded and self.kind not in (Kind.NUMERIC, Kind.INTEGER)):
            raise ValueError(
                f"feature {self.name!r} is {self.kind} and cannot have the range {self.least} to {self.most}"
            )
        if self.categories is not None:
            if self.kind is not Kind.CATEGORICAL:
                raise ValueError(f"feature {self.name!r} is {self.kind} and cannot have categories")
            keys = [category_key(c) for c in self.categories]
            if len(set(keys)) != len(keys):
                raise ValueError(f"feature {self.name!r} lists a category twice")
        elif self.hashing is not None:
            raise ValueError(f"feature {self.name!r} hashes categories, but has no list of them")

    @property
    def is_bounded(self) -> bool:
        """Whether it accepts a part of the finite numbers only."""
        return self.least > -math.inf or self.most < math.inf


def category_codes(feature: Feature) -> Mapping[tuple[bool, Category], float] | None:
    """Return the code of each listed category, by `category_key`; None if the feature has no list."""
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
    """Return whether a number could be a category or a code, because some category is a number other than its own code."""
    return any(
        isinstance(category, int | float) and not isinstance(category, bool) and category != code
        for code, category in enumerate(feature.categories or ())
    )


def category_key(value: Category) -> tuple[bool, Category]:
    """Return the key to look a category up by; keys are equal if and only if the JSON values are."""
    # In Python True == 1, but in JSON they differ; 12 and 12.0 are equal in both.
    return (isinstance(value, bool), value)


def canonical_value(feature: Feature, x: float) -> Value:
    """Return the value that a float64 of a row represents; ValueError for a code that is not in the list."""
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
        # The bundle does not contain the name, and a hash cannot be inverted.
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
            return math.floor(feature.most) if feature.most < 0 else math.ceil(max(0.0, feature.least))
        case Kind.CATEGORICAL:
            if feature.categories is None:
                return 0
            # If the list is empty, only a missing value is accepted.
            return feature.categories[0] if feature.categories else None
    return min(max(0.0, feature.least), feature.most)
