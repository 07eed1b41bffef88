"""An ONNX Runtime session configured for a worker process.

It has one thread, because a worker is a process and a row takes microseconds. It may only be imported after the fork: ONNX
Runtime and NumPy start threads, and threads do not survive a fork.
"""

from __future__ import annotations

from pathlib import Path

from mlrf.core.errors import BundleError
from mlrf.core.trim_memory import trim_memory
from mlrf.engines.quiet_onnxruntime import ort

_SILENT = 4


def start_session(model: Path) -> ort.InferenceSession:
    """Return a session with the model; BundleError if ONNX Runtime refuses it."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = _SILENT
    # An arena would keep the largest batch's memory forever.
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = ort.InferenceSession(model.read_bytes(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BundleError(
            f"{model}: ONNX Runtime {ort.__version__} cannot load it: {error}", file=model.name
        ) from error
    trim_memory()  # measured: 24 of 77 MB per worker
    return session


class InterruptibleRuns:
    """Run options of a session, through which another thread can abort a run (a graph may loop forever)."""

    def __init__(self) -> None:
        self.run_options = ort.RunOptions()
        self.run_options.log_severity_level = _SILENT

    def interrupt(self) -> None:
        """Abort the current run and all later ones with an error of ONNX Runtime."""
        self.run_options.terminate = True

    def resume(self) -> None:
        """Allow runs again."""
        self.run_options.terminate = False
