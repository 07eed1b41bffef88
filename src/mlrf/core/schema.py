"""The schema of a model: converts an instance to a row of float64, and a row back to an instance.

A row holds one float64 for each feature, in schema order. NaN is missing, booleans are 0 and 1, and a category is its code: its
index in the feature's list, or, if the feature has no list, the integer itself. If categories are hashed, the code of an
unlisted category follows from its hash. Which value a feature accepts, and as which number, is in `value_rules`; the fast
parser in `serving` must agree with it to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mlrf.core.column_rules import ColumnRules, rule_of
from mlrf.core.errors import (
    FeatureCountError,
    InvalidRequestError,
    MissingFeatureError,
    UnknownFeatureError,
)
from mlrf.core.feature import (
    Feature,
    Kind,
    Value,
    canonical_value,
    category_codes,
    example_value,
)
from mlrf.core.leniency import (
    IGNORE_UNKNOWN_FEATURES,
    LISTS_FEATURES,
    NULL,
    SEND_OBJECT,
    STRICT,
    Leniency,
)
from mlrf.core.repeated_names import first_repeated
from mlrf.core.value_rules import (
    MISSING,
    boolean_number,
    category_code,
    invalid_value,
    number_in_range,
    whole_number,
)
from mlrf.core.value_text import clip, json_type, listed, plural, shown_name


class Schema:
    """The features of a model, in the order of its columns; ValueError if there are none or two share a name."""

    __slots__ = ("_column_rules", "codes", "codes_by_hash", "features", "names")

    def __init__(self, features: tuple[Feature, ...]) -> None:
        names = tuple(f.name for f in features)
        if not names:
            raise ValueError("a schema needs at least one feature")
        if (twice := first_repeated(names)) is not None:
            raise ValueError(f"two features are named {twice!r}")
        self.features: Final = features
        self.names: Final = names
        self.codes: Final = tuple(category_codes(f) for f in features)
        """Codes by category; None for a feature without a list."""
        self.codes_by_hash: Final[dict[str, Mapping[int, float]]] = {}
        """Codes by the hash of the category, by the name of each feature that has met an unlisted category."""
        self._column_rules: ColumnRules | None = None

    @property
    def column_rules(self) -> ColumnRules:
        """The rules for a table of numbers and codes, made when they are first needed."""
        if self._column_rules is None:
            self._column_rules = ColumnRules(map(rule_of, self.features))
        return self._column_rules

    def __eq__(self, other: object) -> bool:
        return self.features == other.features if isinstance(other, Schema) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.features)

    def __repr__(self) -> str:
        return f"Schema(features={self.features!r})"

    def row(self, instance: Mapping[str, Any] | Sequence[Any], leniency: Leniency = STRICT) -> list[float]:
        """Return the row of one instance, by name or in schema order.

        InvalidRequestError, or its subclass for the fault, names the feature, the value and the remedy.
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
        """Return the row of an instance that names its features; categories are given by value."""
        values = []
        n_absent = 0
        for index, feature in enumerate(self.features):
            if feature.name in instance:
                value = instance[feature.name]
            elif feature.optional:
                value = feature.default
                n_absent += 1
            else:
                raise self._missing_features(instance, leniency)
            values.append(self.number(index, value, leniency, by_code=False))
        if len(instance) + n_absent > len(self.features) and leniency.unknown_features == "refuse":
            raise self.unknown_features(instance, leniency)
        return values

    def row_by_position(self, values: Sequence[Any], leniency: Leniency = STRICT) -> list[float]:
        """Return the row of values in schema order; categories are given by code."""
        if len(values) != len(self.features):
            raise FeatureCountError(
                f"expected {len(self.features)} values in schema order, got {len(values)}; "
                f"{LISTS_FEATURES[leniency.caller]} lists the features, or {SEND_OBJECT[leniency.caller]} names and values",
                expected=len(self.features),
                got=len(values),
            )
        return [self.number(i, value, leniency, by_code=True) for i, value in enumerate(values)]

    def check_defaults(self) -> None:
        """Raise InvalidRequestError for a default that is not a valid value of its feature."""
        for index, feature in enumerate(self.features):
            if feature.optional:
                self.number(index, feature.default)

    def defaults_for(self, instance: Mapping[str, Any]) -> dict[str, Value]:
        """Return by name the defaults of the features that a named instance leaves out."""
        return {f.name: f.default for f in self.features if f.optional and f.name not in instance}

    def instance(self, row: Sequence[float]) -> dict[str, Value]:
        """Return the canonical instance of a row: all features by name, in schema order, missing as None.

        ValueError when a categorical code is not in the feature's list.
        """
        return {f.name: canonical_value(f, x) for f, x in zip(self.features, row, strict=True)}

    def example(self) -> dict[str, Value]:
        """Return an instance that this schema accepts, for documentation and first requests."""
        return {f.name: example_value(f) for f in self.features}

    def number(self, index: int, value: Any, leniency: Leniency = STRICT, *, by_code: bool = False) -> float:
        """Return the float64 of one feature's value; InvalidRequestError as for `row`."""
        feature = self.features[index]
        if value is None:
            if feature.nullable:
                return MISSING
            raise invalid_value(feature, value, "a value, because this feature may not be missing", leniency)
        match feature.kind:
            case Kind.BOOLEAN:
                return boolean_number(feature, value, leniency)
            case Kind.CATEGORICAL:
                return category_code(feature, self.codes[index], self.codes_by_hash, value, leniency, by_code=by_code)
            case Kind.INTEGER:
                return whole_number(feature, value, "an integer", leniency)
            case Kind.NUMERIC:
                return number_in_range(feature, value, "a number", leniency)

    def _missing_features(self, instance: Mapping[str, Any], leniency: Leniency) -> MissingFeatureError:
        absent = [f.name for f in self.features if f.name not in instance and not f.optional]
        may_be_missing = all(feature.nullable for feature in self.features if feature.name in absent)
        return MissingFeatureError(
            f"missing {plural('feature', len(absent))} {listed([repr(n) for n in absent])}; "
            "send every feature" + (f", {NULL[leniency.caller]} where the value is missing" if may_be_missing else ""),
            feature=absent[0],
            missing=absent[:20],
        )

    def unknown_features(self, instance: Mapping[str, Any], leniency: Leniency = STRICT) -> UnknownFeatureError:
        """Return the error for an instance with names that are not features of the schema."""
        known = set(self.names)
        extra = [str(name) for name in instance if name not in known]
        return UnknownFeatureError(
            f"unknown {plural('feature', len(extra))} {listed([shown_name(n) for n in extra])}; "
            f"{LISTS_FEATURES[leniency.caller]} lists the features; "
            f"leave it out, or {IGNORE_UNKNOWN_FEATURES[leniency.caller]}",
            feature=clip(extra[0]),
            unknown=[clip(n) for n in extra[:20]],
        )
