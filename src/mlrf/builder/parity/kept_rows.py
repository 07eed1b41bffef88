"""Selects the golden rows that a bundle stores: as many of each kind as fit the size limit."""

from __future__ import annotations

import numpy as np

from mlrf.builder.parity.golden_rows import KINDS, GoldenRows
from mlrf.core.forest import I64

MAX_KEPT_A_KIND = 500
_MAX_CONTRIBUTIONS = 8 << 20
"""Numbers in the table of the kept rows' contributions, which is in memory at once."""
_MANY = 100
_BYTES, _ALTERED_BYTES = 8, 12
_WHOLE_KINDS = tuple(map(KINDS.index, ("sampled", "random")))


def kept_rows(golden: GoldenRows, *, n_outputs: int, size_bytes: int) -> I64:
    """Return the ascending indices of the rows that a bundle stores, spread over the kinds and over each kind.

    Stored as differences they take about `size_bytes`: for a wide model few complete rows, and the rows that differ from those.
    """
    rows, kinds = golden.rows, golden.kinds
    present = np.unique(kinds).tolist()
    row_bytes = _BYTES * rows.n_features
    most = min(MAX_KEPT_A_KIND, max(4, _MAX_CONTRIBUTIONS // (rows.n_features * n_outputs * len(present))))
    each = size_bytes // (row_bytes * len(present))
    if each >= _MANY:
        return np.sort(np.concatenate([_spread(np.flatnonzero(kinds == kind), min(most, each)) for kind in present]))
    share = size_bytes // (2 * len(present))
    altered = ~np.isin(kinds, _WHOLE_KINDS)
    starts = np.unique(rows.start[altered]).astype(np.int64)
    near = altered & np.isin(rows.start, _spread(starts, max(1, size_bytes // (4 * row_bytes))))
    sizes = np.diff(rows.offsets)
    kept = []
    for kind in present:
        if kind in _WHOLE_KINDS:
            kept.append(_spread(np.flatnonzero(kinds == kind), min(most, max(2, share // row_bytes))))
            continue
        candidates = np.flatnonzero(near & (kinds == kind))
        cost = _ALTERED_BYTES * float(np.mean(sizes[candidates])) if len(candidates) else 1.0
        kept.append(_spread(candidates, min(most, max(2, int(share // max(1.0, cost))))))
    return np.sort(np.concatenate(kept))


def _spread(items: I64, most: int) -> I64:
    if not len(items):
        return items.astype(np.int64)
    return items[np.unique(np.linspace(0, len(items) - 1, most).astype(np.int64))].astype(np.int64)
