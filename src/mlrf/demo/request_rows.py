"""Rows of a panel as client requests."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from mlrf.demo.feature_panel import Panel

KEY = ("store_id", "department", "date")
AS_OF_COLUMN = "known_since"

Instance = dict[str, Any]


def named_instances(features: pd.DataFrame) -> list[Instance]:
    """Return each row by feature name: categories by value, a missing value as None."""
    columns = [_json_values(features[name], categories_as_codes=False) for name in features]
    return [dict(zip(features.columns, row, strict=True)) for row in zip(*columns, strict=True)]


def positional_instances(features: pd.DataFrame) -> list[list[Any]]:
    """Return each row as a list in the order of the columns: categories as codes, a missing value as None."""
    columns = [_json_values(features[name], categories_as_codes=True) for name in features]
    return [list(row) for row in zip(*columns, strict=True)]


def predict_bodies(instances: Iterable[Instance | list[Any]]) -> list[bytes]:
    """Return a body of `POST /predict` for each instance."""
    encode = msgspec.json.Encoder().encode
    return [encode({"features": instance}) for instance in instances]


def busiest_on_the_last_day(panel: Panel, count: int) -> npt.NDArray[np.int64]:
    """Return the indices of `count` rows of the last day, one per department: those with most revenue in the four weeks before.

    Chosen by past data, never by the outcome: picking large actual revenues would pick the model's errors.
    """
    known = panel.features.loc[np.asarray(panel.day == panel.day.max()), ["revenue_mean_28", "department"]]
    busiest = known.sort_values("revenue_mean_28", ascending=False, kind="stable").drop_duplicates("department")
    return np.asarray(busiest.index[:count], dtype=np.int64)


def keyed_rows(panel: Panel, days: int) -> pd.DataFrame:
    """Return the rows of the last `days` days as they are looked up: by store, department and date, as of midnight."""
    newest = panel.take(np.asarray(panel.day > panel.day.max() - pd.Timedelta(days=days)))
    rows = newest.features.copy()
    rows["date"] = newest.day.date
    rows["known_since"] = newest.day
    return rows


def key_of(instance: Instance, day: str) -> dict[str, Any]:
    """Return the key of a row; `day` as `YYYY-MM-DD`."""
    return {"store_id": instance["store_id"], "department": instance["department"], "date": day}


def _json_values(column: pd.Series, *, categories_as_codes: bool) -> list[Any]:
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes = column.cat.codes.tolist()
        if categories_as_codes:
            return [None if code < 0 else code for code in codes]
        names = column.cat.categories.tolist()
        return [None if code < 0 else names[code] for code in codes]
    values: list[Any] = column.tolist()
    return [None if isinstance(value, float) and math.isnan(value) else value for value in values]
