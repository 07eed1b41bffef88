"""Finds the output of a graph that is the answer, and the classes in its file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx
from onnx import TensorProto, helper, numpy_helper

from mlrf.builder.importers.imported_model import ClassLabel
from mlrf.core.errors import UnsupportedModelError

_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE)
_LABELS = (TensorProto.INT64, TensorProto.INT32, TensorProto.STRING, TensorProto.BOOL)
_PASSING = ("Identity", "Cast", "Reshape", "Flatten", "Squeeze")


@dataclass(frozen=True, slots=True)
class Output:
    """The output that is served, and the label output."""

    name: str
    keys: list[str | int] | None
    """Keys of the maps that it consists of; None for a tensor."""
    label: str | None
    """The output with the class label."""
    classes: tuple[ClassLabel, ...] | None
    """The classes, if the file names them."""
    operator: str
    """The operator that computes the answer."""
    is_double: bool


def read_output(graph: onnx.GraphProto) -> Output:
    """Return the output that is the answer; UnsupportedModelError if there is none, or more than one candidate."""
    makers = {name: node for node in graph.node for name in node.output}
    tensors = {value.name: value.type.tensor_type.elem_type for value in graph.output}
    maps = [v.name for v in graph.output if v.name in makers and makers[v.name].op_type == "ZipMap"]
    numbers = [name for name, element in tensors.items() if element in _FLOATS and name not in maps]
    labels = [name for name, element in tensors.items() if element in _LABELS and name not in maps]
    if not maps and not numbers:
        if labels:
            raise UnsupportedModelError(
                "the only output of the ONNX model is labels; export it with its probabilities or scores as an output"
            )
        raise UnsupportedModelError("the ONNX model has no output of float or double numbers")
    answers = maps or numbers
    if len(answers) > 1:
        raise UnsupportedModelError(
            f"the ONNX model has {len(answers)} outputs of numbers ({', '.join(answers[:5])}); mlrf serves one; keep one in "
            "the file (onnx.utils.extract_model)"
        )
    name = answers[0]
    keys = _keys(makers[name]) if maps else None
    operator = _operator(name, makers)
    return Output(
        name, keys, labels[0] if labels else None, _classes(graph, keys), operator, tensors[name] == TensorProto.DOUBLE
    )


def _keys(node: onnx.NodeProto) -> list[str | int]:
    found = _attribute(node, "classlabels_strings") or _attribute(node, "classlabels_int64s") or []
    keys = [each.decode("utf-8") if isinstance(each, bytes) else int(each) for each in found]
    if not keys or len(set(keys)) != len(keys):
        raise UnsupportedModelError(
            "the ONNX model's ZipMap does not name every class exactly once; export it without ZipMap"
        )
    return keys


def _operator(name: str, makers: dict[str, onnx.NodeProto]) -> str:
    """Return the operator that computes a tensor, skipping those that only reshape it."""
    for _ in range(len(makers)):
        node = makers.get(name)
        if node is None:
            return "an input"
        if node.op_type not in _PASSING or not node.input:
            return str(node.op_type)
        name = node.input[0]
    return "a circle"


def _classes(graph: onnx.GraphProto, keys: list[str | int] | None) -> tuple[ClassLabel, ...] | None:
    """Return the labels that the file names; the graph's own label output shows whether they belong to the answer's columns."""
    if keys is not None:
        return tuple(keys)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in reversed(graph.node):
        found = None
        if node.op_type == "ArrayFeatureExtractor" and node.input and node.input[0] in constants:
            found = numpy_helper.to_array(constants[node.input[0]]).reshape(-1).tolist()
        else:
            for kind in ("strings", "int64s", "ints"):
                found = found or _attribute(node, f"classlabels_{kind}")
        if found:
            return tuple(each.decode("utf-8") if isinstance(each, bytes) else each for each in found)
    return None


def _attribute(node: onnx.NodeProto, name: str) -> Any:
    found = next((each for each in node.attribute if each.name == name), None)
    return None if found is None else helper.get_attribute_value(found)
