"""The engine for graphs of operators: the user's own ONNX file, run unaltered by ONNX Runtime.

The engine interface has float64 rows; the graph has named inputs of any type. Integers and booleans are cast, and codes are
replaced by their categories if the graph expects strings. The graph's outputs are the margins.

Rows are always run one by one. ONNX Runtime uses other kernels for one row than for several, and the last bit may differ (ADR
11); this way a row gives the same margins alone and in a batch.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from mlrf.core.errors import BundleError
from mlrf.core.feature import Category
from mlrf.core.manifest import GraphEntry
from mlrf.engines.interface import Row, Rows
from mlrf.engines.onnx_session import InterruptibleRuns, start_session
from mlrf.engines.quiet_onnxruntime import ort

_FLOATS = {"tensor(float)": np.float32, "tensor(double)": np.float64}
_STRING, _BOOLEAN = "tensor(string)", "tensor(bool)"
_OTHERS: dict[str, Any] = {
    f"tensor({name})": np.dtype(name)
    for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")
} | {_STRING: object}
NO_STRING = ""
"""The string for a missing value in a column of strings."""


@dataclass(frozen=True, slots=True)
class GraphInput:
    """An input of the graph: which columns of a row it takes and how they are converted."""

    name: str
    kind: str
    """Element type as ONNX Runtime spells it."""
    first: int
    width: int
    is_flat: bool
    """Whether it is [n], not [n, width]."""


class GraphEngine(InterruptibleRuns):
    """Runs an ONNX file row by row. Any thread may call `margin` and `margins`.

    The margins are NaN for a row that the graph refuses, or that has an unknown code or a number that is not an integer.
    """

    name: ClassVar[str] = "onnxruntime"

    def __init__(
        self,
        model: Path,
        answer: GraphEntry,
        shape: tuple[int, int],
        categories: Mapping[int, Sequence[Category]],
    ) -> None:
        """Load the model; BundleError when ONNX Runtime refuses it or it does not fit.

        `shape` is (F, K); `categories`: by column, the categories of its codes.
        """
        super().__init__()
        self._session = start_session(model)
        self.n_features, self.n_outputs = shape
        self._input_makers = [
            (each.name, _input_maker(each, categories)) for each in read_inputs(self._session, shape[0], model)
        ]
        self._answer = answer
        self._outputs = [answer.output]
        if answer.output not in {output.name for output in self._session.get_outputs()}:
            raise BundleError(f"{model}: the model has no output {answer.output!r}", file=model.name)

    def margin(self, row: Row) -> list[float]:
        """Return the K numbers of one row."""
        try:
            # A number beyond float32 becomes an infinity, of which NumPy should not warn.
            with np.errstate(over="ignore"):
                feed = {name: make(row) for name, make in self._input_makers}
            (found,) = self._session.run(self._outputs, feed, self.run_options)
            numbers = read_answer(found, self._answer)
        except Exception:  # noqa: BLE001  ONNX Runtime has no error class
            numbers = []
        return numbers if len(numbers) == self.n_outputs else [math.nan] * self.n_outputs

    def margins(self, rows: Rows, threads: int = 1) -> array[float]:  # noqa: ARG002  of the interface
        """Return the numbers of n rows, n x K row-major; one thread computes them."""
        table = np.frombuffer(rows, dtype=np.float64).reshape(-1, self.n_features)
        return array("d", [number for row in table for number in self.margin(row.tolist())])


def read_inputs(session: ort.InferenceSession, n_features: int, model: Path) -> list[GraphInput]:
    """Return the inputs of a model of F columns, in their order; BundleError when they do not fit."""
    inputs: list[GraphInput] = []
    given = session.get_inputs()
    first = 0
    for each in given:
        is_flat = len(each.shape) == 1
        declared = 1 if is_flat else each.shape[-1]
        # A single input may leave its width open; several must each state it.
        width = declared if isinstance(declared, int) else n_features if len(given) == 1 else 1
        if each.type not in (*_FLOATS, *_OTHERS) or len(each.shape) not in (1, 2):
            raise BundleError(f"{model}: input {each.name!r} is {each.type} {each.shape}", file=model.name)
        inputs.append(GraphInput(each.name, each.type, first, width, is_flat))
        first += width
    if first != n_features:
        raise BundleError(f"{model}: its inputs have {first} columns, not {n_features}", file=model.name)
    return inputs


def read_answer(found: Any, answer: GraphEntry) -> list[float]:
    """Return the graph's output for a row as K numbers."""
    # Maps are in the order of their keys, not of the classes.
    numbers = found.reshape(-1).tolist() if answer.keys is None else [found[0][key] for key in answer.keys]
    return numbers if answer.column is None else numbers[answer.column : answer.column + 1]


def _input_maker(each: GraphInput, categories: Mapping[int, Sequence[Category]]) -> Callable[[Row], npt.NDArray[Any]]:
    """Return a function from a row to an input of the graph; it raises ValueError or another error of conversion."""
    first, last = each.first, each.first + each.width
    dtype = _FLOATS.get(each.kind) or _OTHERS[each.kind]
    if each.kind in _FLOATS and not any(column in categories for column in range(first, last)):
        if each.is_flat:
            return lambda row: np.array(row[first:last], dtype)
        return lambda row: np.array([row[first:last]], dtype)
    readers = [_reader(each.kind, categories.get(column)) for column in range(first, last)]

    def make(row: Row) -> npt.NDArray[Any]:
        values = [read(x) for read, x in zip(readers, row[first:last], strict=True)]
        return np.array(values if each.is_flat else [values], dtype)

    return make


def _reader(kind: str, categories: Sequence[Category] | None) -> Callable[[float | None], Any]:
    """Return a function that converts a row's number to the graph's value."""
    if categories is not None:
        return _reader_of_codes(categories, NO_STRING if kind == _STRING else None)
    if kind in _FLOATS:
        return lambda x: math.nan if x is None else x
    if kind == _BOOLEAN:
        return lambda x: bool(int(_known(x)))
    limits = np.iinfo(_OTHERS[kind])
    least, most = int(limits.min), int(limits.max)
    return lambda x: min(max(int(_known(x)), least), most)


def _reader_of_codes(categories: Sequence[Category], missing: str | None) -> Callable[[float | None], Any]:
    by_code: dict[float, Category] = {float(code): category for code, category in enumerate(categories)}

    def read(x: float | None) -> Category:
        if (x is None or x != x) and missing is not None:  # noqa: PLR0124  NaN alone
            return missing
        return by_code[_known(x)]

    return read


def _known(x: float | None) -> float:
    if x is None:
        raise ValueError("a missing value in a column whose type has none")
    return x
