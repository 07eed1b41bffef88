"""The explainer against a background, and the background that a bundle stores."""

from __future__ import annotations

from mlrf.core.background_rows import read_background
from mlrf.core.bundle import Bundle
from mlrf.core.errors import BundleError, InvalidRequestError, NotExplainableError
from mlrf.core.manifest import BACKGROUND
from mlrf.engines.interface import BackgroundExplainer, Explainer, Rows

MOST_BACKGROUND_BYTES = 256 << 20
"""Memory that the table of a background may take; a larger one is refused, never sampled."""


def explainer_against(engine: Explainer, rows: Rows, most_bytes: int | None = None) -> BackgroundExplainer:
    """Return the explainer of an engine against the rows [n, F] of a background; errors as of `background_explainer`."""
    if not memoryview(rows).nbytes:
        raise InvalidRequestError("the background has no rows; give one row or more, or leave background out")
    return engine.background(rows, MOST_BACKGROUND_BYTES if most_bytes is None else most_bytes)


def stored_background(bundle: Bundle, engine: Explainer) -> BackgroundExplainer:
    """Return the explainer of a bundle's engine against the rows that the bundle stores.

    NotExplainableError for a bundle without them, BundleError when they are damaged or their table takes too much memory.
    """
    if BACKGROUND not in bundle.manifest.files:
        raise NotExplainableError(
            f"the bundle of {bundle.name} has no background; build it again with --background, or send the request without "
            "background"
        )
    found = read_background(bundle.file(BACKGROUND), len(bundle.schema.features))
    try:
        return explainer_against(engine, found.rows)
    except NotExplainableError as error:
        raise BundleError(f"{bundle.path}: {BACKGROUND}: {error}", file=BACKGROUND) from error
