"""A row has the same contributions, bit for bit, alone and in a batch of any size, at every level."""

from __future__ import annotations

import numpy as np
import pytest

import naive_forest as naive
from kernel_levels import engines

FOREST = {"n_features": 8, "n_outputs": 2, "n_trees": 12, "max_leaves": 40}


@pytest.mark.parametrize(
    "shape",
    [
        FOREST | {"category_share": 0.0},
        FOREST | {"category_share": 0.5},
        FOREST | {"category_share": 1.0, "n_codes": 127},  # more codes than have masks of their sets
        FOREST | {"rounding": "float32", "inputs": "float32", "base_order": "last", "divisor": 3.0},
        FOREST | {"n_features": 40, "is_chain": True},  # rules with more nodes than vectors hold
        FOREST | {"n_outputs": 6_000, "n_features": 2},  # too many sums for several rows
        FOREST | {"n_trees": 40, "max_leaves": 2},
        FOREST | {"n_trees": 2, "max_leaves": 1},
    ],
)
def test_a_row_has_the_same_bits_in_any_batch(tmp_path, shape):
    rng = np.random.default_rng(17)
    forest = naive.make_forest(rng, **shape)
    with np.errstate(over="ignore"):
        rows = naive.make_rows(rng, forest, 21).astype(np.float32)
    for engine in engines(forest, tmp_path):
        want = [engine.contributions(row.tolist()).tobytes() for row in rows]
        for n in (5, 6, 7, 8, 14, 21):
            found = engine.contributions_many(rows[:n].astype(np.float64)).tobytes()
            assert found == b"".join(want[:n]), (engine.level, n)
        assert engine.contributions_many(rows).tobytes() == b"".join(want), engine.level
