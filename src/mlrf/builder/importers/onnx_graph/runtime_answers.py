"""ONNX Runtime's own answers to an ONNX file. Runs in a child process."""

from __future__ import annotations

import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlrf.builder.importers.onnx_graph.row_inputs import run_each
from mlrf.core.forest import F64
from mlrf.engines.quiet_onnxruntime import ort

_SILENT = 4
_SPARE_BYTES = 8 << 30
_TIMES_FILE = 8


def answer(
    model: Path,
    rows: F64,
    prediction_rows: F64,  # noqa: ARG001  labels come with the numbers
    settings: Mapping[str, Any],
    threads: int,  # noqa: ARG001  several add up in whatever order they end
) -> tuple[F64, F64, str]:
    """Return the numbers [n, C] of each row run alone, the index of its label [n, 1], and ONNX Runtime's version."""
    _limit_memory(model.stat().st_size)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = _SILENT
    session = ort.InferenceSession(model.read_bytes(), options, providers=["CPUExecutionProvider"])
    return *run_each(session.run, rows, settings), str(ort.__version__)


def _limit_memory(file_bytes: int) -> None:
    """Limit the process's memory, so that a graph that needs too much fails without exhausting the machine."""
    most = _SPARE_BYTES + _TIMES_FILE * file_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
