"""SHAP values against a background: rows of the caller stand for the features that are not known yet, instead of the covers."""

from __future__ import annotations

from mlrf.core.background_rows import read_background
from mlrf.core.errors import BundleError, InvalidRequestError, NotExplainableError
from mlrf.core.manifest import BACKGROUND
from mlrf.engines.interface import BackgroundExplainer, Explainer, Rows
from mlrf.model.row_predictor import RowPredictor

MOST_BACKGROUND_BYTES = 256 << 20
"""Memory that the table of a background may take; a larger one is refused, never sampled."""


def background_explainer(model: RowPredictor, rows: Rows, most_bytes: int | None = None) -> BackgroundExplainer:
    """Return the explainer of a model against the rows [n, F] of a background, all of which it uses.

    InvalidRequestError for a background without rows; NotExplainableError when the model cannot be explained, or the table
    would take more than `most_bytes` (default: `MOST_BACKGROUND_BYTES`).
    """
    return explainer_against(model.explainer(), rows, most_bytes)


def explainer_against(engine: Explainer, rows: Rows, most_bytes: int | None = None) -> BackgroundExplainer:
    """Return the explainer of an engine against a background; arguments and errors as of `background_explainer`."""
    if not memoryview(rows).nbytes:
        raise InvalidRequestError("the background has no rows; give one row or more, or leave background out")
    return engine.background(rows, MOST_BACKGROUND_BYTES if most_bytes is None else most_bytes)


def has_background(model: RowPredictor) -> bool:
    """Return whether the model's bundle has a background, and the engine explains."""
    return BACKGROUND in model.bundle.manifest.files and model.is_explainable


def stored_background(model: RowPredictor) -> BackgroundExplainer:
    """Return the explainer against the rows that the bundle stores.

    NotExplainableError for a bundle without them, BundleError when they are damaged or their table takes too much memory.
    """
    model.explainer()
    if BACKGROUND not in model.bundle.manifest.files:
        raise NotExplainableError(
            f"the bundle of {model.name} has no background; build it again with --background, or send the request without "
            "background"
        )
    found = read_background(model.bundle.file(BACKGROUND), model.engine.n_features)
    try:
        return background_explainer(model, found.rows)
    except NotExplainableError as error:
        raise BundleError(f"{model.bundle.path}: {BACKGROUND}: {error}", file=BACKGROUND) from error
