"""Margins that start at a number given with the row: XGBoost's `base_margin`, LightGBM's `init_score`.

XGBoost starts the float32 sum of the leaves there, in the place of its base score. LightGBM leaves it to its callers to add the
initial score to the raw score: a float64 addition after the sum.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import Any

from mlrf.core.bundle import Bundle
from mlrf.core.errors import InvalidRequestError
from mlrf.core.infinities import LARGEST_FLOAT32
from mlrf.core.value_text import clip
from mlrf.engines.interface import Engine, Rows, WalksTrees

_XGBOOST, _LIGHTGBM = "xgboost", "lightgbm"
TAKE_BASE_MARGINS = (_XGBOOST, _LIGHTGBM)
"""The libraries whose models take base margins."""


def starts_of(base_margin: Any, n_rows: int, n_outputs: int) -> list[float]:
    """Return base margins as a flat list [n, K]; InvalidRequestError unless they are numbers [n] or [n, K], or one number."""
    import numpy as np  # noqa: PLC0415  a server does without

    expected = f"[{n_rows}]" if n_outputs == 1 else f"[{n_rows}, {n_outputs}]"
    try:
        given = np.asarray(base_margin, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(
            f"base_margin must be numbers of the shape {expected}, or one for all rows, not {clip(repr(base_margin))}",
            field="base_margin",
        ) from error
    shape = list(given.shape)
    if given.ndim == 1 and n_outputs == 1:
        given = given[:, None]
    try:
        return [float(each) for each in np.broadcast_to(given, (n_rows, n_outputs)).reshape(-1)]
    except ValueError as error:
        raise InvalidRequestError(
            f"base_margin must be numbers of the shape {expected}, or one for all rows, not of the shape {shape}",
            field="base_margin",
        ) from error


def margins_from(bundle: Bundle, engine: Engine, rows: Rows, base_margins: Sequence[float]) -> array[float]:
    """Return the margins [n, K] of rows that start at base margins [n, K], both row-major; from any thread.

    InvalidRequestError for a model without base margins, or for one that is not finite in the library's precision.
    """
    manifest = bundle.manifest
    if manifest.graph is not None or manifest.combination is not None or manifest.library not in TAKE_BASE_MARGINS:
        raise InvalidRequestError(
            f"{bundle.name} takes no base_margin: models of LightGBM and XGBoost alone have one", field="base_margin"
        )
    if not isinstance(engine, WalksTrees):
        raise InvalidRequestError(
            f"{bundle.name} is served by the engine {engine.name}, which takes no base_margin; use the engine trees",
            field="base_margin",
        )
    largest = LARGEST_FLOAT32 if manifest.precision == "float32" else math.inf
    for number in base_margins:
        if not math.isfinite(number) or abs(number) > largest:
            raise InvalidRequestError(
                f"base_margin must be finite numbers of {manifest.precision}, not {number!r}", field="base_margin"
            )
    if manifest.library == _XGBOOST:
        return engine.margins_from(rows, array("d", base_margins))
    margins = engine.margins(rows)
    if len(margins) != len(base_margins):
        raise AssertionError("each row needs a base margin for each output")
    return array("d", map(float.__add__, margins, base_margins))
