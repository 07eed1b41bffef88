"""Interaction values of the kernel: their definition, their sums, every level, tables of combinations, limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import naive_forest as naive
import naive_interactions
from kernel_levels import engines
from mlrf.core.errors import NotExplainableError
from mlrf.core.forest import Forest


def check(forest: Forest, rows: np.ndarray, tmp_path, compared: int = 2) -> None:
    """Interactions are those of the definition, symmetric, and add up to the contributions, at every level."""
    n, k = forest.n_features, forest.n_outputs
    expected = [
        naive_interactions.of_features(forest, naive_interactions.interactions(forest, r)) for r in rows[:compared]
    ]
    scale = max(1.0, float(np.abs(forest.value).max()))
    for engine in engines(forest, tmp_path):
        found = np.array(engine.interactions(rows.tobytes())).reshape(len(rows), n, n, k)
        values = np.array(engine.contributions_many(rows.tobytes())).reshape(len(rows), n, k)
        assert np.array_equal(found, found.transpose(0, 2, 1, 3))
        np.testing.assert_allclose(found.sum(axis=2), values, rtol=0, atol=1e-12 * scale)
        for matrix, definition in zip(found, expected, strict=False):
            off_diagonal = matrix * (1 - np.eye(n))[:, :, None]
            np.testing.assert_allclose(off_diagonal, definition, rtol=0, atol=1e-9 * scale)
        assert found.tobytes() == engine.interactions(rows.tobytes(), 3).tobytes()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_features=st.integers(1, 6),
    n_outputs=st.integers(1, 3),
    n_trees=st.integers(1, 8),
    max_leaves=st.integers(1, 14),
    is_chain=st.booleans(),
    rounding=st.sampled_from(["float64", "float32"]),
    divisor=st.sampled_from([1.0, 3.0]),
)
def test_interactions_are_those_of_the_definition(tmp_path_factory, seed, **shape):
    rng = np.random.default_rng(seed)
    forest = naive.make_forest(rng, **shape)
    check(forest, naive.make_rows(rng, forest, 4), tmp_path_factory.mktemp("forest"))


def test_the_features_of_a_combination_share_its_interactions(tmp_path):
    rng = np.random.default_rng(8)
    plain = naive.make_forest(rng, n_features=4, n_trees=6, n_outputs=2, category_share=0.2, inputs="float32")
    forest = naive.with_tables(plain, rng, n_tables=8)
    assert forest.tables is not None
    assert forest.tables.groups()
    check(forest, naive.make_rows(rng, forest, 4), tmp_path)


def test_long_paths_use_more_quadrature_nodes_than_lanes(tmp_path):
    """The sum over a matrix row is the contribution, however many quadrature nodes it takes."""
    rng = np.random.default_rng(9)
    forest = naive.make_forest(rng, n_features=60, n_trees=3, max_leaves=80, is_chain=True)
    check(forest, naive.make_rows(rng, forest, 3), tmp_path, compared=0)


def test_a_forest_of_leaves_alone_has_no_interactions(tmp_path):
    rng = np.random.default_rng(4)
    forest = naive.make_forest(rng, n_trees=3, max_leaves=1)
    check(forest, naive.make_rows(rng, forest, 2), tmp_path)


@pytest.mark.slow
def test_paths_that_take_too_much_memory_are_refused(tmp_path):
    rng = np.random.default_rng(4)
    forest = naive.make_forest(rng, n_features=1000, n_trees=24, max_leaves=1200, is_chain=True)
    engine = engines(forest, tmp_path)[0]
    with pytest.raises(NotExplainableError, match=r"more than 128 MB.*without interactions"):
        engine.interactions(naive.make_rows(rng, forest, 1).tobytes())
