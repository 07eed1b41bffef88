"""Values are ranked among a feature's thresholds, in blocks and in single rows: one at each threshold, beside it, and beyond all."""

from __future__ import annotations

import numpy as np
import pytest

from kernel_levels import engines
from split_forests import forest_of_splits


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 31, 32, 33, 240, 254, 255, 256, 257, 300])
@pytest.mark.parametrize("has_infinity", [False, True])
def test_every_threshold_is_counted(tmp_path, n, has_infinity):
    splits = np.sort(np.random.default_rng(n).normal(size=n))
    if has_infinity:
        splits[-1] = np.inf
    near = [splits, np.nextafter(splits, -np.inf), np.nextafter(splits, np.inf)]
    values = np.concatenate([*near, [-np.inf, np.inf, np.nan, 0.0, -0.0, 5e-324]])
    expected = (values[:, None] > splits[None, :]).sum(axis=1).astype(np.float64)
    for engine in engines(forest_of_splits(splits), tmp_path):
        block = np.array(engine.margins(np.tile(values, 3).reshape(-1, 1)))
        assert block.tolist() == np.tile(expected, 3).tolist()
        assert [engine.margins(row.reshape(1, 1))[0] for row in values] == expected.tolist()
