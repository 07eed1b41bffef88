"""The cut points between values that a model of a sparse matrix reads as missing, because they are zero, and other values."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from mlrf.builder.importers.pipeline.cut_points import CutPoints, Limit
from mlrf.builder.importers.pipeline.float_order import number_at, ordinal
from mlrf.core.errors import UnsupportedModelError
from mlrf.core.forest import F64

_MOST_BEYOND_ZERO = 4_096
"""Neighbouring numbers that are tried one by one where a column leaves zero."""


def find_zero_cuts(
    cuts: CutPoints,
    found_cuts: Mapping[Limit, float],
    zero_limits: Collection[float],
    are_missing: Callable[[Limit, F64], F64],
    names: Sequence[str],
) -> dict[tuple[int, int], list[float]]:
    """Return, by feature and column, the cut points between values that are zero, and so missing, and values that are not.

    Where the values never decrease, the zeros end at the cut point of zero. QuantileTransformer adds two interpolations: it
    is zero up to the least quantile, and for some numbers beyond it less than zero by a rounding error.
    """
    found: dict[tuple[int, int], list[float]] = {}
    for limit, end in found_cuts.items():
        if limit.limit != 0.0 or 0.0 not in zero_limits or not math.isfinite(end):
            continue
        below = found_cuts.get(replace(limit, limit=-5e-324), -math.inf)
        if below >= end or are_missing(limit, np.array([end]))[0]:
            continue
        start = max(math.nextafter(below, math.inf), cuts.range_of(limit.feature).least)
        low, high = ordinal(start), ordinal(end)
        while high - low > _MOST_BEYOND_ZERO:
            middle = (low + high) // 2
            low, high = (middle, high) if are_missing(limit, np.array([number_at(middle)]))[0] else (low, middle)
        high = min(ordinal(end), low + _MOST_BEYOND_ZERO)
        numbers = np.array([number_at(each) for each in range(low, high + 1)])
        missing = are_missing(limit, numbers)
        if not missing[0] or high < ordinal(end):
            name = names[limit.feature]
            raise UnsupportedModelError(
                f"the pipeline's steps give values on both sides of zero for neighbouring numbers of {name!r}, and the "
                "model reads zeros of a sparse matrix as missing; set sparse_threshold=0 in the ColumnTransformer, and "
                "train it again",
                feature=name,
            )
        found[limit.feature, limit.column] = numbers[:-1][missing[:-1] != missing[1:]].tolist()
    return found
