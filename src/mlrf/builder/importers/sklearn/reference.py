"""scikit-learn's own predictions. Runs in a child process."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import sklearn

from mlrf.builder.importers.sklearn.combinations import expected_depth
from mlrf.builder.importers.sklearn.features import raw_columns
from mlrf.builder.importers.sklearn.objective import Kind, read_kind
from mlrf.builder.importers.sklearn.source import load_skops
from mlrf.core.forest import F64


def answer(
    model: Path,
    rows: F64,
    prediction_rows: F64,
    settings: Mapping[str, Any],  # noqa: ARG001  the file says all
    threads: int,  # noqa: ARG001  several add the trees in whatever order they end
) -> tuple[F64, F64, str]:
    """Return the margins of `rows`, the predictions of `prediction_rows` (categories as codes), and scikit-learn's version."""
    estimator = load_skops(model.read_bytes())
    kind = read_kind(estimator)
    if hasattr(estimator, "n_jobs"):  # get_params fails on a model that lacks a parameter of the current version
        estimator.n_jobs = 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rows without names
        table = raw_columns(estimator, rows)
        chosen = raw_columns(estimator, prediction_rows)
        margins = _margins(estimator, kind, table)
        predictions = _predictions(estimator, kind, chosen)
    return margins.reshape(rows.shape[0], -1), predictions.reshape(prediction_rows.shape[0], -1), sklearn.__version__


def _margins(estimator: Any, kind: Kind, table: Any) -> F64:
    if kind.family in ("tree", "forest", "bagging"):
        return _predictions(estimator, kind, table)
    if kind.family == "isolation":
        return _depths(estimator, table)
    if kind.classes is not None:
        return np.asarray(estimator.decision_function(table), np.float64)
    if kind.family == "histogram":
        return np.asarray(estimator._raw_predict(table), np.float64)  # noqa: SLF001  a regressor shows it nowhere else
    return np.asarray(estimator.predict(table), np.float64)


def _depths(estimator: Any, table: Any) -> F64:
    """Return the mean depth divided by its expectation, the exponent in `score_samples`, in the same operations."""
    rows = np.asarray(table.toarray() if hasattr(table, "toarray") else table, np.float32)
    depths = np.zeros(len(rows))
    for index, (tree, columns) in enumerate(zip(estimator.estimators_, estimator.estimators_features_, strict=True)):
        leaves = tree.apply(rows[:, columns], check_input=False)
        depths += (
            estimator._decision_path_lengths[index][leaves]  # noqa: SLF001
            + estimator._average_path_length_per_tree[index][leaves]  # noqa: SLF001
            - 1.0
        )
    return np.asarray(depths / expected_depth(estimator), np.float64)


def _predictions(estimator: Any, kind: Kind, table: Any) -> F64:
    if kind.family == "isolation":
        return np.asarray(estimator.decision_function(table), np.float64)
    if kind.targets:
        return np.hstack([np.asarray(shares, np.float64) for shares in estimator.predict_proba(table)])
    if kind.classes is None:
        return np.asarray(estimator.predict(table), np.float64)
    shares = np.asarray(estimator.predict_proba(table), np.float64)
    return shares[:, 1] if kind.task == "binary" else shares
