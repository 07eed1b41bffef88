"""Rows of float64 as JSON by feature name, for answers and for the prediction log."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from mlrf.core.json_infinities import encoded_infinities
from mlrf.model.row_predictor import RowPredictor

Row = Sequence[float | None]


def instance_json(model: RowPredictor, row: Row) -> bytes:
    """Return a row as an object of feature names and values, categories by value."""
    return msgspec.json.encode(encoded_infinities(model.schema.instance(model.table([row]))))


def instances_json(model: RowPredictor, rows: Sequence[Row | None]) -> bytes:
    """Return rows as an array, null for None."""
    return b"[%b]" % b",".join(b"null" if row is None else instance_json(model, row) for row in rows)
