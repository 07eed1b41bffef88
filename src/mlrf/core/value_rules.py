"""The rules of values: which JSON value a feature accepts, and the float64 that it becomes.

Four faster readers must agree with it, for these rules decide only about values that those do not accept:

- the fast parser's types, `serving/native/fast_value_rules.py`;
- the rules of a column's numbers, `core/column_rules.py`, which the kernel applies (`whole_columns`) to what the types accept;
- the kernel's reader of Python rows, `kernel/src/python_instances.hpp`, which `model/instance_rows.py` gives those rules;
- the kernel's reader of plain batches, `kernel/src/json_rows.cpp`, which `serving/native/plain_batches.py` gives those rules.

So a narrower rule must change all of them that accept the value; for a wider one this module suffices, and they make it fast.
Whether a feature may be null is in `Schema.number`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mlrf.core.category_hash import HASHED_CODE, category_hash, category_text
from mlrf.core.errors import InvalidFeatureError, UnknownCategoryError
from mlrf.core.feature import Category, Feature, category_key, codes_by_hash
from mlrf.core.infinities import OnInfinity
from mlrf.core.leniency import ALLOW_UNKNOWN_CATEGORY, AS_LIBRARY, NULL, Leniency
from mlrf.core.value_text import detail_value, listed, shown

MISSING = math.nan


def boolean_number(feature: Feature, value: Any, leniency: Leniency) -> float:
    """Return 1.0 for true and 0.0 for false; in natural bodies the numbers 1 and 0 are accepted too."""
    if isinstance(value, bool) or (leniency.natural and isinstance(value, int | float) and value in (0, 1)):
        return 1.0 if value else 0.0
    raise invalid_value(feature, value, "true or false", leniency)


def number_in_range(feature: Feature, value: Any, expected: str, leniency: Leniency) -> float:
    """Return a number as float64; the feature's rule of infinities decides about one that is too large for it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid_value(feature, value, expected, leniency)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf if value > 0 else -math.inf
    match feature.infinities.of(number):
        case OnInfinity.NUMBER if feature.least <= number <= feature.most:
            return number
        case OnInfinity.NUMBER:
            raise invalid_value(feature, value, f"{expected} {_range_in_words(feature)}", leniency)
        case OnInfinity.MISSING if feature.nullable:
            return MISSING
    precision = feature.infinities.precision
    raise invalid_value(feature, value, f"{expected} within the range of {precision}", leniency)


def _range_in_words(feature: Feature) -> str:
    least = f"of at least {feature.least!r}" if feature.least > -math.inf else ""
    most = f"of at most {feature.most!r}" if feature.most < math.inf else ""
    return " and ".join(part for part in (least, most) if part)


def whole_number(feature: Feature, value: Any, expected: str, leniency: Leniency) -> float:
    """Return a finite number without a fraction as float64; 3.0 is accepted as 3."""
    number = number_in_range(feature, value, expected, leniency)
    if math.isnan(number):
        return number
    if math.isinf(number):
        raise invalid_value(feature, value, f"{expected} within the range of float64", leniency)
    if number != math.floor(number):
        raise invalid_value(feature, value, expected, leniency)
    # Adding 0.0 turns -0.0 into 0.0: an integer has no negative zero.
    return number + 0.0


def category_code(
    feature: Feature,
    codes: Mapping[tuple[bool, Category], float] | None,
    by_hash: dict[str, Mapping[int, float]],
    value: Any,
    leniency: Leniency,
    *,
    by_code: bool,
) -> float:
    """Return the code of a category, given by code or by value; `codes` and `by_hash` are those of the feature's schema."""
    if codes is None or feature.categories is None:
        return whole_number(feature, value, "an integer category code", leniency)
    if by_code and not (isinstance(value, str) and (leniency.natural or feature.hashing is not None)):
        code = whole_number(feature, value, "an integer category code", leniency)
        if 0 <= code < len(feature.categories):
            return code
    else:
        if not isinstance(value, str | int | float) or (isinstance(value, float) and not math.isfinite(value)):
            raise invalid_value(feature, value, "a category", leniency)
        found = codes.get(category_key(value))
        if found is None and feature.hashing is not None:
            found = hashed_code(feature, by_hash, value, leniency)
        if found is not None:
            return found
    if leniency.unknown_categories == "missing" and feature.nullable:
        return MISSING
    raise _unknown_category(feature, value, leniency, by_code=by_code and not isinstance(value, str))


def hashed_code(
    feature: Feature, by_hash: dict[str, Mapping[int, float]], value: Category, leniency: Leniency
) -> float | None:
    """Return the code of an unlisted category, from its hash; None if the model does not know it."""
    text = category_text(value)
    if text is None or feature.hashing is None:
        raise invalid_value(feature, value, "a category: a string, a whole number or a boolean", leniency)
    try:
        hashed = category_hash(text)
    except UnicodeEncodeError as error:  # half of a surrogate pair
        raise invalid_value(feature, value, "a category: a string that UTF-8 can encode", leniency) from error
    codes = by_hash.get(feature.name)
    if codes is None:
        codes = by_hash[feature.name] = codes_by_hash(feature)
    code = codes.get(hashed)
    if code is None and (feature.hashing.is_open or leniency.unknown_categories == "as-library"):
        return HASHED_CODE + hashed
    return code


def _unknown_category(feature: Feature, value: Any, leniency: Leniency, *, by_code: bool) -> UnknownCategoryError:
    """Return the error for a value that is not in a feature's list of categories."""
    categories = feature.categories or ()
    if not categories:
        known = "the model has none"
    elif by_code:
        known = f"codes 0 to {len(categories) - 1}"
    else:
        known = listed([shown(c) for c in categories])
    remedies = ["a known one"] if categories else []
    if feature.nullable:
        remedies.append(ALLOW_UNKNOWN_CATEGORY[leniency.caller])
    return UnknownCategoryError(
        f"feature {feature.name!r}: {shown(value)} is not one of its categories ({known})"
        + (f"; send {', '.join(remedies)}" if remedies else "")
        + (AS_LIBRARY[leniency.caller] if feature.hashing is not None and not by_code else ""),
        feature=feature.name,
        value=detail_value(value),
    )


def invalid_value(feature: Feature, value: Any, expected: str, leniency: Leniency) -> InvalidFeatureError:
    """Return the error for a value that the feature does not accept."""
    can_be_missing = feature.nullable and value is not None
    hint = f"; send {NULL[leniency.caller]} where it is missing" if can_be_missing else ""
    return InvalidFeatureError(
        f"feature {feature.name!r}: expected {expected}, got {shown(value)}{hint}",
        feature=feature.name,
        value=detail_value(value),
        expected=expected,
    )
