"""Merges several forests into one whose outputs are those of all forests, one after the other.

If some forests round rows to float32 and others do not, the former are converted to float64 rows: each threshold is moved to
the greatest float64 that rounds to it or less, which changes no branch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mlrf.core.errors import UnsupportedModelError
from mlrf.core.forest import F64, I32, I64, LEAF, NUMERIC, Forest, Precision

_MAX_NODES = (1 << 31) - 1
_BEYOND = 2.0**128
"""The number after the greatest float32, for rounding to the nearest."""


def merge_forests(forests: Sequence[Forest], columns: Sequence[Sequence[int] | None], n_features: int) -> Forest:
    """Return one forest over `n_features` columns, with divisor and scale 1 and no base that is added last.

    Those of the members are for the caller to apply. `columns` are each forest's columns, None for all.
    UnsupportedModelError when the forests cannot be added up by one kernel.
    """
    _check(forests, columns, n_features)
    inputs: Precision = "float32" if all(forest.inputs == "float32" for forest in forests) else "float64"
    parts = [
        _on_columns(forest if forest.inputs == inputs else with_float64_rows(forest), chosen)
        for forest, chosen in zip(forests, columns, strict=True)
    ]
    node_starts = np.cumsum([0, *(part.n_nodes for part in parts)])
    output_starts = np.cumsum([0, *(part.n_outputs for part in parts)])
    set_starts = np.cumsum([0, *(len(part.set_offsets) - 1 for part in parts)])
    if node_starts[-1] > _MAX_NODES:
        raise UnsupportedModelError(f"the members have {node_starts[-1]} nodes; the limit is {_MAX_NODES}")

    def joined(name: str) -> Any:
        return np.concatenate([getattr(part, name) for part in parts])

    def shifted(name: str, starts: I64, none: int) -> I32:
        values = [getattr(part, name) for part in parts]
        return np.concatenate(
            [np.where(value == none, none, value + start) for value, start in zip(values, starts, strict=False)]
        ).astype(np.int32)

    singles = np.array([single for part in parts for single in part.sums_in_float32])
    is_mixed = bool(singles.any() and not singles.all())
    set_lengths = np.concatenate([np.diff(part.set_offsets) for part in parts])
    merged = Forest(
        n_features=n_features,
        n_outputs=int(output_starts[-1]),
        tree_offsets=np.concatenate(
            [part.tree_offsets[:-1] + start for part, start in zip(parts, node_starts, strict=False)]
            + [node_starts[-1:]]
        ).astype(np.int64),
        tree_output=np.concatenate(
            [part.tree_output + start for part, start in zip(parts, output_starts, strict=False)]
        ).astype(np.int32),
        feature=joined("feature"),
        threshold=joined("threshold"),
        left=shifted("left", node_starts, LEAF),
        right=shifted("right", node_starts, LEAF),
        missing=joined("missing"),
        default_left=joined("default_left"),
        category_set=shifted("category_set", set_starts, NUMERIC),
        value=joined("value"),
        cover=joined("cover"),
        set_offsets=np.concatenate([[0], np.cumsum(set_lengths)]).astype(np.int64),
        set_codes=joined("set_codes").astype(np.int32),
        base=np.concatenate([part.base if part.base_order == "first" else np.zeros(part.n_outputs) for part in parts]),
        rounding="float64" if is_mixed else parts[0].rounding,
        float32_outputs=singles if is_mixed else None,
        inputs=inputs,
        no_code_up_to=_code_rule(parts),
        tables=next((part.tables for part in parts if part.tables is not None), None),
    )
    merged.validate()
    return merged


def _check(forests: Sequence[Forest], columns: Sequence[Sequence[int] | None], n_features: int) -> None:
    with_tables = [index for index, forest in enumerate(forests) if forest.tables is not None]
    if len(with_tables) > 1 or any(columns[index] is not None for index in with_tables):
        raise UnsupportedModelError(
            "several members have CatBoost's CTR features, or one that sees a part of them; mlrf combines one member with "
            "CTR features with members without: build from each member alone"
        )
    if with_tables and any(forest.n_features != n_features for forest in forests):
        raise UnsupportedModelError("the members have different numbers of columns; build from each member alone")
    if any(forest.rounding == "float32" and (forest.divisor != 1.0 or forest.scale != 1.0) for forest in forests):
        raise UnsupportedModelError(
            "a member divides a sum of float32 numbers, which mlrf does not combine; build from the member alone"
        )


def _code_rule(forests: Sequence[Forest]) -> float:
    """Return which numbers are codes of categories, as the members with categories have it."""
    found = {forest.no_code_up_to for forest in forests if len(forest.set_codes)}
    if len(found) > 1:
        raise UnsupportedModelError(
            "the members read fractional codes of categories differently; combine members of one library, or encode the "
            "categories before (a Pipeline of an OrdinalEncoder and the combination)"
        )
    return found.pop() if found else forests[0].no_code_up_to


def _on_columns(forest: Forest, columns: Sequence[int] | None) -> Forest:
    if columns is None:
        return forest
    numbers = np.asarray(columns, np.int32)[np.maximum(forest.feature, 0)]
    return replace(forest, feature=np.where(forest.feature == LEAF, LEAF, numbers).astype(np.int32))


def with_float64_rows(forest: Forest) -> Forest:
    """Return the forest with thresholds such that rows need not be rounded to float32 for the same branches."""
    is_number = (forest.feature != LEAF) & (forest.category_set == NUMERIC)
    threshold = np.where(is_number, _greatest_rounding_down_to(forest.threshold), forest.threshold)
    return replace(forest, inputs="float64", threshold=threshold)


def _greatest_rounding_down_to(thresholds: F64) -> F64:
    """Return the greatest float64 whose nearest float32 is at most each threshold, a float32 number."""
    low = thresholds.astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        high = np.nextafter(low, np.float32(np.inf)).astype(np.float64)
        ends = (
            np.where(np.isneginf(low), -_BEYOND, low.astype(np.float64)),
            np.where(np.isposinf(high), _BEYOND, high),
        )
        middle = ends[0] + (ends[1] - ends[0]) / 2.0
        # Halfway between two float32 numbers the even one is nearest.
        is_even = (low.view(np.uint32) & 1) == 0
    end = np.where(is_even, middle, np.nextafter(middle, -np.inf))
    return np.where(np.isposinf(low), np.inf, end)
