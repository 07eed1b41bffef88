"""The operators before and after the trees of an ONNX graph: its columns by name and type, and the steps to its answer.

This module interprets the path to the output; the parity gate compares it with ONNX Runtime's own
answers to the whole file, so that a misinterpretation is refused there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mlrf.builder.importers.imported_model import ClassLabel
from mlrf.builder.importers.onnx_trees.onnx_file import ML_DOMAIN, TREE_OPERATORS
from mlrf.core.errors import ModelUnreadableError, UnsupportedModelError
from mlrf.core.link import LinkKind

_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE)
_INTEGERS = (
    TensorProto.INT8,
    TensorProto.INT16,
    TensorProto.INT32,
    TensorProto.INT64,
    TensorProto.UINT8,
    TensorProto.BOOL,
)
_UPSTREAM_OPERATORS = ("Cast", "Concat", "Identity")
_LINKS: dict[str, LinkKind] = {"Sigmoid": "sigmoid", "Softmax": "softmax", "Exp": "exp"}
_SHAPES = ("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Normalizer")
_ARITHMETIC = ("Div", "Mul", "Add")
_LABELS = ("ArgMax", "ArrayFeatureExtractor", "Concat", "Sub", "ZipMap", "Greater", "GreaterOrEqual", "Gather", "Where")
_DOWNSTREAM_OPERATORS = frozenset((*_LINKS, *_SHAPES, *_ARITHMETIC, *_LABELS))


@dataclass(frozen=True, slots=True)
class Input:
    """One input of the graph: `width` columns, or None if the file leaves that open."""

    name: str
    width: int | None
    element: int
    """Of TensorProto."""
    is_cast: bool
    """Whether a Cast converts it to the trees' type."""


@dataclass(frozen=True, slots=True)
class InputPath:
    """The steps from the trees' scores to the graph's answer."""

    margin: str
    """The tensor with the margins."""
    link: LinkKind
    divisor: float
    scale: float
    added: float
    labels: tuple[ClassLabel, ...] | None
    answer: str
    """The output with the prediction."""


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph with one tree operator."""

    node: onnx.NodeProto
    index: int
    """Index of the operator among the graph's nodes."""
    inputs: tuple[Input, ...]
    is_float: bool
    """Whether the trees read float32."""
    input_path: InputPath


def read_graph(model: onnx.ModelProto) -> Graph:
    """Return the operators around the trees; UnsupportedModelError names the operator that mlrf does not support."""
    graph = model.graph
    indices = [i for i, node in enumerate(graph.node) if node.domain == ML_DOMAIN and node.op_type in TREE_OPERATORS]
    if not indices:
        raise UnsupportedModelError("it has no trees")
    if len(indices) > 1:
        raise UnsupportedModelError(
            f"the ONNX model has {len(indices)} tree ensembles; mlrf serves one: export the trees as one operator"
        )
    index = indices[0]
    node = graph.node[index]
    if len(node.input) != 1 or not node.output:
        raise ModelUnreadableError(f"the ONNX file is damaged: {node.op_type} lacks its input or its output")
    upstream = _Upstream(graph)
    inputs = upstream.inputs(node.input[0])
    elements = {i.element for i in inputs}
    is_float = upstream.rounds or TensorProto.DOUBLE not in elements
    downstream = [n for i, n in enumerate(graph.node) if i != index and i not in upstream.used]
    for other in downstream:
        if other.op_type not in _DOWNSTREAM_OPERATORS or other.domain not in ("", ML_DOMAIN):
            raise UnsupportedModelError(
                f"the ONNX model has the operator {other.op_type} besides its trees; mlrf reads tree ensembles whose "
                "columns are used as they are; move other steps out of the file"
            )
    return Graph(node, index, inputs, is_float, _input_path(graph, node, downstream))


class _Upstream:
    """The path from the graph's inputs to the trees."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        constants = {tensor.name for tensor in graph.initializer}
        self._given = {value.name: value for value in graph.input if value.name not in constants}
        self._nodes = graph.node
        self._makers = {name: index for index, node in enumerate(graph.node) for name in node.output}
        self.used: set[int] = set()
        """Indices of the nodes on the path."""
        self.rounds = False
        """Whether a Cast to float32 precedes the trees."""

    def inputs(self, tensor: str) -> tuple[Input, ...]:
        found = tuple(self._walk(tensor, is_cast=False, depth=0))
        names = [i.name for i in found]
        if len(set(names)) != len(names):
            raise UnsupportedModelError(
                "the ONNX model passes one input to its trees twice; mlrf supports each column once"
            )
        if unused := [name for name in self._given if name not in names]:
            raise UnsupportedModelError(
                f"the ONNX model has an input {unused[0]!r} that its trees do not use; remove it"
            )
        if len(found) > 1 and any(i.width is None for i in found):
            raise UnsupportedModelError(
                "the ONNX model has several inputs and does not state their numbers of columns; export it with their shapes"
            )
        return found

    def _walk(self, tensor: str, *, is_cast: bool, depth: int) -> list[Input]:
        if tensor in self._given:
            return [_input(self._given[tensor], is_cast=is_cast)]
        index = self._makers.get(tensor)
        if index is None or depth > len(self._makers):
            raise ModelUnreadableError(f"the ONNX file is damaged: no operator produces the tensor {tensor!r}")
        node = self._nodes[index]
        if node.op_type not in _UPSTREAM_OPERATORS or node.domain:
            raise UnsupportedModelError(
                f"the ONNX model computes the columns of its trees with {node.op_type}; mlrf supports trees on columns as they "
                "are; export only the trees, and apply this step before sending rows"
            )
        self.used.add(index)
        if node.op_type == "Cast":
            to = _attribute(node, "to")
            if to not in _FLOATS:
                raise UnsupportedModelError("the ONNX model casts its columns to a type other than float or double")
            self.rounds |= to == TensorProto.FLOAT
            is_cast = True
        elif node.op_type == "Concat" and _attribute(node, "axis") not in (1, -1):
            raise UnsupportedModelError("the ONNX model concatenates its inputs along an axis other than the columns")
        return [i for name in node.input for i in self._walk(name, is_cast=is_cast, depth=depth + 1)]


def _input(value: onnx.ValueInfoProto, *, is_cast: bool) -> Input:
    kind = value.type.tensor_type
    element = kind.elem_type
    if element not in (*_FLOATS, *_INTEGERS):
        known = value.type.HasField("tensor_type") and element in TensorProto.DataType.values()
        name = TensorProto.DataType.Name(element).lower() if known else "no tensor of a known type"
        raise UnsupportedModelError(
            f"the input {value.name!r} of the ONNX model is {name}; mlrf serves numbers and booleans"
        )
    dims = kind.shape.dim
    if len(dims) not in (0, 2):
        raise UnsupportedModelError(f"the input {value.name!r} of the ONNX model has {len(dims)} dimensions, not 2")
    width = dims[1].dim_value if dims and dims[1].dim_value > 0 else None
    return Input(value.name, width, element, is_cast)


def _input_path(graph: onnx.GraphProto, node: onnx.NodeProto, downstream: Sequence[onnx.NodeProto]) -> InputPath:
    constants = {tensor.name: tensor for tensor in graph.initializer}
    tensor = node.output[-1] if node.op_type == "TreeEnsembleClassifier" else node.output[0]
    steps = {"Div": 1.0, "Mul": 1.0, "Add": 0.0}
    margin, link, done, taken = tensor, None, -1, 0
    while link is None:
        following = [n for n in downstream if tensor in n.input]
        step = next((n for n in following if n.op_type in (*_LINKS, *_ARITHMETIC, *_SHAPES)), None)
        if step is None or not step.output:
            break
        if step.op_type in _LINKS:
            link = _LINKS[step.op_type]
        elif step.op_type in _ARITHMETIC:
            order = _ARITHMETIC.index(step.op_type)
            if order <= done:
                raise UnsupportedModelError(
                    f"the ONNX model has {step.op_type} after {_ARITHMETIC[done]} on its sum; mlrf supports one division, one "
                    "product and one addition, in this order"
                )
            done, steps[step.op_type] = order, _constant(step, tensor, constants)
            margin, taken = step.output[0], taken + 1
        tensor = step.output[0]
    if link is not None and sum(n.op_type in _ARITHMETIC for n in downstream) > taken:
        raise UnsupportedModelError(
            f"the ONNX model computes with the result of its {link}; mlrf supports a link as the last step only"
        )
    if "Sigmoid" in {n.op_type for n in downstream} and link is None:
        raise UnsupportedModelError("the ONNX model has a Sigmoid that is not between its trees and its output")
    # Some converters declare no type for ZipMap's output.
    maps = {name for n in downstream if n.op_type == "ZipMap" for name in n.output}
    answers = [v.name for v in graph.output if v.type.tensor_type.elem_type in _FLOATS or _is_map(v) or v.name in maps]
    if not answers:
        raise UnsupportedModelError(
            "the only output of the ONNX model is labels; export it with its probabilities or scores as an output"
        )
    return InputPath(margin, link or "identity", steps["Div"], steps["Mul"], steps["Add"], _labels(graph), answers[-1])


def _is_map(value: onnx.ValueInfoProto) -> bool:
    return bool(value.type.HasField("sequence_type"))


def _constant(step: onnx.NodeProto, tensor: str, constants: dict[str, onnx.TensorProto]) -> float:
    others = [name for name in step.input if name != tensor]
    if len(others) == 1 and others[0] in constants and (step.op_type != "Div" or step.input[0] == tensor):
        try:
            values = numpy_helper.to_array(constants[others[0]])
        except Exception as error:
            raise ModelUnreadableError(f"the ONNX file is damaged: the tensor {others[0]!r} cannot be read") from error
        if (
            values.size == 1
            and values.dtype in (np.float32, np.float64)
            and math.isfinite(number := float(values.reshape(-1)[0]))
        ):
            return number
    raise UnsupportedModelError(f"the ONNX model has {step.op_type} on its sum with something other than one number")


def _labels(graph: onnx.GraphProto) -> tuple[ClassLabel, ...] | None:
    """Return the class labels in the operators after the trees."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "ZipMap":
            found = _attribute(node, "classlabels_strings") or _attribute(node, "classlabels_int64s")
            if found:
                return tuple(label.decode("utf-8", "replace") if isinstance(label, bytes) else label for label in found)
        if node.op_type == "ArrayFeatureExtractor" and node.input and node.input[0] in constants:
            values = numpy_helper.to_array(constants[node.input[0]]).reshape(-1).tolist()
            return tuple(label.decode("utf-8", "replace") if isinstance(label, bytes) else label for label in values)
    return None


def _attribute(node: onnx.NodeProto, name: str) -> Any:
    found = next((a for a in node.attribute if a.name == name), None)
    return None if found is None else helper.get_attribute_value(found)
