"""Runs the training library in a child process with a time limit; rows and answers are passed in files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlrf.builder.importers.imported_model import ImportedModel
from mlrf.builder.parity.reference_process import (
    INFINITE_ANSWERS,
    INFINITE_ROWS,
    NOT_INSTALLED,
    OUT_OF_MEMORY,
    VERSION,
)
from mlrf.builder.parity.sparse_rows import SparseRows, as_sparse
from mlrf.builder.temporary_folder import temporary_folder
from mlrf.core.errors import BuildError, ModelUnreadableError
from mlrf.core.forest import F64, I64, Bool

TIME_LIMIT_S = 600.0
_SHOWN_CHARS = 400


@dataclass(frozen=True, slots=True, eq=False)
class InfiniteAnswers:
    """Which of n rows the library answered [n], and their margins [n, K]."""

    answered: Bool
    margins: F64


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Margins [n, K], predictions [w, K] of the selected rows, and the version of the library."""

    margins: F64
    predictions: F64
    version: str
    infinite: InfiniteAnswers | None = None
    """To the rows that hold infinities; None if the library crashed on them."""


@dataclass(frozen=True, slots=True)
class ReferenceRequest:
    """A reference to compare with: a module's `answer`, a model in its library's format, and settings."""

    library: str
    answers: str
    source: bytes
    settings: Mapping[str, Any]
    unused_packages: tuple[str, ...] = ()
    """As `ImportedModel` has it."""


def run_reference_library(
    model: ImportedModel,
    rows: F64 | SparseRows,
    prediction_indices: I64,
    infinite: F64 | None = None,
    *,
    time_limit_s: float = TIME_LIMIT_S,
) -> Answers:
    """Return the training library's answers to rows [n, F], and predictions for those at `prediction_indices` [w].

    `infinite` are rows that the library may refuse.

    BuildError if the library is not installed, crashes or takes too long; ModelUnreadableError if it refuses the model.
    """
    found = run_reference_process(
        ReferenceRequest(model.library, model.answers, model.source, model.settings, model.unused_packages),
        rows,
        prediction_indices,
        time_limit_s,
        infinite,
    )
    n_outputs, n_margins = model.forest.n_outputs, model.margins(np.zeros((1, model.forest.n_outputs))).shape[1]
    if found.margins.shape[1] != n_outputs or found.predictions.shape[1] != n_margins:
        raise ModelUnreadableError(
            f"{model.library} returns {found.margins.shape[1]} outputs, but the model file has {n_outputs}"
        )
    return found


def run_reference_process(
    request: ReferenceRequest,
    rows: F64 | SparseRows,
    prediction_indices: I64,
    time_limit_s: float,
    infinite: F64 | None = None,
) -> Answers:
    """Return a child process's margins of rows [n, F], and its predictions for those at `prediction_indices` [w], ascending.

    Errors as `run_reference_library`.
    """
    with temporary_folder("parity") as folder:
        try:
            (folder / "model").write_bytes(request.source)
            (folder / "settings.json").write_text(json.dumps(dict(request.settings)), encoding="utf-8")
            as_sparse(rows).save(folder)
            np.save(folder / "prediction_indices.npy", prediction_indices, allow_pickle=False)
            if infinite is not None and len(infinite):
                np.save(folder / INFINITE_ROWS, infinite, allow_pickle=False)
            version = _run(request, folder, time_limit_s)
            margins, predictions = (
                np.load(folder / f"{answer}.npy", allow_pickle=False) for answer in ("margins", "predictions")
            )
            answers_to_infinite = _infinite_answers(folder)
        except OSError as error:
            raise BuildError(f"the parity check cannot use {folder}: {error.strerror or error}; set TMPDIR") from error
    if len(margins) != len(rows) or len(predictions) != len(prediction_indices):
        raise ModelUnreadableError(f"{request.library} returned {len(margins)} answers for {len(rows)} rows")
    return Answers(margins.astype(np.float64), predictions.astype(np.float64), version, answers_to_infinite)


def _infinite_answers(folder: Path) -> InfiniteAnswers | None:
    path = folder / INFINITE_ANSWERS
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as found:
        return InfiniteAnswers(found["answered"], found["margins"].astype(np.float64))


def _run(model: ReferenceRequest, folder: Path, time_limit_s: float) -> str:
    threads = str(len(os.sched_getaffinity(0)))
    command = [sys.executable, "-m", "mlrf.builder.parity.reference_process", model.answers, str(folder), threads]
    command += [str(os.getpid()), ",".join(model.unused_packages)]
    try:
        child = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=time_limit_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{model.library} did not predict the golden rows within {time_limit_s:.0f} s") from error
    if (folder / VERSION).exists():
        # A library that crashed on infinities has answered the golden rows before.
        return (folder / VERSION).read_text(encoding="utf-8")
    said = _one_line(child.stderr)
    if child.returncode == NOT_INSTALLED:
        raise BuildError(
            f"{model.library} is not installed, but the build compares the model's predictions with it: pip install "
            f"{model.library} ({said})"
        )
    if child.returncode == OUT_OF_MEMORY:
        raise BuildError(
            f"{model.library} ran out of memory while it predicted the golden rows; build with more memory"
        )
    if child.returncode < 0:
        raise BuildError(f"{model.library} crashed on this model (signal {-child.returncode}): {said}")
    raise ModelUnreadableError(f"{model.library} refuses this model: {said}")


def _one_line(text: str) -> str:
    """Return the output of a process as one line, shortened to its beginning and end if it is long."""
    line = " ".join(text.split()) or "it gave no message"
    return line if len(line) <= _SHOWN_CHARS else f"{line[: _SHOWN_CHARS // 2]} … {line[-_SHOWN_CHARS // 2 :]}"
