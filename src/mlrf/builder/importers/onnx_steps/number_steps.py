"""Operators that compute with numbers, with ONNX Runtime's arithmetic: scalers, imputers, bins, comparisons."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from mlrf.builder.importers.onnx_steps.graph_step import (
    TEXT,
    Array,
    Operand,
    Operator,
    RawUses,
    Step,
    Tensor,
    TracedColumn,
    below,
    constant,
    is_nan,
    only_tensor,
    stepped,
)
from mlrf.builder.importers.onnx_steps.moving_steps import check_last_axis

_FLOATS = (np.float32, np.float64)
_UNREACHED = np.iinfo(np.int64).min
"""What skl2onnx writes as the integer that an imputer of NaN replaces; no row contains it."""


def _arithmetic(step: Step, inputs: list[Operand], uses: RawUses) -> list[Tensor]:
    """Add, Sub, Mul, Div: a column with a constant, in the sense that keeps its order."""
    is_first = isinstance(inputs[0], Tensor)
    found = inputs[0] if is_first else inputs[1]
    if (
        not isinstance(found, Tensor)
        or found.dtype not in _FLOATS
        or (not is_first and step.operator in ("Sub", "Div"))
    ):
        raise step.refusal("computes with more than a column of floats and a constant")
    factors = constant(step, inputs, 1 if is_first else 0)
    if not np.all(np.isfinite(factors)):
        raise step.refusal("has a constant that is not finite")
    columns = []
    for column, factor in _broadcast(step, found, factors):
        is_factor = step.operator in ("Mul", "Div")
        if is_factor and factor < 0 and not column.has_steps:
            raise step.refusal("has a negative factor")
        columns.append(replace(column, is_raw=False, is_constant=column.is_constant or (is_factor and factor == 0)))
    uses.number(found)
    return [found.of(columns)]


def _broadcast(step: Step, found: Tensor, constants: Array) -> Iterator[tuple[TracedColumn, Any]]:
    """Yield each column of a result with its constant."""
    if found.rank == 1 or (constants.ndim > 1 and constants.size != constants.shape[-1]):
        raise step.refusal("has a constant that is not one number a column")
    values = constants.reshape(-1).tolist()
    width = max(len(values), len(found.columns))
    if not {len(values), len(found.columns)} <= {1, width}:
        raise step.refusal("has a constant of another width than its columns")
    for index in range(width):
        yield found.columns[index % len(found.columns)], values[index % len(values)]


def _calculated(function: Callable[[Array, Array], Array]) -> Callable[[Step, list[Array]], list[Array]]:
    def run(step: Step, arrays: list[Array]) -> list[Array]:
        if step.operator == "Mul":
            for given, factor in (arrays, arrays[::-1]):
                if factor.size and not np.any(factor) and not np.all(np.isfinite(given)):
                    raise ValueError("a missing or infinite value is multiplied by 0")
        return [function(*(_row(array) for array in arrays))]

    return run


def _row(array: Array) -> Array:
    return array.reshape(1, -1) if array.ndim < 2 else array  # noqa: PLR2004  a constant; columns are tables


def _scaler(step: Step, inputs: list[Operand], uses: RawUses) -> list[Tensor]:
    found = only_tensor(step, inputs)
    for name in ("offset", "scale"):
        values = step.get(name, [])
        if len(values) not in (1, len(found.columns)) or not np.all(np.isfinite(values)):
            raise step.refusal(f"has no {name} for each column")
    if any(factor <= 0 for factor in step.get("scale")):
        raise step.refusal("has a scale that is not positive")
    uses.number(found)
    return [found.of([replace(column, is_raw=False) for column in found.columns], np.float32)]


def _scaled(step: Step, arrays: list[Array]) -> list[Array]:
    x = arrays[0] if arrays[0].dtype == np.float64 else arrays[0].astype(np.float32)
    offset, scale = (np.array(step.get(name), np.float32) for name in ("offset", "scale"))
    return [((x - offset) * scale).astype(np.float32)]


def _imputer(step: Step, inputs: list[Operand], _uses: RawUses) -> list[Tensor]:
    found = only_tensor(step, inputs)
    if len(_fills(step, found.dtype)) not in (1, len(found.columns)):
        raise step.refusal("has no value for each column")
    replaced = step.get("replaced_value_float", 0.0) if found.dtype in _FLOATS else step.get("replaced_value_int64", 0)
    if not is_nan(replaced) and replaced != _UNREACHED:
        raise step.refusal(f"reads {replaced!r} as missing")
    return [found]


def _fills(step: Step, dtype: Any) -> Array:
    return np.array(step.get("imputed_value_floats" if dtype in _FLOATS else "imputed_value_int64s", ()), dtype)


def _imputed(step: Step, arrays: list[Array]) -> list[Array]:
    if arrays[0].dtype not in _FLOATS:
        return [arrays[0]]
    return [np.where(np.isnan(arrays[0]), _fills(step, arrays[0].dtype), arrays[0])]


def _clip(step: Step, inputs: list[Operand], uses: RawUses) -> list[Tensor]:
    found = only_tensor(step, inputs)
    for index in range(1, len(inputs)):
        constant(step, inputs, index)
    if found.dtype not in _FLOATS:
        raise step.refusal("computes with integers")
    uses.number(found)
    return [found.of([replace(column, is_raw=False) for column in found.columns])]


def _clipped(step: Step, arrays: list[Array]) -> list[Array]:
    low = arrays[1] if len(arrays) > 1 and arrays[1].size else step.get("min", -np.inf)
    high = arrays[2] if len(arrays) > 2 and arrays[2].size else step.get("max", np.inf)  # noqa: PLR2004  its third input
    return [np.clip(arrays[0], low, high).astype(arrays[0].dtype)]


def _binarizer(step: Step, inputs: list[Operand], uses: RawUses) -> list[Tensor]:
    found = only_tensor(step, inputs)
    for index in range(len(found.columns)):
        uses.test(step, 0, found, index, [step.get("threshold", 0.0)])
    uses.number(found)
    return [found.of([stepped(column, is_monotone=True) for column in found.columns])]


def _binarized(step: Step, arrays: list[Array]) -> list[Array]:
    if np.any(np.isnan(arrays[0])):
        raise ValueError("ONNX Runtime's Binarizer refuses a missing value")
    return [(arrays[0] > np.float32(step.get("threshold", 0.0))).astype(arrays[0].dtype)]


def _comparison(step: Step, inputs: list[Operand], uses: RawUses) -> list[Tensor]:
    """Less, Greater and such, Equal: a column and a constant."""
    is_first = isinstance(inputs[0], Tensor)
    found = inputs[0] if is_first else inputs[1]
    if not isinstance(found, Tensor) or found.dtype == TEXT:
        raise step.refusal("compares text")
    limits = constant(step, inputs, 1 if is_first else 0)
    # x < c changes below c, x <= c after it; c < x is x > c.
    before = step.operator in (("Less", "GreaterOrEqual") if is_first else ("Greater", "LessOrEqual"))
    columns = []
    for index, (column, limit) in enumerate(_broadcast(step, found, limits)):
        if not np.isnan(limit):
            at = index % len(found.columns)
            both = [below(limit), float(limit)]
            uses.test(
                step,
                0 if is_first else 1,
                found,
                at,
                both if step.operator == "Equal" else both[:1] if before else both[1:],
            )
        columns.append(stepped(column))
    uses.number(found)
    return [found.of(columns, np.bool_)]


def _is_nan(step: Step, inputs: list[Operand], _uses: RawUses) -> list[Tensor]:
    found = only_tensor(step, inputs)
    return [found.of([stepped(column) for column in found.columns], np.bool_)]


def _combined(step: Step, inputs: list[Operand], uses: RawUses) -> list[Tensor]:
    """Where, Not, And, Or: the columns of one raw column, and constants, at each position."""
    tensors = [found for found in inputs if isinstance(found, Tensor)]
    width = max(len(found.columns) if isinstance(found, Tensor) else found.size for found in inputs)
    if any(len(found.columns) not in (1, width) or found.rank == 1 for found in tensors):
        raise step.refusal("has columns of different widths")
    columns = [
        one_source(step, [found.columns[index % len(found.columns)] for found in tensors], uses)
        for index in range(width)
    ]
    dtype = inputs[-1].dtype if step.operator == "Where" else np.dtype(np.bool_)
    return [tensors[0].of(columns, dtype)]


def one_source(step: Step, columns: list[TracedColumn], uses: RawUses) -> TracedColumn:
    """Return the column that a step makes of several, all of which must be functions of one raw column with steps."""
    varying = [column for column in columns if not column.is_constant] or columns[:1]
    if len({column.raw for column in varying}) > 1:
        raise step.refusal("mixes columns")
    if not all(column.has_steps or uses.is_text[column.raw] for column in varying):
        raise step.refusal("mixes results that do not change in steps")
    return stepped(varying[0])


def _reduced(step: Step, inputs: list[Operand], uses: RawUses) -> list[Tensor]:
    """ArgMax and ReduceSum over the columns."""
    found = only_tensor(step, inputs)
    if step.operator == "ReduceSum":
        axes = constant(step, inputs, 1).reshape(-1).tolist() if len(inputs) > 1 else step.get("axes")
        if axes not in ([-1], [found.rank - 1]) or found.rank == 1:
            raise step.refusal("has an axis other than the columns")
    else:
        check_last_axis(step, found, default=0)
    if not step.get("keepdims", 1) or step.get("select_last_index", 0):
        raise step.refusal("has an option that mlrf does not read")
    dtype = found.dtype if step.operator == "ReduceSum" else np.int64
    return [found.of([one_source(step, list(found.columns), uses)], dtype)]


_COMPARISONS: dict[str, Callable[[Array, Array], Array]] = {
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Equal": np.equal,
}
_ARITHMETIC: dict[str, Callable[[Array, Array], Array]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
}
NUMBERS: dict[str, Operator] = {
    **{name: Operator(_arithmetic, _calculated(function)) for name, function in _ARITHMETIC.items()},
    **{name: Operator(_comparison, _calculated(function)) for name, function in _COMPARISONS.items()},
    "Scaler": Operator(_scaler, _scaled),
    "Imputer": Operator(_imputer, _imputed),
    "Clip": Operator(_clip, _clipped),
    "Binarizer": Operator(_binarizer, _binarized),
    "IsNaN": Operator(_is_nan, lambda _, arrays: [np.isnan(arrays[0])]),
    "Not": Operator(_combined, lambda _, arrays: [np.logical_not(arrays[0])]),
    "And": Operator(_combined, lambda _, arrays: [np.logical_and(_row(arrays[0]), _row(arrays[1]))]),
    "Or": Operator(_combined, lambda _, arrays: [np.logical_or(_row(arrays[0]), _row(arrays[1]))]),
    "Where": Operator(_combined, lambda _, arrays: [np.where(*(_row(array) for array in arrays))]),
    "ArgMax": Operator(_reduced, lambda _, arrays: [np.argmax(arrays[0], axis=1, keepdims=True).astype(np.int64)]),
    "ReduceSum": Operator(
        _reduced, lambda _, arrays: [np.sum(arrays[0], axis=1, keepdims=True, dtype=arrays[0].dtype)]
    ),
}
