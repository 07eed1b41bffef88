"""Fitted steps in a form that skops can store: pandas tables of category_encoders as plain lists, and back.

The process that answers the golden rows gets the encoder itself, with its own tables: skops writes no pandas objects. A
function that chooses the columns of a ColumnTransformer (`make_column_selector`) becomes the columns that it chose in training.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

PACKAGE = "category_encoders."
_HOLDERS = (
    "sklearn.pipeline",
    "sklearn.compose",
    "sklearn.calibration",
    "sklearn.ensemble._voting",
    "sklearn.ensemble._stacking",
    "sklearn.ensemble._bagging",
    "sklearn.frozen",
    "sklearn.multiclass",
    "sklearn.multioutput",
    PACKAGE,
)
"""Modules whose steps contain other steps, or have tables."""
_KEY = "pandas"


def with_plain_tables(step: Any) -> Any:
    """Return fitted steps without functions that choose columns, with the tables of category_encoders as dictionaries."""
    return _converted(step, _plain)


def with_pandas_tables(step: Any) -> Any:
    """Return the steps that `with_plain_tables` converted."""
    return _converted(step, _pandas)


def converted_steps(step: Any, convert: Callable[[Any], Any]) -> Any:
    """Return fitted steps with every step, or part of one, replaced by what `convert` returns for it."""
    return _converted(step, convert)


def _converted(value: Any, convert: Callable[[Any], Any]) -> Any:
    found = convert(value)
    if found is not value:
        return found
    if type(value) is list:
        return [_converted(each, convert) for each in value]
    if type(value) is tuple:
        return tuple(_converted(each, convert) for each in value)
    if isinstance(value, dict):
        items = copy.copy(value)
        items.update({key: _converted(each, convert) for key, each in value.items()})
        return items
    if type(value).__module__.startswith(_HOLDERS) and hasattr(value, "__dict__") and not isinstance(value, type):
        copied = copy.copy(value)
        if type(value).__name__ == "ColumnTransformer":
            # An estimator keeps a copy of its steps that was never fitted.
            chosen = getattr(copied, "_columns", [[]] * len(copied.transformers))
            named = zip(copied.transformers, chosen, strict=True)
            copied.transformers = [(name, step, columns) for (name, step, _), columns in named]
        if hasattr(copied, "cv"):
            copied.cv = None  # only training divides rows, by an object of any class
        vars(copied).update({name: _converted(each, convert) for name, each in vars(copied).items()})
        return copied
    return value


def _plain(value: Any) -> Any:
    kind = type(value).__name__
    if kind == "FunctionTransformer" and type(value).__module__.startswith("sklearn."):
        if value.inverse_func is None or isinstance(value.inverse_func, np.ufunc):
            return value
        # No step calls it, and a file cannot contain any Python function: the name remains for an error message.
        copied = copy.copy(value)
        copied.inverse_func = getattr(value.inverse_func, "__name__", type(value.inverse_func).__name__)
        return copied
    if type(value).__module__.partition(".")[0] != "pandas":
        return value
    if kind == "Series":
        return {_KEY: "Series", "index": list(value.index), "values": value.to_numpy(), "name": value.name}
    if kind == "DataFrame":
        return {
            _KEY: "DataFrame",
            "index": list(value.index),
            "values": value.to_numpy(),
            "columns": [str(column) for column in value.columns],
        }
    # The type of a column, which only fitting needs.
    return np.dtype(object)


def _pandas(value: Any) -> Any:
    if type(value) is not dict or _KEY not in value:
        return value
    import pandas as pd  # noqa: PLC0415  category_encoders needs it

    index = pd.Index(value["index"], dtype=object if any(isinstance(key, str) for key in value["index"]) else None)
    if value[_KEY] == "Series":
        return pd.Series(value["values"], index=index, name=value["name"])
    return pd.DataFrame(value["values"], index=index, columns=value["columns"])
