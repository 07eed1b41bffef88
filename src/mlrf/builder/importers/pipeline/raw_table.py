"""The raw columns of a pipeline, and rows of numbers and codes as the table that the pipeline takes.

Numbers reach the pipeline as float64, whatever numeric type it was trained on. A category reaches it as the value that its
encoders list, and a code without a category as a value that none of them lists.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from mlrf.builder.importers.pipeline.lineage import Lineage, Use
from mlrf.core.errors import UnsupportedModelError
from mlrf.core.feature import Category
from mlrf.core.forest import F64

_UNKNOWN_TEXT = "\x00a category that no encoder lists"


@dataclass(frozen=True, slots=True)
class RawColumn:
    """One raw input column of the pipeline; plain values, so that it can be stored as JSON."""

    name: str
    categories: list[Category] | None = None
    """In the order of their codes; None for a column of numbers."""
    none_is_missing: bool = False
    """Whether a missing category is None; otherwise it is NaN."""
    is_used: bool = True
    """Whether a step needs it; otherwise it is not a feature of the model."""


@dataclass(frozen=True, slots=True)
class RawTable:
    """The raw columns of a pipeline, in its order."""

    columns: tuple[RawColumn, ...]
    is_frame: bool
    """Whether the pipeline expects a data frame; otherwise an array."""
    no_code_up_to: float

    def settings(self) -> dict[str, Any]:
        """Return this table's layout as JSON values."""
        return {
            "columns": [asdict(column) for column in self.columns],
            "is_frame": self.is_frame,
            "no_code_up_to": self.no_code_up_to,
        }

    @property
    def used(self) -> list[int]:
        """The raw columns that are features of the model."""
        return [index for index, column in enumerate(self.columns) if column.is_used]

    def rows(self, rows: F64) -> Any:
        """Return rows [n, F] over the used columns as the pipeline's table of all columns."""
        given = iter(rows.T)
        columns = [
            # A selection of columns that drops this one may still refuse missing values.
            self._values(column, next(given)) if column.is_used else np.zeros(len(rows))
            for column in self.columns
        ]
        if self.is_frame:
            import pandas as pd  # noqa: PLC0415  a pipeline that knows names was trained on a frame

            return pd.DataFrame(
                {column.name: values for column, values in zip(self.columns, columns, strict=True)}, copy=False
            )
        is_plain = all(values.dtype == np.float64 for values in columns)
        return np.column_stack([values.astype(np.float64 if is_plain else object) for values in columns])

    def _values(self, column: RawColumn, numbers: F64) -> Any:
        if column.categories is None:
            return numbers
        categories, unknown = column.categories, unknown_category(column.categories)
        codes = np.trunc(numbers)
        is_code = (codes >= 0) & (codes < len(categories)) & (numbers > self.no_code_up_to)
        indices = np.where(is_code, codes, len(categories)).astype(np.int64)
        indices[np.isnan(numbers)] = len(categories) + 1
        if all(_is_number(category) for category in categories) and not column.none_is_missing:
            return np.array([*categories, unknown, math.nan], np.float64)[indices]
        values = np.empty(len(categories) + 2, object)
        values[:] = [*categories, unknown, None if column.none_is_missing else math.nan]
        return values[indices]


def table_of(settings: dict[str, Any]) -> RawTable:
    """Return the table whose `settings()` these are."""
    columns = tuple(RawColumn(**column) for column in settings["columns"])
    return RawTable(columns, settings["is_frame"], settings["no_code_up_to"])


def raw_table(
    lineage: Lineage,
    names: Sequence[str] | None,
    no_code_up_to: float,
    lists: Mapping[str, Sequence[Category]] | None = None,
) -> RawTable:
    """Return the raw columns behind a lineage; UnsupportedModelError for a column that cannot be folded.

    `lists` are longer lists of categories for columns that have some.
    """
    columns = []
    for raw, use in enumerate(lineage.uses):
        name = f"x{raw}" if names is None else names[raw]
        column = RawColumn(name, is_used=False) if use is None else _column(name, raw, use, lineage)
        if column.categories is not None and lists and name in lists:
            column = replace(column, categories=list(lists[name]))
        columns.append(column)
    return RawTable(tuple(columns), names is not None, no_code_up_to)


def unknown_category(categories: Sequence[Category]) -> Category:
    """Return a value of the categories' type that is not one of them."""
    if categories and all(_is_number(category) for category in categories):
        return max(abs(float(category)) for category in categories) + 1.5
    return _UNKNOWN_TEXT


def _column(name: str, raw: int, use: Use, lineage: Lineage) -> RawColumn:
    categories, has_none, has_nan = _categories(name, use)
    if use.categories and not use.is_number:
        return RawColumn(name, categories, none_is_missing=use.none_is_missing or (has_none and not has_nan))
    if use.categories and not all(map(_is_number, categories)):
        raise UnsupportedModelError(
            f"the raw column {name!r} contains text, but a step or the model reads it as a number; encode it (OneHotEncoder, "
            "OrdinalEncoder, TargetEncoder) or drop it"
        )
    behind = [column for column in lineage.columns if column.raw == raw]
    if not all(column.is_monotone or column.is_stepped for column in behind):
        raise UnsupportedModelError(
            f"the pipeline's step {use.encoded_late!r} makes a column for each value of the number {name!r}, which another "
            "step has changed before; encode the raw column, or bin it with KBinsDiscretizer(encode='ordinal')",
            step=use.encoded_late,
        )
    return RawColumn(name)


def _categories(name: str, use: Use) -> tuple[list[Category], bool, bool]:
    """Return the categories of all encoders of a column in their order, and whether None and NaN are among them."""
    found: dict[tuple[bool, Category], Category] = {}
    has_none = has_nan = False
    for value in [value for listed in use.categories for value in listed] + use.placeholders:
        plain = value.item() if hasattr(value, "item") else value
        if plain is None:
            has_none = True
        elif isinstance(plain, float) and math.isnan(plain):
            has_nan = True
        elif isinstance(plain, str | bool | int | float):
            plain = int(plain) if isinstance(plain, float) and plain.is_integer() else plain
            found.setdefault((isinstance(plain, bool), plain), plain)
        else:
            raise UnsupportedModelError(
                f"a category of {name!r} is the {type(plain).__name__} {plain!r}; mlrf supports strings, numbers and booleans: "
                "convert it to text before the encoder"
            )
    return list(found.values()), has_none, has_nan


def _is_number(category: Any) -> bool:
    return isinstance(category, int | float) and not isinstance(category, bool)
