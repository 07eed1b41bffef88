"""SHAP values against a background: rows of the caller stand for the features that are not known yet, instead of the covers."""

from __future__ import annotations

from mlrf.core.manifest import BACKGROUND
from mlrf.engines.interface import BackgroundExplainer, Rows
from mlrf.model.row_predictor import RowPredictor
from mlrf.model.stored_background import explainer_against


def background_explainer(model: RowPredictor, rows: Rows, most_bytes: int | None = None) -> BackgroundExplainer:
    """Return the explainer of a model against the rows [n, F] of a background, all of which it uses.

    InvalidRequestError for a background without rows; NotExplainableError when the model cannot be explained, or the table
    would take more than `most_bytes` (default: `MOST_BACKGROUND_BYTES`).
    """
    return explainer_against(model.explainer(), rows, most_bytes)


def has_background(model: RowPredictor) -> bool:
    """Return whether the model's bundle has a background, and the engine explains."""
    return BACKGROUND in model.bundle.manifest.files and model.is_explainable
