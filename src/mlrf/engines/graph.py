"""A graph of operators behind the engine port: the user's own ONNX file, run by ONNX Runtime as it is.

The port speaks float64; the graph's inputs are of any type, by name. Integers and booleans are cast, and a code stands for its
category, which is how strings get there. What the graph answers are the margins.

Rows are asked one by one, whatever comes together. ONNX Runtime multiplies one row by other kernels than several, and the last
bit may differ (ADR 11); so a row's answer is the one that it gets alone.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from mlrf.core.bundle import GraphEntry
from mlrf.core.errors import BundleError
from mlrf.core.schema import Category
from mlrf.engines.port import Row, Rows
from mlrf.engines.session import start_session

_FLOATS = {"tensor(float)": np.float32, "tensor(double)": np.float64}
_INTEGERS = {
    f"tensor({name})": np.dtype(name)
    for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
}
_STRING, _BOOLEAN = "tensor(string)", "tensor(bool)"
NO_STRING = ""
"""What stands in a column of strings where the value is missing."""

Table = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GraphInput:
    """An input of the graph: the columns of a row that go there, and how."""

    name: str
    kind: str
    """As ONNX Runtime spells it."""
    first: int
    width: int
    is_flat: bool
    """Whether it is [n], not [n, width]."""


class GraphEngine:
    """What an ONNX file answers, row by row. `margin` and `margins` serve any thread.

    A row that the graph refuses, or that holds a code or an integer that there is none of, has no answer: its margins are NaN.
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

        `shape` is (F, K); `categories` by column where codes stand for them.
        """
        self._session = start_session(model)
        self.n_features, self.n_outputs = shape
        self._inputs = read_inputs(self._session, self.n_features, model)
        self._answer = answer
        self._words = {column: _words(values) for column, values in categories.items()}
        self._exact = [
            column
            for each in self._inputs
            if each.kind not in (*_FLOATS, _STRING)
            for column in range(each.first, each.first + each.width)
            if column not in self._words
        ]
        if answer.output not in {output.name for output in self._session.get_outputs()}:
            raise BundleError(f"{model}: the model has no output {answer.output!r}", file=model.name)

    def margin(self, row: Row) -> list[float]:
        """Return the K numbers of one row."""
        return self._answers(np.array([row], np.float64))[0].tolist()  # type: ignore[no-any-return]

    def margins(self, rows: Rows) -> array[float]:
        """Return the numbers of n rows, n x K row-major."""
        answer = array("d")
        answer.frombytes(self._answers(np.frombuffer(rows, dtype=np.float64).reshape(-1, self.n_features)).tobytes())
        return answer

    def _answers(self, rows: Table) -> Table:
        """Return the answers [n, K] to rows [n, F], each asked alone."""
        answers = np.full((len(rows), self.n_outputs), np.nan)
        sound = self._sound(rows)
        with np.errstate(over="ignore", invalid="ignore"):
            columns = {each.name: self._column(each, rows) for each in self._inputs}
        outputs = [self._answer.output]
        for place in range(len(rows)):
            if sound is None or sound[place]:
                feed = {name: values[place : place + 1] for name, values in columns.items()}
                try:
                    (found,) = self._session.run(outputs, feed)
                    answers[place] = read_answer(found, self._answer)
                except Exception:  # noqa: BLE001, S112  ONNX Runtime has no error class of its own to catch
                    continue
        return answers

    def _sound(self, rows: Table) -> npt.NDArray[np.bool_] | None:
        """Return which rows hold what their types can; None where all types hold any number."""
        if not self._exact and not self._words:
            return None
        sound: npt.NDArray[np.bool_] = ~np.any(np.isnan(rows[:, self._exact]), axis=1)
        for column, words in self._words.items():
            codes = rows[:, column]
            is_missing = np.isnan(codes) if isinstance(words[-1], str) else False
            sound &= is_missing | ((codes >= 0) & (codes < len(words) - 1) & (codes == np.floor(codes)))
        return sound

    def _column(self, each: GraphInput, rows: Table) -> npt.NDArray[Any]:
        values = rows[:, each.first : each.first + each.width]
        coded = [column for column in range(each.first, each.first + each.width) if column in self._words]
        if coded:
            held: npt.NDArray[Any] = values.astype(object if each.kind == _STRING else np.float64)
            for column in coded:
                words = self._words[column]
                # The last of them is what stands for a missing value.
                codes = np.nan_to_num(rows[:, column], nan=len(words) - 1).clip(0, len(words) - 1).astype(np.int64)
                held[:, column - each.first] = words[codes]
            values = held
        if each.kind != _STRING:
            values = _cast(values, each.kind)
        return np.ascontiguousarray(values[:, 0] if each.is_flat else values)


def read_inputs(session: ort.InferenceSession, n_features: int, model: Path) -> list[GraphInput]:
    """Return the inputs of a model of F columns, in their order; BundleError when they are not that."""
    inputs: list[GraphInput] = []
    given = session.get_inputs()
    first = 0
    for each in given:
        is_flat = len(each.shape) == 1
        declared = 1 if is_flat else each.shape[-1]
        # One input may leave its width open; of several each says it.
        width = declared if isinstance(declared, int) else n_features if len(given) == 1 else 1
        if each.type not in (*_FLOATS, *_INTEGERS, _STRING, _BOOLEAN) or len(each.shape) not in (1, 2):
            raise BundleError(f"{model}: input {each.name!r} is {each.type} {each.shape}", file=model.name)
        inputs.append(GraphInput(each.name, each.type, first, width, is_flat))
        first += width
    if first != n_features:
        raise BundleError(f"{model}: its inputs have {first} columns, not {n_features}", file=model.name)
    return inputs


def read_answer(found: Any, answer: GraphEntry) -> list[float]:
    """Return what the graph gave for a row as K numbers."""
    # Maps come in the order of their keys, not in that of the classes.
    numbers = found.reshape(-1).tolist() if answer.keys is None else [found[0][key] for key in answer.keys]
    return numbers if answer.column is None else numbers[answer.column : answer.column + 1]


def _words(categories: Sequence[Category]) -> npt.NDArray[Any]:
    """Return categories by code, and behind them what stands for a missing one."""
    if all(isinstance(category, str) for category in categories):
        return np.array([*categories, NO_STRING], object)
    return np.array([*categories, 0], np.float64)


def _cast(values: npt.NDArray[Any], kind: str) -> Any:
    if kind == _BOOLEAN:
        return values != 0.0
    if kind in _FLOATS:
        return values.astype(_FLOATS[kind])
    dtype = _INTEGERS[kind]
    limits = np.iinfo(dtype)
    # The largest float64 within the type: the limits of 64 bits are none.
    top = np.nextafter(float(limits.max), 0.0) if limits.bits == 64 else float(limits.max)  # noqa: PLR2004
    return np.nan_to_num(values).clip(float(limits.min), top).astype(dtype)
