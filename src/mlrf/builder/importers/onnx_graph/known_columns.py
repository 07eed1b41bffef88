"""Finds out about the columns of a graph from its operators: the categories of an encoder, the centre and spread of a scaler.

Columns are followed from the inputs through operators that only rearrange them. Nothing is known of a column that cannot be
followed; if it holds strings, the caller must give its categories.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import helper, numpy_helper

from mlrf.core.feature import Category

_SAME = ("Identity", "Cast", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Imputer")
_PICKING = ("ArrayFeatureExtractor", "Gather")
_ENCODERS = ("OneHotEncoder", "LabelEncoder")


@dataclass(slots=True)
class Column:
    """What is known about one column."""

    categories: tuple[Category, ...] | None = None
    is_closed: bool = False
    """Whether the graph supports no value other than its categories: it refuses others, or replaces them by a default."""
    centre: float = 0.0
    spread: float = 1.0


def known_columns(graph: onnx.GraphProto, widths: Sequence[tuple[str, int]]) -> list[Column]:
    """Return what is known about each column; `widths` are the inputs and their numbers of columns, in order."""
    known = [Column() for _, width in widths for _ in range(width)]
    where: dict[str, list[int]] = {}
    first = 0
    for name, width in widths:
        where[name] = list(range(first, first + width))
        first += width
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if not node.input or not node.output:
            continue
        moved = _moved(node, where, constants)
        if moved is not None:
            where[node.output[0]] = moved
        columns = where.get(node.input[0])
        if columns is None:
            continue
        if node.op_type in ("Scaler", "Imputer"):
            _take_numbers(node, [known[column] for column in columns])
        elif node.op_type in _ENCODERS and len(columns) == 1:
            _take_categories(node, known[columns[0]])
    return known


def _moved(
    node: onnx.NodeProto, where: dict[str, list[int]], constants: dict[str, onnx.TensorProto]
) -> list[int] | None:
    """Return the columns in an operator's output, if it only rearranges them."""
    if node.op_type == "Concat" and _attribute(node, "axis") in (1, -1):
        parts = [where.get(name) for name in node.input]
        return None if None in parts else [column for part in parts for column in part or ()]
    columns = where.get(node.input[0])
    if columns is None:
        return None
    if node.op_type in _SAME:
        return columns
    if node.op_type in _PICKING and len(node.input) > 1 and node.input[1] in constants:
        if node.op_type == "Gather" and _attribute(node, "axis") not in (1, -1):
            return None
        picked = numpy_helper.to_array(constants[node.input[1]]).reshape(-1).tolist()
        return [columns[int(index)] for index in picked]
    return None


def _take_numbers(node: onnx.NodeProto, columns: Sequence[Column]) -> None:
    names = ("offset", "scale") if node.op_type == "Scaler" else ("imputed_value_floats", "")
    middles, factors = ([float(x) for x in _attribute(node, name) or ()] for name in names)
    for index, column in enumerate(columns):
        if (middle := _at(middles, index)) is not None:
            column.centre = middle
        if (factor := _at(factors, index)) is not None and factor:
            column.spread = min(abs(1.0 / factor), 1e30)


def _at(values: Sequence[float], index: int) -> float | None:
    value = values[index] if index < len(values) else values[0] if len(values) == 1 else None
    return value if value is not None and math.isfinite(value) else None


def _take_categories(node: onnx.NodeProto, column: Column) -> None:
    if column.categories is not None:
        return
    strings = _attribute(node, "cats_strings") or _attribute(node, "keys_strings")
    zeros = _attribute(node, "zeros")
    # An encoder without zeros refuses unknown values; zeros are the default.
    refuses = node.op_type == "OneHotEncoder" and zeros == 0
    tensor = _attribute(node, "keys_tensor")
    if not strings and isinstance(tensor, onnx.TensorProto) and tensor.data_type == onnx.TensorProto.STRING:
        strings = list(tensor.string_data)
    if strings:
        column.categories = tuple(dict.fromkeys(each.decode("utf-8") for each in strings))
        column.is_closed = refuses or node.op_type == "LabelEncoder"
    elif refuses and (numbers := _attribute(node, "cats_int64s")):
        column.categories, column.is_closed = tuple(dict.fromkeys(int(number) for number in numbers)), True


def _attribute(node: onnx.NodeProto, name: str) -> Any:
    found = next((each for each in node.attribute if each.name == name), None)
    return None if found is None else helper.get_attribute_value(found)
