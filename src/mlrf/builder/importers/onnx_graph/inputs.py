"""The inputs of a graph as features, by name and type; strings become categories from a closed list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import onnx
from onnx import TensorProto

from mlrf.builder.category_lists import check_category_names
from mlrf.builder.importers.imported_model import CategoryLists
from mlrf.builder.importers.onnx_graph.known_columns import Column
from mlrf.core.errors import SampleError, UnsupportedModelError
from mlrf.core.feature import Feature, Kind

_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE)
_INTEGERS = (
    TensorProto.INT8,
    TensorProto.INT16,
    TensorProto.INT32,
    TensorProto.INT64,
    TensorProto.UINT8,
    TensorProto.UINT16,
    TensorProto.UINT32,
    TensorProto.UINT64,
)
_MAX_FEATURES = 1 << 20


@dataclass(frozen=True, slots=True)
class Input:
    """An input: `width` columns of one type."""

    name: str
    element: int
    """Of TensorProto."""
    width: int
    is_flat: bool
    """Whether it is [n], not [n, width]."""


def read_inputs(graph: onnx.GraphProto, requested: Sequence[str] | None) -> list[Input]:
    """Return the inputs; UnsupportedModelError names one that has no columns. `requested` may give their number."""
    constants = {tensor.name for tensor in graph.initializer}
    given = [value for value in graph.input if value.name not in constants]
    inputs = [_input(value, len(given), requested) for value in given]
    count = sum(each.width for each in inputs)
    if not 1 <= count <= _MAX_FEATURES:
        raise UnsupportedModelError(f"the ONNX model has {count} columns; mlrf serves 1 to {_MAX_FEATURES}")
    return inputs


def column_names(inputs: Sequence[tuple[str, int]], requested: Sequence[str] | None) -> list[str]:
    """Return the names of the columns of inputs (name, width): the requested ones, an input's own, or numbered ones."""
    names = []
    for name, width in inputs:
        prefix = "x" if len(inputs) == 1 else f"{name}_"
        names += [name] if width == 1 and len(inputs) > 1 else [f"{prefix}{index}" for index in range(width)]
    if requested is None:
        return names
    if len(requested) != len(names):
        raise SampleError(
            f"{len(requested)} feature names are given, but the ONNX model has {len(names)} columns ({', '.join(names[:5])}"
            f"{', …' if len(names) > 5 else ''})"  # noqa: PLR2004  as many as shown
        )
    return list(requested)


def read_features(
    inputs: Sequence[Input], known: Sequence[Column], lists: CategoryLists, requested: Sequence[str] | None
) -> tuple[Feature, ...]:
    """Return the features, none of them nullable yet, because the graph's answers to missing values are not known yet.

    SampleError for a list of an unknown feature; UnsupportedModelError for a string whose categories are unknown.
    """
    names = column_names([(each.name, each.width) for each in inputs], requested)
    elements = [each.element for each in inputs for _ in range(each.width)]
    check_category_names(lists, names)
    try:
        return tuple(
            _feature(name, element, column, lists) for name, element, column in zip(names, elements, known, strict=True)
        )
    except ValueError as error:
        raise SampleError(str(error)) from error


def _feature(name: str, element: int, column: Column, lists: CategoryLists) -> Feature:
    categories = column.categories
    if name in lists:
        categories = tuple(lists[name])
    elif categories is not None and element != TensorProto.STRING and not column.is_closed:
        categories = None
    is_string = element == TensorProto.STRING
    if is_string and categories is None:
        raise UnsupportedModelError(
            f"the feature {name!r} of the ONNX model is a string, and the file does not list its values; list them "
            'with --categories (a JSON file: {"' + name + '": ["a", "b"]}); free text is not supported'
        )
    if categories is not None:
        if not categories or not all(isinstance(each, str) == is_string for each in categories):
            kind = "strings" if is_string else "numbers"
            raise SampleError(f"feature {name!r}: its categories must be {kind}", feature=name)
        return Feature(name, Kind.CATEGORICAL, categories, nullable=False, example=categories[0])
    if element == TensorProto.BOOL:
        return Feature(name, Kind.BOOLEAN, nullable=False)
    if element in _INTEGERS:
        return Feature(name, Kind.INTEGER, nullable=False, example=round(column.centre))
    return Feature(name, Kind.NUMERIC, nullable=False, example=column.centre)


def with_missing_allowed(features: Sequence[Feature], missing: Sequence[bool]) -> tuple[Feature, ...]:
    """Return the features; nullable are those for which the graph has an answer when they are missing."""
    return tuple(
        msgspec.structs.replace(feature, nullable=gone) for feature, gone in zip(features, missing, strict=True)
    )


def _input(value: onnx.ValueInfoProto, n_inputs: int, requested: Sequence[str] | None) -> Input:
    kind = value.type.tensor_type
    element = kind.elem_type
    if element not in (*_FLOATS, *_INTEGERS, TensorProto.BOOL, TensorProto.STRING):
        known = value.type.HasField("tensor_type") and element in TensorProto.DataType.values()
        name = TensorProto.DataType.Name(element).lower() if known else "no tensor of a known type"
        raise UnsupportedModelError(
            f"the input {value.name!r} of the ONNX model is {name}; mlrf serves numbers (float, double, integers), booleans "
            "and strings"
        )
    dims = kind.shape.dim
    if not kind.HasField("shape") or len(dims) not in (1, 2):
        shown = f"{len(dims)} dimensions" if kind.HasField("shape") else "no shape"
        raise UnsupportedModelError(
            f"the input {value.name!r} of the ONNX model has {shown}; mlrf serves rows: an input [n, columns] or [n]"
        )
    if dims[0].dim_value > 1:
        raise UnsupportedModelError(
            f"the input {value.name!r} of the ONNX model takes {dims[0].dim_value} rows at a time; export it with a variable "
            "number of rows (dynamic_axes), or with one"
        )
    width = 1 if len(dims) == 1 else dims[1].dim_value
    if width < 1:
        if n_inputs > 1:
            raise UnsupportedModelError(
                f"the ONNX model has several inputs and does not state the number of columns of {value.name!r}; export it "
                "with its shape"
            )
        if requested is None:
            raise UnsupportedModelError(
                f"the ONNX model does not state the number of columns of its input {value.name!r}; name them: "
                "--feature-names a,b,c"
            )
        width = len(requested)
    return Input(value.name, element, width, len(dims) == 1)
