"""SHAP values against a background: their definition over every subset, every row used, every level, limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import naive_forest as naive
from kernel_levels import MOST_BYTES, engines
from mlrf import _kernel
from mlrf.core.forest import LEAF, Forest


def brute_force(forest: Forest, row: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Return the mean over the background of the Shapley values of x -> f(x with the values of a background row elsewhere)."""
    own, owner, nodes = naive.inputs(forest, row), forest.owner.tolist(), naive.nodes_of(forest)
    n = max(owner) + 1
    result = np.zeros((n, forest.n_outputs))
    for other in (naive.inputs(forest, each) for each in background):

        def worth(node: int, known: frozenset[int], other: list[float] = other) -> float:
            while (feature := nodes.feature[node]) != LEAF:
                value = own[feature] if owner[feature] in known else other[feature]
                node = (nodes.left if naive.goes_left(forest, node, value) else nodes.right)[node]
            return nodes.value[node]

        for tree in range(forest.n_trees):
            root = int(forest.tree_offsets[tree])
            worths = {known: worth(root, known) for known in naive.subsets(n)}
            result[:, forest.tree_output[tree]] += naive.shapley_values(n, worths)
    return naive.share_groups(forest, result / len(background)) / forest.divisor * forest.scale


def check(forest: Forest, rows: np.ndarray, background: np.ndarray, tmp_path, compared: int = 2) -> None:
    """Values are those of the definition and add up to the margins, at every level and on several threads."""
    n, k = forest.n_features, forest.n_outputs
    expected = [brute_force(forest, row, background) for row in rows[:compared]]
    margins = np.array([naive.margins(forest, row) for row in rows])
    mean = np.mean([naive.margins(forest, row) for row in background], axis=0)
    scale = max(1.0, float(np.abs(forest.value).max()), float(np.abs(margins).max()))
    slack = 1e-9 if forest.rounding == "float64" else 1e-5
    for engine in engines(forest, tmp_path):
        against = _kernel.Game(engine, "background", background.tobytes(), MOST_BYTES)
        found = np.array(against.contributions_many(rows.tobytes())).reshape(len(rows), n, k)
        np.testing.assert_allclose(against.base, mean, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(found.sum(axis=1) + against.base, margins, rtol=0, atol=1e-9 * scale)
        for values, definition in zip(found, expected, strict=False):
            np.testing.assert_allclose(values, definition, rtol=0, atol=slack * scale)
        assert found.tobytes() == bytes(against.contributions_many(rows.tobytes(), 3))
        assert found[:1].tobytes() == bytes(against.contributions_many(rows[:1].tobytes()))


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_features=st.integers(1, 5),
    n_outputs=st.integers(1, 3),
    n_trees=st.integers(1, 6),
    max_leaves=st.integers(1, 12),
    is_chain=st.booleans(),
    rounding=st.sampled_from(["float64", "float32"]),
    n_background=st.integers(1, 6),
)
def test_values_are_those_of_the_definition(tmp_path_factory, seed, n_background, **shape):
    rng = np.random.default_rng(seed)
    forest = naive.make_forest(rng, **shape)
    background = naive.make_rows(rng, forest, n_background)
    check(forest, naive.make_rows(rng, forest, 20), background, tmp_path_factory.mktemp("forest"))


def test_the_features_of_a_combination_share_its_values(tmp_path):
    rng = np.random.default_rng(8)
    plain = naive.make_forest(rng, n_features=4, n_trees=4, n_outputs=2, category_share=0.2, inputs="float32")
    forest = naive.with_tables(plain, rng, n_tables=8)
    assert forest.tables is not None
    assert forest.tables.groups()
    check(forest, naive.make_rows(rng, forest, 3), naive.make_rows(rng, forest, 3), tmp_path)


def test_every_row_of_the_background_counts(tmp_path):
    """Leaving out any row of the background changes the base: none is dropped or sampled."""
    rng = np.random.default_rng(5)
    forest = naive.make_forest(rng, n_trees=20, max_leaves=20)
    engine = engines(forest, tmp_path)[-1]
    background = rng.normal(size=(300, forest.n_features))
    whole = _kernel.Game(engine, "background", background.tobytes(), MOST_BYTES)
    row = rng.normal(size=(1, forest.n_features)).tobytes()
    alone = [
        np.array(_kernel.Game(engine, "background", each.tobytes(), MOST_BYTES).contributions_many(row))
        for each in background
    ]
    np.testing.assert_allclose(whole.contributions_many(row), np.mean(alone, axis=0), rtol=0, atol=1e-12)


def test_a_table_above_its_limit_is_refused(tmp_path):
    rng = np.random.default_rng(5)
    forest = naive.make_forest(rng, n_trees=20, max_leaves=20)
    engine = engines(forest, tmp_path)[0]
    background = naive.make_rows(rng, forest, 200).tobytes()
    size = _kernel.Game(engine, "background", background, MOST_BYTES).size_bytes
    assert size < MOST_BYTES
    with pytest.raises(_kernel.TooLargeError, match="the table of this background takes more than 0 MB"):
        _kernel.Game(engine, "background", background, size // 4)


def test_a_path_of_more_features_than_bits_is_refused(tmp_path):
    rng = np.random.default_rng(9)
    forest = naive.make_forest(rng, n_features=60, n_trees=3, max_leaves=120, is_chain=True)
    engine = engines(forest, tmp_path)[0]
    with pytest.raises(_kernel.TooLargeError, match="a path of its trees tests more than 32 different features"):
        _kernel.Game(engine, "background", naive.make_rows(rng, forest, 2).tobytes(), MOST_BYTES)


def test_a_background_without_rows_is_refused(tmp_path):
    rng = np.random.default_rng(9)
    engine = engines(naive.make_forest(rng), tmp_path)[0]
    with pytest.raises(ValueError, match="a background needs one row or more"):
        _kernel.Game(engine, "background", b"", MOST_BYTES)


def test_a_game_that_the_kernel_does_not_have_is_refused(tmp_path):
    rng = np.random.default_rng(9)
    forest = naive.make_forest(rng)
    rows = naive.make_rows(rng, forest, 2).tobytes()
    with pytest.raises(ValueError, match="the kernel has no game of the name another"):
        _kernel.Game(engines(forest, tmp_path)[0], "another", rows, MOST_BYTES)
