"""Operators that move, join and convert columns without computing with them."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper

from mlrf.builder.importers.onnx_steps.graph_step import (
    TEXT,
    Array,
    Operand,
    Operator,
    RawUses,
    Step,
    Tensor,
    below,
    constant,
    only_tensor,
    stepped,
)

_FLAT, _TABLE, _DEEP = 1, 2, 3


def _same(step: Step, inputs: list[Operand], _uses: RawUses) -> list[Tensor]:
    return [only_tensor(step, inputs)]


def _kept(_step: Step, arrays: list[Array]) -> list[Array]:
    return [arrays[0]]


def _reshaped(step: Step, inputs: list[Operand], _uses: RawUses) -> list[Tensor]:
    found = only_tensor(step, inputs)
    shape = constant(step, inputs, 1).reshape(-1).tolist()
    if len(shape) not in (_FLAT, _TABLE) or shape[0] not in (-1, 0):
        raise step.refusal(f"has the shape {shape}")
    width = 1 if len(shape) == _FLAT else shape[1]
    if width not in (-1, len(found.columns)):
        raise step.refusal(f"makes rows of {width} from {len(found.columns)} columns")
    return [found.of(found.columns, rank=len(shape))]


def _flattened(step: Step, inputs: list[Operand], _uses: RawUses) -> list[Tensor]:
    found = only_tensor(step, inputs)
    if step.get("axis", 1) != 1:
        raise step.refusal("has an axis other than 1")
    return [found.of(found.columns, rank=_TABLE)]


def _squeezed(step: Step, inputs: list[Operand], _uses: RawUses) -> list[Tensor]:
    found = only_tensor(step, inputs)
    if _axes(step, inputs) != [1] or (found.rank == _TABLE and len(found.columns) != 1) or found.rank == _FLAT:
        raise step.refusal("has an axis other than 1")
    return [found.of(found.columns, rank=found.rank - 1)]


def _unsqueezed(step: Step, inputs: list[Operand], _uses: RawUses) -> list[Tensor]:
    found = only_tensor(step, inputs)
    if found.rank != _FLAT or _axes(step, inputs) not in ([1], [-1]):
        raise step.refusal("has an axis other than 1, or an input of several columns")
    return [found.of(found.columns, rank=_TABLE)]


def _axes(step: Step, inputs: list[Operand]) -> list[int]:
    if len(inputs) > 1:
        return [int(axis) for axis in constant(step, inputs, 1).reshape(-1)]
    return list(step.get("axes", ()))


def _joined(step: Step, inputs: list[Operand], _uses: RawUses) -> list[Tensor]:
    tensors = [found for found in inputs if isinstance(found, Tensor)]
    if not tensors or len(tensors) != len(inputs):
        raise step.refusal("joins a constant to its columns")
    first = tensors[0]
    if any(found.rank != first.rank or found.dtype != first.dtype for found in tensors):
        raise step.refusal("joins tensors of different types or shapes")
    check_last_axis(step, first)
    return [first.of([column for found in tensors for column in found.columns])]


def _concatenated(_step: Step, arrays: list[Array]) -> list[Array]:
    return [np.concatenate(arrays, axis=1)]


def _vectorized(step: Step, inputs: list[Operand], _uses: RawUses) -> list[Tensor]:
    """FeatureVectorizer: joins columns of any numbers, as float32."""
    tensors = [found for found in inputs if isinstance(found, Tensor)]
    widths = list(step.get("inputdimensions", ()))
    if not tensors or len(tensors) != len(inputs) or widths != [len(found.columns) for found in tensors]:
        raise step.refusal("does not take every column of its inputs")
    if any(found.dtype == TEXT or found.rank != _TABLE for found in tensors):
        raise step.refusal("joins text or shapes other than rows")
    return [tensors[0].of([column for found in tensors for column in found.columns], np.float32)]


def _as_vector(_step: Step, arrays: list[Array]) -> list[Array]:
    return [np.concatenate([array.astype(np.float32) for array in arrays], axis=1)]


def _chosen(step: Step, inputs: list[Operand], _uses: RawUses) -> list[Tensor]:
    """Gather and ArrayFeatureExtractor: columns by their indices."""
    found = only_tensor(step, inputs)
    indices = constant(step, inputs, 1)
    if step.operator == "Gather":
        check_last_axis(step, found, default=0)
        if indices.ndim != 1:
            raise step.refusal("takes a column away from its rows")
    elif found.rank != _TABLE:
        raise step.refusal("has an input that is not a table of rows")
    return [found.of([found.columns[int(index)] for index in indices.reshape(-1)])]


def _taken(_step: Step, arrays: list[Array]) -> list[Array]:
    return [arrays[0][:, arrays[1].reshape(-1).astype(np.int64)]]


def _parted(step: Step, inputs: list[Operand], _uses: RawUses) -> list[Tensor]:
    found = only_tensor(step, inputs)
    check_last_axis(step, found, default=0)
    sizes = step.get("split") if len(inputs) == 1 else constant(step, inputs, 1).tolist()
    if sizes is None or len(sizes) != len(step.outputs) or sum(sizes) != len(found.columns):
        raise step.refusal("does not state its parts")
    ends = np.cumsum(sizes).tolist()
    return [found.of(found.columns[end - size : end]) for end, size in zip(ends, sizes, strict=True)]


def _split(step: Step, arrays: list[Array]) -> list[Array]:
    sizes = step.get("split") if len(arrays) == 1 else arrays[1].tolist()
    return np.split(arrays[0], np.cumsum(sizes)[:-1], axis=1)


def check_last_axis(step: Step, found: Tensor, default: int = 1) -> None:
    """Raise UnsupportedModelError if an operator's axis is not the columns of its tensor."""
    if found.rank == _FLAT or step.get("axis", default) not in (-1, found.rank - 1):
        raise step.refusal("has an axis other than the columns")


def _cast(step: Step, inputs: list[Operand], uses: RawUses) -> list[Tensor]:
    found = only_tensor(step, inputs)
    dtype = _target(step, inputs)
    if (found.dtype == TEXT) != (dtype == TEXT):
        raise step.refusal("converts between text and numbers")
    columns = list(found.columns)
    if dtype == np.bool_ and found.dtype != np.bool_:
        for index in range(len(columns)):
            uses.test(step, 0, found, index, [below(0.0), 0.0])
        uses.number(found)
        columns = [stepped(column) for column in columns]
    return [found.of(columns, dtype)]


def _target(step: Step, inputs: list[Operand]) -> np.dtype[Any]:
    if step.operator == "CastLike":
        return inputs[1].dtype
    return np.dtype(helper.tensor_dtype_to_np_dtype(step.get("to")))


def _converted(step: Step, arrays: list[Array]) -> list[Array]:
    dtype = arrays[1].dtype if step.operator == "CastLike" else helper.tensor_dtype_to_np_dtype(step.get("to"))
    return [convert(arrays[0], np.dtype(dtype))]


def convert(array: Array, dtype: np.dtype[Any]) -> Array:
    """Return an array in another type; ValueError for a number that an integer type does not have, which ONNX leaves open."""
    if dtype.kind in "iu" and array.dtype.kind == "f":
        limit = 2.0 ** (8 * dtype.itemsize - (dtype.kind == "i"))
        least = -limit if dtype.kind == "i" else 0.0
        if not np.all((array >= least) & (array < limit)):
            raise ValueError("a number is missing or beyond the integers that a Cast converts it to")
    with np.errstate(over="ignore"):
        return array.astype(dtype)


MOVING: dict[str, Operator] = {
    "Identity": Operator(_same, _kept),
    "Reshape": Operator(_reshaped, _kept),
    "Flatten": Operator(_flattened, _kept),
    "Squeeze": Operator(_squeezed, _kept),
    "Unsqueeze": Operator(_unsqueezed, _kept),
    "Concat": Operator(_joined, _concatenated),
    "FeatureVectorizer": Operator(_vectorized, _as_vector),
    "Gather": Operator(_chosen, _taken),
    "ArrayFeatureExtractor": Operator(_chosen, _taken),
    "Split": Operator(_parted, _split),
    "Cast": Operator(_cast, _converted),
    "CastLike": Operator(_cast, _converted),
}
