"""The ONNX Runtime engine: portable, and the reference for the other engines.

Buffers are bound once, because on one row the binding costs as much as the trees (measured: 1.8 µs bound against 3.5 µs for
`run`).
"""

from __future__ import annotations

import struct
from array import array
from pathlib import Path
from typing import ClassVar

import numpy as np

from mlrf.core.errors import BundleError, EngineError
from mlrf.engines.interface import Row, Rows
from mlrf.engines.onnx_session import InterruptibleRuns, start_session
from mlrf.engines.quiet_onnxruntime import ort

INPUT = "features"
OUTPUT = "margin"
_SLICE_ROWS = 50
"""Rows per call. A model with categories expands each row to thousands of columns, and those of 50 rows fit in the
cache (measured, 3,184 columns: 24.4 µs a row at 50, 27.0 at 100, 102 at 400 as each call then maps fresh memory)."""


class OnnxRuntimeEngine(InterruptibleRuns):
    """Raw margins from `model.onnx`: input `features` double [n, F], output `margin` double [n, K]."""

    name: ClassVar[str] = "onnxruntime"

    def __init__(self, model: Path) -> None:
        """Load the model; BundleError when ONNX Runtime refuses it or its input and output are not the contract's."""
        super().__init__()
        self._session = start_session(model)
        self._n_features, self._n_outputs = _check_signature(self._session, model)
        self._row = np.zeros((1, self._n_features))
        self._margins = np.zeros((1, self._n_outputs))
        # The arrays back these values: ONNX Runtime reads and writes them in place.
        self._values = [ort.OrtValue.ortvalue_from_numpy(a) for a in (self._row, self._margins)]
        binding = self._session.io_binding()
        binding.bind_ortvalue_input(INPUT, self._values[0])
        binding.bind_ortvalue_output(OUTPUT, self._values[1])
        self._binding = binding
        self._pack = struct.Struct(f"={self._n_features}d").pack_into
        self._row_buffer = self._row.data.cast("B")

    @property
    def n_features(self) -> int:
        """F, the columns of a row."""
        return self._n_features

    @property
    def n_outputs(self) -> int:
        """K, the margins of a row."""
        return self._n_outputs

    def margin(self, row: Row) -> list[float]:
        """Return the K raw margins of one row; EngineError when ONNX Runtime fails."""
        try:
            self._pack(self._row_buffer, 0, *row)
        except struct.error:
            # Missing values are converted only in rows that have some, so that other rows take no longer.
            self._pack(self._row_buffer, 0, *[np.nan if x is None else x for x in row])
        try:
            self._session.run_with_iobinding(self._binding, self.run_options)
        except Exception as error:
            raise EngineError("ONNX Runtime could not answer a row") from error
        return self._margins[0].tolist()  # type: ignore[no-any-return]

    def margins(self, rows: Rows, threads: int = 1) -> array[float]:  # noqa: ARG002  of the interface
        """Return the raw margins of n rows, n x K row-major, on one thread; EngineError when ONNX Runtime fails."""
        table = np.frombuffer(rows, dtype=np.float64).reshape(-1, self._n_features)
        answer = array("d", bytes(8 * len(table) * self._n_outputs))
        margins = np.frombuffer(answer, dtype=np.float64).reshape(-1, self._n_outputs)
        try:
            for first in range(0, len(table), _SLICE_ROWS):
                part = table[first : first + _SLICE_ROWS]
                (margins[first : first + _SLICE_ROWS],) = self._session.run([OUTPUT], {INPUT: part}, self.run_options)
        except Exception as error:
            raise EngineError(f"ONNX Runtime could not answer {len(table)} rows") from error
        return answer


def _check_signature(session: ort.InferenceSession, model: Path) -> tuple[int, int]:
    inputs = {i.name: i for i in session.get_inputs()}
    outputs = {o.name: o for o in session.get_outputs()}
    for kind, name, found in (("input", INPUT, inputs), ("output", OUTPUT, outputs)):
        if name not in found:
            raise BundleError(f"{model}: the model has no {kind} named {name!r}", file=model.name)
        value = found[name]
        if value.type != "tensor(double)" or len(value.shape) != 2 or not isinstance(value.shape[1], int):  # noqa: PLR2004
            raise BundleError(
                f"{model}: {kind} {name!r} is {value.type} {value.shape}, not double [n, m]", file=model.name
            )
    return inputs[INPUT].shape[1], outputs[OUTPUT].shape[1]
