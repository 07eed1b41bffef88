"""Interaction values of rows, within a limit on the size of an answer: a row of F features has F x F numbers."""

from __future__ import annotations

from array import array

from mlrf.core.errors import BatchTooLargeError, NotExplainableError
from mlrf.engines.interface import Rows
from mlrf.model.row_predictor import RowPredictor


def check_interactions(model: RowPredictor, n_rows: int, most: int) -> None:
    """Refuse n rows that have more than `most` interaction values, or a model that has none.

    NotExplainableError when one row has more, or the engine cannot explain; BatchTooLargeError when the rows have more.
    """
    model.explainer()
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


def interactions_of(model: RowPredictor, rows: Rows, n_rows: int, most: int, threads: int = 1) -> array[float]:
    """Return the interaction values of n rows, [n, F, F, K], from any thread; errors as of `check_interactions`."""
    check_interactions(model, n_rows, most)
    return model.explainer().interactions(rows, threads)
