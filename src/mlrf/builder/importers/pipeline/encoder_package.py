"""The columns that an encoder of the package category_encoders makes of each of its columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlrf.core.errors import UnsupportedModelError

MODULE = "category_encoders."
_BY_CATEGORY = ("CountEncoder", "CatBoostEncoder", "LeaveOneOutEncoder")
"""Encoders whose mapping has a row for each category; the others have an ordinal encoder of their own."""
FOLDED_ENCODERS = (
    "OrdinalEncoder", "OneHotEncoder", "TargetEncoder", "JamesSteinEncoder", "MEstimateEncoder", "WOEEncoder", *_BY_CATEGORY,
)  # fmt: skip
_NOT_FOLDED = {
    "drop_invariant": False,
    "min_group_size": None,
    "combine_min_nan_groups": (None, True, "force"),
    "composite_cols": None,
    "hierarchy": None,
}
"""Options that change which column a result comes from, or merge categories, with the values that do not."""


@dataclass(frozen=True, slots=True)
class EncodedColumn:
    """One input column of an encoder."""

    categories: list[Any] | None
    """The categories that the encoder lists; None for a column that it leaves alone."""
    width: int
    """Number of columns that it becomes."""


def encoded_columns(name: str, step: Any) -> list[EncodedColumn]:
    """Return the input columns of a fitted encoder in their order; UnsupportedModelError names what cannot be folded."""
    kind = type(step).__name__
    for option, plain in _NOT_FOLDED.items():
        value = getattr(step, option, None)
        if value not in (plain if isinstance(plain, tuple) else (plain, None)):
            raise UnsupportedModelError(
                f"the pipeline's step {name!r} (category_encoders.{kind}({option}={value!r})) cannot be folded; train it "
                f"without {option}",
                step=name,
            )
    listed = (
        _mapping(step) if kind in _BY_CATEGORY else _listed(step if kind == "OrdinalEncoder" else step.ordinal_encoder)
    )
    widths = {each["col"]: each["mapping"].shape[1] for each in step.mapping} if kind == "OneHotEncoder" else {}
    return [
        EncodedColumn(listed[column], widths.get(column, 1)) if column in listed else EncodedColumn(None, 1)
        for column in step.feature_names_in_
    ]


def _listed(ordinal: Any) -> dict[Any, list[Any]]:
    return {each["col"]: list(each["mapping"].index) for each in ordinal.mapping}


def _mapping(step: Any) -> dict[Any, list[Any]]:
    return {column: list(step.mapping[column].index) for column in step.cols}
