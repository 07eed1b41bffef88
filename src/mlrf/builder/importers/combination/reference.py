"""Reference of a combination, run in a child process: each member's own library, and scikit-learn for the whole."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import sklearn

from mlrf.builder.importers.combination.source import unpack_source
from mlrf.builder.temporary_folder import temporary_folder
from mlrf.core.forest import F64

_TWO = 2


def answer(
    model: Path, rows: F64, prediction_rows: F64, settings: Mapping[str, Any], threads: int
) -> tuple[F64, F64, str]:
    """Return the margins of all members for `rows`, the whole's predictions of `prediction_rows`, and scikit-learn's version.

    The settings: `members`, each with its `answers` module, its `settings` and the `columns` that it sees (None for all).
    """
    combination, sources = unpack_source(model.read_bytes())
    margins = []
    with temporary_folder("combination") as folder:
        for index, (source, member) in enumerate(zip(sources, settings["members"], strict=True)):
            path = folder / f"member-{index}"
            path.write_bytes(source)
            columns = member["columns"]
            seen = rows if columns is None else np.ascontiguousarray(rows[:, columns])
            found, _, _ = import_module(member["answers"]).answer(path, seen, seen[:1], member["settings"], threads)
            margins.append(np.reshape(found, (len(rows), -1)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rows without names
        predictions = _predictions(combination, _table(combination, prediction_rows))
    return np.hstack(margins), predictions.reshape(len(prediction_rows), -1), sklearn.__version__


def _table(combination: Any, rows: F64) -> Any:
    """Return the rows as the estimator was trained on them: a frame where it knows names."""
    names = getattr(combination, "feature_names_in_", None)
    if names is None:
        return rows
    import pandas as pd  # noqa: PLC0415  an estimator that knows names was trained on a frame

    return pd.DataFrame(rows, columns=list(names))


def _predictions(combination: Any, table: Any) -> F64:
    if not hasattr(combination, "classes_"):
        return np.asarray(combination.predict(table), np.float64)
    probabilities = np.asarray(combination.predict_proba(table), np.float64)
    return probabilities[:, 1:] if probabilities.shape[1] == _TWO else probabilities
