"""CatBoost's own predictions. Runs in a child process; the only module of mlrf that imports CatBoost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import catboost
import numpy as np
import pandas as pd

from mlrf.builder.importers.catboost.cbm_file import MAGIC
from mlrf.core.feature import Category
from mlrf.core.forest import F64

_UNKNOWN = "\x00a category that nobody has"
_PREDICTIONS = {"sigmoid": "Probability", "softmax": "Probability", "sigmoid_each": "Probability", "exp": "Exponent"}


def answer(
    model: Path, rows: F64, prediction_rows: F64, settings: Mapping[str, Any], threads: int
) -> tuple[F64, F64, str]:
    """Return the margins of `rows`, the predictions of `prediction_rows`, and CatBoost's version.

    The settings: `link`, and `categories`: for each column the list that its codes index, None if a code is the
    category.
    """
    with model.open("rb") as file:
        kind = "cbm" if file.read(len(MAGIC)) == MAGIC else "json"
    library = catboost.CatBoost()
    library.load_model(str(model), format=kind)
    by_category = library.get_cat_feature_indices()

    def predict(part: F64, kind: str) -> F64:
        table = _table(part, library, settings["categories"]) if by_category else part
        answers = library.predict(table, prediction_type=kind, thread_count=threads)
        return np.asarray(answers, np.float64).reshape(part.shape[0], -1)

    margins = predict(rows, "RawFormulaVal")
    link = settings["link"]
    predictions = predict(prediction_rows, _PREDICTIONS.get(link, "RawFormulaVal"))
    if link == "sigmoid":
        predictions = predictions[:, 1:]  # of the two classes, the second
    return margins, predictions, str(catboost.__version__)


def _table(rows: F64, library: catboost.CatBoost, categories: Sequence[Sequence[Category] | None]) -> pd.DataFrame:
    by_category = set(library.get_cat_feature_indices())
    columns: dict[str, Any] = {}
    for index, name in enumerate(library.feature_names_):
        if index not in by_category:
            columns[name] = rows[:, index]
            continue
        # As the engine reads a code: truncated toward zero. NaN is in no set; a category of CatBoost is never NaN.
        codes = np.trunc(rows[:, index]).tolist()
        columns[name] = np.array([_category(code, categories[index]) for code in codes], object)
    return pd.DataFrame(columns)


def _category(code: float, listed: Sequence[Category] | None) -> Category:
    if code != code or (listed is not None and not 0 <= code < len(listed)):  # noqa: PLR0124  NaN alone
        return _UNKNOWN
    return int(code) if listed is None else listed[int(code)]
