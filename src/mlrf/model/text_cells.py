"""Reads cells of text, as in CSV files and the names of hive partitions, as values of features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from mlrf.core.feature import Feature, Kind

EMPTY = ("", "NA", "NaN", "nan", "null")
"""The cells that are missing values, unless one is a category of its feature."""
_BOOLEAN_NAMES = {"true": True, "false": False}
_BOOLEANS = _BOOLEAN_NAMES | {"1": True, "0": False}


def read_column(feature: Feature, texts: Sequence[str]) -> list[Any]:
    """Return a column's values; a column of only true and false is 0 and 1 for a numeric feature, as in any table."""
    if feature.kind in (Kind.NUMERIC, Kind.INTEGER) and all(
        text.strip() in EMPTY or text.strip().lower() in ("true", "false") for text in texts
    ):
        boolean = Feature(feature.name, Kind.BOOLEAN)
        return [None if value is None else int(value) for value in (read_cell(boolean, text) for text in texts)]
    return [read_cell(feature, text) for text in texts]


def read_cell(feature: Feature, text: str) -> Any:
    """Return a CSV cell as a value of a feature; text that is not one is returned unchanged."""
    # CSV has no types: the feature decides how a text is read. A text that does not fit is left for the schema to refuse.
    if feature.categories is not None:
        # A category may itself be an empty text or "NA".
        for category in feature.categories:
            if text == (msgspec.json.encode(category).decode() if not isinstance(category, str) else category):
                return category
        # pandas writes True where JSON has true.
        boolean = _BOOLEAN_NAMES.get(text.strip().lower())
        if boolean is not None and any(category is boolean for category in feature.categories):
            return boolean
    if text.strip() in EMPTY:
        return None
    if feature.kind is Kind.BOOLEAN:
        return _BOOLEANS.get(text.strip().lower(), text)
    return text if feature.categories is not None else _number(text)


def _number(text: str) -> float | str:
    """Return a text as a number, or unchanged if it is not one."""
    # float() also accepts 1_000 and digits of other scripts, which are not numbers in a CSV file.
    if "_" in text or not text.isascii():
        return text
    try:
        return float(text)
    except ValueError:
        return text
