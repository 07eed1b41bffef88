"""SHAP values against a background: rows of the caller stand for the features that are not known yet, instead of the covers."""

from __future__ import annotations

from mlrf import _kernel
from mlrf.core.errors import InvalidRequestError, NotExplainableError
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
    limit = MOST_BACKGROUND_BYTES if most_bytes is None else most_bytes

    def against(forest: _kernel.Forest, groups: _kernel.Groups | None) -> BackgroundExplainer:
        try:
            return _kernel.Game(forest, "background", rows, limit, groups)
        except _kernel.TooLargeError as error:
            raise NotExplainableError(f"{error}; give fewer rows, or leave background out") from error

    return engine.other_game(against)
