"""The raw column behind each column of the trees' matrix, operator by operator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from mlrf.builder.importers.onnx_graph.inputs import Input
from mlrf.builder.importers.onnx_steps.category_steps import CATEGORIES
from mlrf.builder.importers.onnx_steps.graph_cut import CutGraph
from mlrf.builder.importers.onnx_steps.graph_step import (
    TEXT,
    Array,
    Operand,
    Operator,
    RawUses,
    Step,
    Tensor,
    TracedColumn,
    read_array,
    read_step,
)
from mlrf.builder.importers.onnx_steps.moving_steps import MOVING
from mlrf.builder.importers.onnx_steps.number_steps import NUMBERS
from mlrf.builder.importers.onnx_trees.onnx_file import ML_DOMAIN
from mlrf.core.errors import UnsupportedModelError

OPERATORS: dict[str, Operator] = {**MOVING, **NUMBERS, **CATEGORIES}
_OF_ML = frozenset(
    ("ArrayFeatureExtractor", "Binarizer", "FeatureVectorizer", "Imputer", "LabelEncoder", "OneHotEncoder", "Scaler")
)
_TABLE = 2


@dataclass(frozen=True, slots=True, eq=False)
class TracedGraph:
    """The steps of a graph, and what they make of the raw columns."""

    steps: tuple[Step, ...]
    """Those that depend on the inputs."""
    constants: dict[str, Array]
    tensors: dict[str, Tensor]
    """By name: the inputs, and what the steps make of them."""
    matrix: Tensor
    uses: RawUses


def trace_graph(graph: onnx.GraphProto, cut: CutGraph, inputs: Sequence[Input]) -> TracedGraph:
    """Trace the columns of the matrix back to the inputs; UnsupportedModelError names a step that cannot be folded."""
    is_text = [each.element == TensorProto.STRING for each in inputs for _ in range(each.width)]
    tensors: dict[str, Tensor] = {}
    first = 0
    for each in inputs:
        columns = tuple(TracedColumn(raw) for raw in range(first, first + each.width))
        tensors[each.name] = Tensor(columns, _dtype(each.element), 1 if each.is_flat else _TABLE)
        first += each.width
    used = {name for node in cut.steps for name in node.input}
    constants = {tensor.name: read_array(tensor) for tensor in graph.initializer if tensor.name in used}
    uses = RawUses(is_text)
    steps = []
    for node in cut.steps:
        step = read_step(node)
        if step.operator == "Constant":
            constants[step.outputs[0]] = _constant(step)
            continue
        operator = _operator(step, node.domain)
        operands: list[Operand] = [_operand(step, name, tensors, constants) for name in step.inputs]
        if not any(isinstance(operand, Tensor) for operand in operands):
            arrays = [operand for operand in operands if not isinstance(operand, Tensor)]
            constants.update(zip(step.outputs, operator.run(step, arrays), strict=False))
            continue
        tensors.update(zip(step.outputs, operator.trace(step, operands, uses), strict=False))
        steps.append(step)
    matrix = tensors.get(cut.matrix)
    if matrix is None or matrix.rank != _TABLE or matrix.dtype == TEXT:
        raise UnsupportedModelError("the ONNX model's trees do not read a table of numbers that depends on its inputs")
    uses.number(matrix)
    return TracedGraph(tuple(steps), constants, tensors, matrix, uses)


def _dtype(element: int) -> np.dtype[np.generic]:
    return TEXT if element == TensorProto.STRING else np.dtype(helper.tensor_dtype_to_np_dtype(element))


def _operator(step: Step, domain: str) -> Operator:
    if step.operator not in OPERATORS or domain not in ((ML_DOMAIN,) if step.operator in _OF_ML else ("", "ai.onnx")):
        raise step.refusal("is not one of those that mlrf computes itself")
    return OPERATORS[step.operator]


def _operand(step: Step, name: str, tensors: dict[str, Tensor], constants: dict[str, Array]) -> Operand:
    if name in tensors:
        return tensors[name]
    if name in constants:
        return constants[name]
    if not name:  # an optional input that is left out
        return np.zeros(0)
    raise step.refusal(f"reads {name!r}, which no operator makes")


def _constant(step: Step) -> Array:
    if len(step.attributes) != 1:
        raise step.refusal("has no value")
    ((name, value),) = step.attributes.items()
    types = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    if name not in (*types, "value"):
        raise step.refusal(f"has a {name}")
    return np.asarray(value, types.get(name))
