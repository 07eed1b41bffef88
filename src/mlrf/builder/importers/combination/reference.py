"""Reference of a combination, run in a child process: each member's own library, and scikit-learn for the whole."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import sklearn

from mlrf.builder.importers.combination.member_features import table_of
from mlrf.builder.importers.combination.source import unpack_source
from mlrf.core.forest import F64

_TWO = 2


def answer(
    model: Path, rows: F64, prediction_rows: F64, settings: Mapping[str, Any], threads: int
) -> tuple[F64, F64, str]:
    """Return the margins of all members for `rows`, the whole's predictions of `prediction_rows`, and scikit-learn's version.

    The settings: `members`, each with its `answers` module, its `settings` and the `columns` that it sees (None for all), and
    `table`, how rows become the table that scikit-learn takes.
    """
    combination, sources = unpack_source(model.read_bytes())
    margins = []
    with tempfile.TemporaryDirectory(prefix="members-", dir=model.parent) as name:
        folder = Path(name)
        for index, (source, member) in enumerate(zip(sources, settings["members"], strict=True)):
            path = folder / f"member-{index}"
            path.write_bytes(source)
            columns = member["columns"]
            seen = rows if columns is None else np.ascontiguousarray(rows[:, columns])
            found, _, _ = import_module(member["answers"]).answer(path, seen, seen[:1], member["settings"], threads)
            margins.append(np.reshape(found, (len(rows), -1)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rows without names
        predictions = _predictions(combination, table_of(settings["table"], prediction_rows))
    return np.hstack(margins), predictions.reshape(len(prediction_rows), -1), sklearn.__version__


def _predictions(combination: Any, table: Any) -> F64:
    kind = type(combination).__name__
    if kind == "MultiOutputClassifier":
        shares = [np.asarray(each, np.float64) for each in combination.predict_proba(table)]
        # Of targets of two classes alone, the second is served.
        return np.hstack([each[:, 1:] for each in shares] if max(each.shape[1] for each in shares) == _TWO else shares)
    if kind == "OneVsOneClassifier":
        return np.asarray(combination.decision_function(table), np.float64)
    if kind == "VotingClassifier" and combination.voting == "hard":
        probabilities = _shares_of_votes(combination, table)
    elif hasattr(combination, "classes_"):
        probabilities = np.asarray(combination.predict_proba(table), np.float64)
    else:
        return np.asarray(combination.predict(table), np.float64)
    return probabilities[:, 1:] if probabilities.shape[1] == _TWO else probabilities


def _shares_of_votes(combination: Any, table: Any) -> F64:
    weights, n_classes = combination._weights_not_none, len(combination.classes_)  # noqa: SLF001  without dropped members
    counts = np.array([np.bincount(row, weights=weights, minlength=n_classes) for row in combination.transform(table)])
    return np.asarray(counts / counts.sum(axis=1, keepdims=True), np.float64)
