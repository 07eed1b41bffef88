"""Converts Python values to the types of the schema: numbers, booleans, strings and None."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np

from mlrf.core.errors import InvalidRequestError
from mlrf.core.feature import Kind
from mlrf.core.leniency import Leniency
from mlrf.core.schema import Schema


def number_of(schema: Schema, index: int, value: Any, leniency: Leniency, *, by_code: bool = False) -> float:
    """Return the float64 of one feature's value; errors as of `Schema.number`.

    In addition to JSON values: NaN, NaT, pandas' NA and a Decimal that is not a number are missing, NumPy's scalars and
    Decimals are numbers, and 0 and 1 are values of a boolean, as in a column of numbers.
    """
    plain = _plain(value)
    if schema.features[index].kind is Kind.BOOLEAN and type(plain) in (int, float) and plain in (0, 1):
        plain = bool(plain)
    return schema.number(index, plain, leniency, by_code=by_code)


def at_row(error: InvalidRequestError, row: int) -> InvalidRequestError:
    """Return an error of a row's value with the row's number added."""
    return type(error)(f"row {row}: {error}", **{"row": row, **error.details})


def _plain(value: Any) -> Any:
    if value is None or type(value) in (bool, int, str):
        return value
    if isinstance(value, np.datetime64 | np.timedelta64):
        return None if np.isnat(value) else value
    if isinstance(value, np.generic):
        value = value.item()
    elif isinstance(value, Decimal):
        if not value.is_finite():
            return None if value.is_nan() else math.copysign(math.inf, value)
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        return None if math.isnan(value) else value
    return None if type(value).__name__ in ("NAType", "NaTType") else value
