"""What one instance of a model looks like, and the way from an instance to a row of float64 and back.

A row holds one float64 a feature in schema order: NaN is missing, booleans are 0 and 1, a category is its code (its place
in the feature's list, or the integer itself where the feature has no list; where categories are hashed, one that is in no
list has its hash). This module owns the meaning of values; how fast JSON bytes get here is a matter for `serving`, which must
agree with it to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from mlrf.core.category_hash import HASHED_CODE, category_hash, category_text
from mlrf.core.errors import (
    FeatureCountError,
    InvalidFeatureError,
    InvalidRequestError,
    MissingFeatureError,
    UnknownCategoryError,
    UnknownFeatureError,
)

Category = str | int | float | bool
Value = float | int | bool | str | None
"""What an instance may hold for a feature; None is missing."""

UnknownCategories = Literal["refuse", "missing", "as-library"]
"""What happens to a category that the model does not know: as-library answers it as the training library does, where categories
are hashed; elsewhere it is refused."""

MISSING = math.nan
_SHOWN_CHARS = 80
_SHOWN_ITEMS = 5


class Kind(StrEnum):
    """What values a feature takes."""

    NUMERIC = "numeric"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    CATEGORICAL = "categorical"


@dataclass(frozen=True, slots=True)
class CategoryHashing:
    """How a model that knows categories by their hash alone (CatBoost) takes those that are in no list."""

    known: tuple[int, ...] = ()
    """Hashes that the model knows and no listed category has, ascending."""
    is_open: bool = False
    """Whether every category is taken: the model does not say which hashes it knows."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of the model.

    `categories` in the order of their codes, for a categorical feature with a list; None where any integer code is
    answered as the training library answers it. `nullable` says whether it may be missing. `example` is a value that a
    person may be shown.
    """

    name: str
    kind: Kind = Kind.NUMERIC
    categories: tuple[Category, ...] | None = None
    nullable: bool = True
    example: Value = None
    hashing: CategoryHashing | None = None
    """Of a categorical feature with a list; None where nothing but the list is known."""

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a feature needs a name")
        if self.categories is not None:
            if self.kind is not Kind.CATEGORICAL:
                raise ValueError(f"feature {self.name!r} is {self.kind} and cannot have categories")
            keys = [_category_key(c) for c in self.categories]
            if len(set(keys)) != len(keys):
                raise ValueError(f"feature {self.name!r} lists a category twice")
        elif self.hashing is not None:
            raise ValueError(f"feature {self.name!r} hashes categories and has no list of them")


OnUnknownFeature = Literal["refuse", "ignore"]


@dataclass(frozen=True, slots=True)
class Leniency:
    """What a caller or operator chose to let pass; the defaults let nothing pass."""

    unknown_features: OnUnknownFeature = "refuse"
    unknown_categories: UnknownCategories = "refuse"
    caller: Literal["http", "python", "command line"] = "http"
    """Whom errors advise: each caller has its own way to send a missing value, or to be lenient."""


STRICT = Leniency()

_NULL = {"http": "null", "python": "None or NaN", "command line": "null, or an empty cell,"}
_LISTS = {"http": "GET /models", "python": "model.schema.names", "command line": "`mlrf inspect`"}
_SEND = {"http": "send an object of", "python": "send a dict of", "command line": "send an object of"}
_IGNORE = {
    "http": "start the server with --unknown-features ignore",
    "python": 'pass unknown_features="ignore"',
    "command line": "remove it from the file",
}
_UNKNOWN_CATEGORY = {
    "http": ', null for missing, or "unknown_categories": "missing" (under /v2: a server with --unknown-categories missing)',
    "python": ', None for missing, or pass unknown_categories="missing"',
    "command line": ", null or an empty cell for missing, or give --unknown-categories missing",
}
_AS_LIBRARY = {
    "http": '; "unknown_categories": "as-library" (under /v2: --unknown-categories as-library) answers as CatBoost does',
    "python": '; unknown_categories="as-library" answers as CatBoost does',
    "command line": "; --unknown-categories as-library answers as CatBoost does",
}
"""Remedies by caller: each is one that the caller has."""


@dataclass(frozen=True, slots=True)
class Schema:
    """The features of a model, in the order of its columns; ValueError where two share a name or there are none."""

    features: tuple[Feature, ...]
    names: tuple[str, ...] = field(init=False)
    codes: tuple[Mapping[tuple[bool, Category], float] | None, ...] = field(init=False, repr=False, compare=False)
    """A feature's codes by category, for each feature that has a list."""
    _codes_by_hash: dict[int, Mapping[int, float]] = field(init=False, repr=False, compare=False)
    """By feature, the codes by the hash of the category; hashed when the first category comes that is not listed."""

    def __post_init__(self) -> None:
        names = tuple(f.name for f in self.features)
        if not names:
            raise ValueError("a schema needs at least one feature")
        if len(set(names)) != len(names):
            twice = next(n for n in names if names.count(n) > 1)
            raise ValueError(f"two features are named {twice!r}")
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "codes", tuple(_codes_of(f) for f in self.features))
        object.__setattr__(self, "_codes_by_hash", {})

    def row(self, instance: Mapping[str, Any] | Sequence[Any], leniency: Leniency = STRICT) -> list[float]:
        """Return the row of one instance, by name or in schema order.

        InvalidRequestError, or the subclass of it that says what is wrong, names the feature, the value and the remedy.
        """
        if isinstance(instance, Mapping):
            return self.row_by_name(instance, leniency)
        if isinstance(instance, Sequence) and not isinstance(instance, str | bytes):
            return self.row_by_position(instance, leniency)
        raise InvalidRequestError(
            f"features must be an object of names and values or an array of {len(self.features)} values, "
            f"not {json_type(instance)}",
            expected="object or array",
        )

    def row_by_name(self, instance: Mapping[str, Any], leniency: Leniency = STRICT) -> list[float]:
        """Return the row of an instance that names its features; categories by their own value."""
        values = []
        for index, feature in enumerate(self.features):
            if feature.name not in instance:
                raise self._missing_features(instance, leniency)
            values.append(self.number(index, instance[feature.name], leniency, by_code=False))
        if len(instance) > len(self.features) and leniency.unknown_features == "refuse":
            raise self.unknown_features(instance, leniency)
        return values

    def row_by_position(self, values: Sequence[Any], leniency: Leniency = STRICT) -> list[float]:
        """Return the row of values in schema order; categories by their code."""
        if len(values) != len(self.features):
            raise FeatureCountError(
                f"expected {len(self.features)} values in schema order, got {len(values)}; "
                f"{_LISTS[leniency.caller]} lists the features, or {_SEND[leniency.caller]} names and values",
                expected=len(self.features),
                got=len(values),
            )
        return [self.number(i, value, leniency, by_code=True) for i, value in enumerate(values)]

    def instance(self, row: Sequence[float]) -> dict[str, Value]:
        """Return the canonical instance of a row: every feature named, in schema order, missing as None.

        ValueError when a categorical code is not in the feature's list.
        """
        return {f.name: _value(f, x) for f, x in zip(self.features, row, strict=True)}

    def example(self) -> dict[str, Value]:
        """Return an instance that this schema accepts, for documents and first requests."""
        return {f.name: _example(f) for f in self.features}

    def number(self, index: int, value: Any, leniency: Leniency = STRICT, *, by_code: bool = False) -> float:
        """Return the float64 of one feature's value; InvalidRequestError as for `row`."""
        feature = self.features[index]
        if value is None:
            if feature.nullable:
                return MISSING
            raise _invalid(feature, value, "a value: this feature may not be missing", leniency)
        match feature.kind:
            case Kind.BOOLEAN:
                if isinstance(value, bool):
                    return 1.0 if value else 0.0
                raise _invalid(feature, value, "true or false", leniency)
            case Kind.CATEGORICAL:
                return self._code(index, value, leniency, by_code=by_code)
            case Kind.INTEGER:
                return _finite(feature, value, "an integer", leniency, integral=True)
            case Kind.NUMERIC:
                return _finite(feature, value, "a number", leniency, integral=False)

    def _code(self, index: int, value: Any, leniency: Leniency, *, by_code: bool) -> float:
        feature, codes = self.features[index], self.codes[index]
        if codes is None or feature.categories is None:
            return _finite(feature, value, "an integer category code", leniency, integral=True)
        if by_code and not (feature.hashing is not None and isinstance(value, str)):
            code = _finite(feature, value, "an integer category code", leniency, integral=True)
            if 0 <= code < len(feature.categories):
                return code
        else:
            if not isinstance(value, str | int | float):
                raise _invalid(feature, value, "a category", leniency)
            found = codes.get(_category_key(value))
            if found is None and feature.hashing is not None:
                found = self.hashed_code(index, value, leniency)
            if found is not None:
                return found
        if leniency.unknown_categories == "missing" and feature.nullable:
            return MISSING
        raise self._unknown_category(feature, value, leniency, by_code=by_code)

    def hashed_code(self, index: int, value: Category, leniency: Leniency) -> float | None:
        """Return the code of a category that is in no list, by its hash; None where the model does not know it."""
        feature = self.features[index]
        text = category_text(value)
        if text is None or feature.hashing is None:
            raise _invalid(feature, value, "a category: a string, a whole number or a boolean", leniency)
        hashed = category_hash(text)
        codes = self._codes_by_hash.get(index)
        if codes is None:
            codes = self._codes_by_hash[index] = _codes_by_hash(feature)
        code = codes.get(hashed)
        if code is None and (feature.hashing.is_open or leniency.unknown_categories == "as-library"):
            return HASHED_CODE + hashed
        return code

    def _unknown_category(
        self, feature: Feature, value: Any, leniency: Leniency, *, by_code: bool
    ) -> UnknownCategoryError:
        """Return the error for a value that is not in a feature's list of categories."""
        categories = feature.categories or ()
        if not categories:
            known = "the model knows none"
        elif by_code:
            known = f"codes 0 to {len(categories) - 1}"
        else:
            known = _listed([shown(c) for c in categories])
        return UnknownCategoryError(
            f"feature {feature.name!r}: {shown(value)} is not one of its categories ({known})"
            + ("; send a known one" if categories else "")
            + (_UNKNOWN_CATEGORY[leniency.caller] if feature.nullable else "")
            + (_AS_LIBRARY[leniency.caller] if feature.hashing is not None and not by_code else ""),
            feature=feature.name,
            value=_detail(value),
        )

    def _missing_features(self, instance: Mapping[str, Any], leniency: Leniency) -> MissingFeatureError:
        absent = [name for name in self.names if name not in instance]
        may_be_missing = all(feature.nullable for feature in self.features if feature.name in absent)
        return MissingFeatureError(
            f"missing {_plural('feature', len(absent))} {_listed([repr(n) for n in absent])}; "
            "send every feature" + (f", {_NULL[leniency.caller]} where the value is missing" if may_be_missing else ""),
            feature=absent[0],
            missing=absent[:20],
        )

    def unknown_features(self, instance: Mapping[str, Any], leniency: Leniency = STRICT) -> UnknownFeatureError:
        """Return the error for an instance that names what is no feature."""
        known = set(self.names)
        extra = [str(name) for name in instance if name not in known]
        return UnknownFeatureError(
            f"unknown {_plural('feature', len(extra))} {_listed([shown_name(n) for n in extra])}; "
            f"{_LISTS[leniency.caller]} lists the features; leave it out, or {_IGNORE[leniency.caller]}",
            feature=clip(extra[0]),
            unknown=[clip(n) for n in extra[:20]],
        )


def _codes_of(feature: Feature) -> Mapping[tuple[bool, Category], float] | None:
    if feature.categories is None:
        return None
    return {_category_key(c): float(code) for code, c in enumerate(feature.categories)}


def _codes_by_hash(feature: Feature) -> Mapping[int, float]:
    if feature.hashing is None or feature.categories is None:
        return {}
    codes = {hashed: HASHED_CODE + hashed for hashed in feature.hashing.known}
    for code, category in enumerate(feature.categories):
        text = category_text(category)
        if text is not None:
            codes.setdefault(category_hash(text), float(code))
    return codes


def _category_key(value: Category) -> tuple[bool, Category]:
    # True == 1 to Python, but not to JSON; 12 == 12.0 to both.
    return (isinstance(value, bool), value)


def _finite(feature: Feature, value: Any, expected: str, leniency: Leniency, *, integral: bool) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _invalid(feature, value, expected, leniency)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _invalid(feature, value, f"{expected} within the range of float64", leniency)
    if not integral:
        return number
    if number != math.floor(number):
        raise _invalid(feature, value, expected, leniency)
    # An integer has no -0: the canonical form would lose its sign.
    return number + 0.0


def _invalid(feature: Feature, value: Any, expected: str, leniency: Leniency) -> InvalidFeatureError:
    can_be_missing = feature.nullable and value is not None
    hint = f"; send {_NULL[leniency.caller]} where it is missing" if can_be_missing else ""
    return InvalidFeatureError(
        f"feature {feature.name!r}: expected {expected}, got {shown(value)}{hint}",
        feature=feature.name,
        value=_detail(value),
        expected=expected,
    )


def _value(feature: Feature, x: float) -> Value:
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
        # The name is not kept, and a hash does not say it.
        return f"(hash {code - int(HASHED_CODE)})"
    if not 0 <= code < len(feature.categories):
        raise ValueError(f"feature {feature.name!r} has no category of code {code}")
    return feature.categories[code]


def _example(feature: Feature) -> Value:
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


def json_type(value: Any) -> str:
    """Name the JSON type of a decoded value, with its article."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return "a string"
        case int() | float():
            return "a number"
        case list() | tuple():
            return "an array"
        case _:
            return "an object" if isinstance(value, dict) else f"a value of type {type(value).__name__}"


def shown(value: Any) -> str:
    """Describe a value from outside in a sentence, cut to a bounded length."""
    match value:
        case None | bool():
            return json_type(value)
        case str():
            return f"the string {shown_name(value)}"
        case int() if abs(value) >= 1 << 63:
            return "an integer beyond 64 bits"
        case int() | float():
            return f"the number {_detail(value)}"
        case _:
            return json_type(value)


def shown_name(name: str) -> str:
    """Quote a name from outside for a sentence, cut to a bounded length."""
    return '"' + clip(name) + '"'


def clip(text: str) -> str:
    """Cut a text from outside to the length that errors show."""
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"


def _detail(value: Any) -> Value:
    match value:
        case None | bool():
            return value
        case str():
            return clip(value)
        case int() if abs(value) >= 1 << 63:
            return "an integer beyond 64 bits"
        case float() if not math.isfinite(value):
            return str(value)
        case int() | float():
            return value
    return json_type(value)


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else noun + "s"


def _listed(items: Sequence[str]) -> str:
    first = ", ".join(items[:_SHOWN_ITEMS])
    return first if len(items) <= _SHOWN_ITEMS else f"{first} and {len(items) - _SHOWN_ITEMS} more"
