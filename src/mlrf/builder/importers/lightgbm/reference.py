"""LightGBM's own predictions. Runs in a child process; the only module of mlrf that imports LightGBM."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np

from mlrf.core.forest import F64


def answer(
    model: Path, rows: F64, prediction_rows: F64, settings: Mapping[str, Any], threads: int
) -> tuple[F64, F64, str]:
    """Return the margins of `rows`, the predictions of `prediction_rows`, and LightGBM's version."""
    lightgbm.register_logger(_Silent())
    booster = lightgbm.Booster(model_str=model.read_text(encoding="utf-8"))
    # For a random forest LightGBM's raw score is the sum over the trees; the margin is the mean.
    margins = np.asarray(booster.predict(rows, raw_score=True, num_threads=threads)) / settings["divisor"]
    return margins, np.asarray(booster.predict(prediction_rows, num_threads=threads)), lightgbm.__version__


class _Silent:
    """Discards LightGBM's messages: it warns of parameters of newer versions, and nobody reads a child's log."""

    def info(self, message: str) -> None:
        """Drop a message."""

    def warning(self, message: str) -> None:
        """Drop a warning."""
