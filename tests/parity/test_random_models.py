"""200 random models of every library, and some hundred damaged files; `make parity RANDOM=5000` and `make mutated` test more."""

from __future__ import annotations

import os

import numpy as np
import pytest
import threadpoolctl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matrix import holds
from measuring import measure
from mutated_files import mutants, results
from zoo import cells, grow

CELLS = cells()
MODELS_A_LIBRARY = 50
PIPELINES = 6
"""Fewer: every threshold of theirs is found by asking scikit-learn."""
DAMAGED_FILES = 10_000 if os.environ.get("OPS_FULL") else 80


@pytest.mark.parametrize("library", ["lightgbm", "xgboost", "catboost", "sklearn", "pipeline", "onnx"])
def test_random_models_equal_their_library(library):
    of_library = [cell for cell in CELLS if cell.library == library]

    @settings(
        max_examples=PIPELINES if library == "pipeline" else MODELS_A_LIBRARY, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.sampled_from(of_library), st.integers(0, 2**31 - 1), st.integers(1, 8), st.integers(1, 5))
    def check(cell, seed, trees, depth):
        found = measure(grow(cell, seed, trees=trees, depth=depth), most=500)
        assert holds(found), found

    # OpenMP's threads wait for each other by spinning: on a busy machine that takes minutes.
    with threadpoolctl.threadpool_limits(1):
        check()


def test_no_damaged_file_crashes_hangs_or_surprises():
    surprises = {
        name: what for name, _, what, _ in results(mutants(DAMAGED_FILES, 3)) if what not in ("read", "refused")
    }
    assert not surprises
    assert np.unique([name for name, _ in mutants(28, 0)]).size == 20
