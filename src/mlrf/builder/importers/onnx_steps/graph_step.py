"""One operator before the trees, and what is traced of the tensors between operators.

An operator is known by two functions: one that traces the columns of its inputs to those of its outputs, and one that computes
the outputs. Both get a constant input as an array. Arrays are [n, width], whatever the rank of the tensor in the graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from mlrf.core.errors import UnsupportedModelError

Array = np.ndarray[Any, np.dtype[Any]]
TEXT = np.dtype(object)


def is_nan(key: Any) -> bool:
    """Return whether a key of an encoder, a text or a number, is NaN."""
    return isinstance(key, float) and math.isnan(key)


@dataclass(frozen=True, slots=True)
class TracedColumn:
    """One column of a tensor."""

    raw: int
    """The raw column that it is a function of."""
    is_raw: bool = True
    """Whether it still has the caller's own values; missing ones may have been filled."""
    is_monotone: bool = True
    """Whether it never decreases when the raw number increases."""
    is_stepped: bool = False
    """Whether it is constant between neighbouring crossings (see `Crossing`)."""
    is_constant: bool = False
    """Whether it has one value for all finite numbers."""

    @property
    def has_steps(self) -> bool:
        """Whether it changes at crossings only."""
        return self.is_stepped or self.is_constant


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor that depends on the inputs."""

    columns: tuple[TracedColumn, ...]
    dtype: np.dtype[Any]
    rank: int = 2
    """Of the graph's tensor: 1 [n], 2 [n, width], or 3 [n, 1, width]."""

    def of(self, columns: Sequence[TracedColumn], dtype: Any = None, rank: int | None = None) -> Tensor:
        """Return a tensor of other columns, otherwise like this one."""
        return Tensor(
            tuple(columns), self.dtype if dtype is None else np.dtype(dtype), self.rank if rank is None else rank
        )


@dataclass(frozen=True, slots=True)
class Crossing:
    """A limit at which an operator tests a monotone column: the result changes where the column exceeds it."""

    raw: int
    tensor: str
    column: int
    limit: float


@dataclass(slots=True)
class RawUses:
    """What the steps require of the raw columns."""

    is_text: Sequence[bool]
    """By raw column."""
    keys: dict[int, dict[Any, None]] = field(default_factory=dict)
    """By raw column: the values that encoders list, in their order."""
    numbers: set[int] = field(default_factory=set)
    """Raw columns that a step, or the trees, read as numbers."""
    closed: dict[int, str] = field(default_factory=dict)
    """By raw column: a step that refuses values that it does not list."""
    crossings: list[Crossing] = field(default_factory=list)

    def number(self, tensor: Tensor) -> None:
        """Note that a step reads a tensor's raw columns as numbers."""
        self.numbers.update(column.raw for column in tensor.columns if column.is_raw)

    def test(self, step: Step, index: int, tensor: Tensor, column: int, limits: Sequence[float]) -> None:
        """Note that a step compares a column of its input `index` with limits, at which its result changes."""
        traced = tensor.columns[column]
        if traced.has_steps or self.is_text[traced.raw]:
            return
        if not traced.is_monotone:
            raise step.refusal("compares a column that neither grows with its raw number nor has steps")
        self.crossings += [Crossing(traced.raw, step.inputs[index], column, limit) for limit in limits]

    def encode(self, step: Step, index: int, tensor: Tensor, column: int, keys: Sequence[Any]) -> None:
        """Note that a step makes a value of its own for each key of a column of its input `index`."""
        traced = tensor.columns[column]
        if traced.is_raw or self.is_text[traced.raw]:
            self.keys.setdefault(traced.raw, {}).update(dict.fromkeys(keys))
        elif not traced.has_steps:
            self.numbers.add(traced.raw)
        if tensor.dtype != TEXT:
            known = [float(key) for key in keys if not is_nan(key)]
            self.test(step, index, tensor, column, [limit for key in known for limit in (below(key), key)])


Operand = Tensor | Array
Trace = Callable[["Step", list[Operand], RawUses], list[Tensor]]
Run = Callable[["Step", list[Array]], list[Array]]


@dataclass(frozen=True, slots=True)
class Operator:
    """How an operator is traced, and how it is computed."""

    trace: Trace
    run: Run


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One operator of a graph."""

    operator: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]

    def refusal(self, why: str) -> UnsupportedModelError:
        """Return the error that names this step."""
        named = f" {self.name!r}" if self.name not in ("", self.operator) else ""
        return UnsupportedModelError(
            f"the ONNX model's step {self.operator}{named} {why}, so that it cannot be folded into the trees; it is served by "
            "ONNX Runtime"
        )

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute: numbers, text, an array, or a list of these."""
        return self.attributes.get(name, default)


def read_step(node: NodeProto) -> Step:
    """Return a node's operator, with its attributes as plain values."""
    attributes = {each.name: _plain(helper.get_attribute_value(each)) for each in node.attribute}
    return Step(node.op_type, node.name, tuple(node.input), tuple(node.output), attributes)


def read_array(tensor: TensorProto) -> Array:
    """Return a constant; its strings as text."""
    values = numpy_helper.to_array(tensor)
    if values.dtype.kind not in "OSU":
        return values
    texts = np.empty(values.size, object)
    texts[:] = [_text(each) for each in values.reshape(-1).tolist()]
    return texts.reshape(values.shape)


def only_tensor(step: Step, inputs: Sequence[Operand]) -> Tensor:
    """Return a step's first input, which must depend on the graph's inputs."""
    if not inputs or not isinstance(inputs[0], Tensor):
        raise step.refusal("has a constant in place of a column")
    return inputs[0]


def constant(step: Step, inputs: Sequence[Operand], index: int) -> Array:
    """Return a step's input that must be a constant."""
    if index >= len(inputs) or isinstance(inputs[index], Tensor):
        raise step.refusal("takes from its columns what should be a constant")
    found = inputs[index]
    assert not isinstance(found, Tensor)  # noqa: S101  checked above, for the type checker
    return found


def stepped(column: TracedColumn, *, is_monotone: bool = False) -> TracedColumn:
    """Return a column that changes at crossings only."""
    return replace(column, is_raw=False, is_monotone=is_monotone and column.is_monotone, is_stepped=True)


def below(value: float) -> float:
    """Return the greatest float64 below a number."""
    return float(np.nextafter(float(value), -np.inf))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return _text(value)
    if isinstance(value, TensorProto):
        return read_array(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return value


def _text(value: Any) -> Any:
    return value.decode("utf-8") if isinstance(value, bytes) else value
