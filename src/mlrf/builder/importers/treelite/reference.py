"""The answers of treelite's own inference (GTIL). Runs in a child process; the only module of mlrf that imports treelite."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import treelite

from mlrf.core.forest import F64


def answer(
    model: Path,
    rows: F64,
    prediction_rows: F64,
    settings: Mapping[str, Any],
    threads: int,  # noqa: ARG001  OpenMP may allow fewer, and treelite refuses more
) -> tuple[F64, F64, str]:
    """Return the margins of `rows`, the predictions of `prediction_rows`, and treelite's version."""
    loaded = treelite.Model.deserialize_bytes(model.read_bytes())
    number = np.float32 if settings["is_single"] else np.float64

    def ask(table: F64, *, is_margin: bool) -> F64:
        with np.errstate(over="ignore"):
            given = np.ascontiguousarray(table, number)
        found = treelite.gtil.predict(loaded, given, nthread=1, pred_margin=is_margin)
        return np.asarray(found, np.float64).reshape(len(table), settings["outputs"])

    return ask(rows, is_margin=True), ask(prediction_rows, is_margin=False), str(treelite.__version__)
