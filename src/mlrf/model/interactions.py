"""Interaction values of rows, within a limit on the size of an answer: a row of F features has F x F numbers."""

from __future__ import annotations

from array import array

from mlrf.core.errors import BatchTooLargeError, NotExplainableError
from mlrf.engines.interface import Rows
from mlrf.model.row_predictor import RowPredictor


def interactions_of(model: RowPredictor, rows: Rows, n_rows: int, most: int, threads: int = 1) -> array[float]:
    """Return the interaction values of n rows, [n, F, F, K], at most `most` numbers; from any thread.

    NotExplainableError when one row has more, or the engine cannot explain; BatchTooLargeError when the rows have more.
    """
    explainer = model.explainer()
    per_row = model.engine.n_features**2 * model.engine.n_outputs
    if per_row > most:
        raise NotExplainableError(
            f"a row has {per_row} interaction values ({model.engine.n_features} features), more than the {most} of an answer; "
            "request explanations without interactions"
        )
    if n_rows * per_row > most:
        raise BatchTooLargeError(
            f"{n_rows} rows have {n_rows * per_row} interaction values, more than the {most} of an answer; "
            f"explain at most {most // per_row} rows at once",
            max_rows=most // per_row,
        )
    return explainer.interactions(rows, threads)
