"""Selects the golden rows for `golden.bin`, which servers replay."""

from __future__ import annotations

import numpy as np

from mlrf.core.forest import F64
from mlrf.core.golden_bin import encode_golden_rows, n_kept

_MIN_BYTES = 128 << 10


def golden_file(rows: F64, margins: F64, *, size_bytes: int, most: int | None = None) -> bytes:
    """Return the file with as many of the rows [m, F] and their margins [m, K] as fit, evenly spaced; at least one."""
    count = n_kept(len(rows) if most is None else min(most, len(rows)), rows.shape[1])
    while True:
        kept = np.linspace(0, len(rows) - 1, count).astype(np.int64)
        content = encode_golden_rows(rows[kept].tobytes(), margins[kept].tobytes(), count)
        if count == 1 or len(content) <= max(_MIN_BYTES, size_bytes):
            return content
        count = max(1, count * 2 // 3)
