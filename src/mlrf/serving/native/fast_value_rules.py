"""The fast parser's rules of values: types, from which msgspec compiles its decoders of rows and request options.

They must agree with `core/value_rules.py`, which decides about every value that they do not accept, and with the other readers
that it names: `core/column_rules.py`, and `kernel/src/json_rows.cpp` by way of `plain_batches.py`. A value that one of these
accepts is not checked again: a narrower rule must change all of them.

Numbers are decoded as float64. The kernel then checks that integers, codes and booleans are whole numbers (`whole_columns`),
which takes a third of the time that decoding them as integers does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from mlrf.core.column_rules import rule_of
from mlrf.core.feature import Feature, Kind
from mlrf.core.infinities import LARGEST_FLOAT32
from mlrf.core.leniency import Leniency
from mlrf.core.schema import Schema
from mlrf.serving.native.requests import MAX_EXPLAINED

_INT64 = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
_FLOAT32 = Annotated[float, msgspec.Meta(ge=-LARGEST_FLOAT32, le=LARGEST_FLOAT32)]
"""Larger numbers are left to the strict parser, for which they are infinities."""
OPTIONS: list[tuple[str, Any, Any]] = [
    ("unknown_categories", Literal["refuse", "missing", "as-library"], "refuse"),
    ("explain", bool | Annotated[int, msgspec.Meta(ge=1, le=MAX_EXPLAINED)], False),
    ("return_features", bool, False),
    ("max_feature_age", Annotated[float, msgspec.Meta(gt=0)] | UnsetType, UNSET),
    ("stale_features", Literal["refuse", "flag"] | UnsetType, UNSET),
]
_UNNAMABLE = frozenset('"\\')
"""Characters that JSON escapes, which msgspec does not support in field names; such schemas use the strict parser only."""
_FIRST_PRINTABLE = 0x20


Absent = Literal["none", "optional", "any"]
"""Which features an instance may leave out; the fields of those left out are UNSET."""


def named_struct(name: str, schema: Schema, leniency: Leniency, *, absent: Absent = "none") -> Any:
    """Return the type of an instance by name, its fields in schema order; None if only the strict parser can read it.

    The type does not check that numbers are whole; `whole_columns` does.
    """
    kinds = [named_type(f, leniency) for f in schema.features]
    if None in kinds or any(_needs_escape(feature) for feature in schema.names):
        return None
    by_field = {f"f{index}": feature for index, feature in enumerate(schema.names)}
    fields = [
        (field, kind | UnsetType, UNSET)
        if absent == "any" or (absent == "optional" and each.optional)
        else (field, kind)
        for field, kind, each in zip(by_field, kinds, schema.features, strict=True)
    ]
    forbids = leniency.unknown_features == "refuse"
    by_name_alone = absent == "optional"
    return msgspec.defstruct(
        name, fields, rename=by_field, forbid_unknown_fields=forbids, gc=False, kw_only=by_name_alone
    )


def checking_utf8(decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Return a decoder that also checks that the body is UTF-8, which msgspec does not check in ignored fields."""

    def decode_checked(body: bytes) -> Any:
        body.decode("utf-8")
        return decode(body)

    return decode_checked


def _needs_escape(name: str) -> bool:
    return any(c in _UNNAMABLE or ord(c) < _FIRST_PRINTABLE for c in name)


def named_type(feature: Feature, leniency: Leniency) -> Any:
    """Return the type of a value by name; None if only the strict parser can read it."""
    if feature.categories is None:
        return _plain_type(feature, leniency)
    kinds = {type(category) for category in feature.categories}
    if kinds == {str} or (not kinds and feature.hashing is not None):
        return _nullable(feature, str)
    if kinds in ({int}, {float}, {int, float}):
        # Integers stay integers: float64 does not distinguish all of them.
        return _nullable(feature, _INT64 | float)
    return None


def positional_type(feature: Feature, leniency: Leniency) -> Any:
    """Return the type of a value in an array, where categories are codes."""
    return _plain_type(feature, leniency) if feature.categories is None else _nullable(feature, float)


def _plain_type(feature: Feature, leniency: Leniency) -> Any:
    """Return bool for a boolean feature, otherwise float, as which all numbers are decoded."""
    match feature.kind:
        case Kind.NUMERIC | Kind.INTEGER if feature.is_bounded:
            rule = rule_of(feature)
            return _nullable(feature, Annotated[float, msgspec.Meta(ge=rule.least, le=rule.most)])
        case Kind.NUMERIC if feature.infinities.from_float32 and feature.infinities.range != (-math.inf, math.inf):
            return _nullable(feature, _FLOAT32)
        case Kind.NUMERIC | Kind.INTEGER | Kind.CATEGORICAL:
            return _nullable(feature, float)
    return _nullable(feature, bool | float if leniency.natural else bool)


def _nullable(feature: Feature, kind: Any) -> Any:
    return kind | None if feature.nullable else kind
