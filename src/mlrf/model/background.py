"""SHAP values against a background: rows of the caller stand for the features that are not known yet, instead of the covers."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from mlrf.core.errors import InvalidRequestError, NotExplainableError
from mlrf.engines.interface import BackgroundExplainer, Rows
from mlrf.model.row_predictor import RowPredictor

MOST_BACKGROUND_BYTES = 256 << 20
"""Memory that the table of a background may take; a larger one is refused, never sampled."""


@runtime_checkable
class _TakesBackground(Protocol):
    def background(self, rows: Rows, most_bytes: int) -> BackgroundExplainer: ...


def background_explainer(
    model: RowPredictor, background: npt.NDArray[np.float64], most_bytes: int = MOST_BACKGROUND_BYTES
) -> BackgroundExplainer:
    """Return the explainer of a model against the rows [n, F] of a background, all of which it uses.

    InvalidRequestError for a background without rows; NotExplainableError when the model cannot be explained against one, or
    the table would take more than `most_bytes`.
    """
    engine = model.explainer()
    if not isinstance(engine, _TakesBackground):
        raise NotExplainableError(
            f"{model.name} combines several models, which are not explained against a background; leave background out"
        )
    if not len(background):
        raise InvalidRequestError("the background has no rows; give one row or more, or leave background out")
    return engine.background(background.data, most_bytes)
