"""XGBoost's own predictions. Runs in a child process; the only module of mlrf that imports XGBoost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from mlrf.core.forest import F64

_VERSION = tuple(map(int, xgboost.__version__.split(".")[:2]))


def answer(
    model: Path, rows: F64, prediction_rows: F64, settings: Mapping[str, Any], threads: int
) -> tuple[F64, F64, str]:
    """Return the margins of `rows`, the predictions of `prediction_rows`, and XGBoost's version."""
    booster = load(model.read_bytes(), settings, threads)
    limits = (0, int(settings["iterations"]))
    margins = booster.predict(
        matrix(booster, rows), output_margin=True, iteration_range=limits, validate_features=False
    )
    predictions = booster.predict(matrix(booster, prediction_rows), iteration_range=limits, validate_features=False)
    return np.asarray(margins, np.float64), np.asarray(predictions, np.float64), str(xgboost.__version__)


def load(raw: bytes, settings: Mapping[str, Any], threads: int) -> Any:
    """Return the Booster of a document."""
    if settings["has_old_vectors"] and _VERSION >= (3, 2):
        raise ValueError(
            f"XGBoost {xgboost.__version__} crashes on vector leaves that XGBoost 3.1 or earlier wrote; build with one of "
            "those installed, or train the model again"
        )
    xgboost.set_config(verbosity=0)
    booster = xgboost.Booster()
    booster.load_model(bytearray(raw))
    booster.set_param({"nthread": threads})
    if settings["objective"]:
        booster.set_param({"objective": settings["objective"]})
    return booster


def matrix(booster: Any, rows: F64) -> Any:
    """Return rows of numbers and codes as XGBoost takes them."""
    return xgboost.DMatrix(rows, feature_types=booster.feature_types, enable_categorical=True, missing=np.nan)
