"""SHAP values against a background: rows of the caller stand for the features that are not known yet, instead of the covers."""

from __future__ import annotations

from mlrf.core.background_rows import read_background
from mlrf.core.bundle import Bundle
from mlrf.core.errors import BundleError, InvalidRequestError, NotExplainableError
from mlrf.core.manifest import BACKGROUND
from mlrf.engines.interface import BackgroundExplainer, Explainer, GroupExplainer, Rows

MOST_BACKGROUND_BYTES = 256 << 20
"""Memory that the table of a background may take; a larger one is refused, never sampled."""


def explainer_against(
    engine: Explainer | GroupExplainer, rows: Rows, most_bytes: int | None = None
) -> BackgroundExplainer:
    """Return the explainer of an engine against the rows [n, F] of a background, all of which it uses.

    InvalidRequestError for a background without rows; NotExplainableError when the table would take more than `most_bytes`
    (default: `MOST_BACKGROUND_BYTES`).
    """
    if not memoryview(rows).nbytes:
        raise InvalidRequestError("the background has no rows; give one row or more, or leave background out")
    return engine.background(rows, MOST_BACKGROUND_BYTES if most_bytes is None else most_bytes)


def against_stored(bundle: Bundle, engine: Explainer | GroupExplainer, rows: Rows) -> BackgroundExplainer:
    """Return the explainer of an engine against the rows that its bundle stores.

    BundleError when their table takes too much memory.
    """
    try:
        return explainer_against(engine, rows)
    except NotExplainableError as error:
        raise BundleError(f"{bundle.path}: {BACKGROUND}: {error}", file=BACKGROUND) from error


def stored_rows(bundle: Bundle) -> bytes:
    """Return the rows [n, F] that a bundle stores; NotExplainableError for a bundle without them, BundleError if damaged."""
    if BACKGROUND not in bundle.manifest.files:
        raise NotExplainableError(
            f"the bundle of {bundle.name} has no background; build it again with --background, or explain without one"
        )
    return read_background(bundle.file(BACKGROUND), bundle.manifest.n_features).rows
