"""Groups of features as players: their definition over every subset of groups, not the sum of their features' values."""

from __future__ import annotations

from array import array

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import naive_forest as naive
from kernel_levels import MOST_BYTES, engines
from mlrf import _kernel
from mlrf.core.forest import LEAF, Forest
from mlrf.model.background import explainer_against


def brute_force(forest: Forest, row: np.ndarray, group_of: list[int], background: np.ndarray | None) -> np.ndarray:
    """[G, K] of the game of groups: unknown features follow the covers, or the rows of a background."""
    own, nodes = naive.inputs(forest, row), naive.nodes_of(forest)
    others = [None] if background is None else [naive.inputs(forest, each) for each in background]
    n_groups = max(group_of) + 1
    result = np.zeros((n_groups, forest.n_outputs))

    def worth(node: int, known: frozenset[int], other: list[float] | None) -> float:
        feature = nodes.feature[node]
        if feature == LEAF:
            return nodes.value[node]
        left, right = nodes.left[node], nodes.right[node]
        is_known = group_of[feature] in known
        if is_known or other is not None:
            value = own[feature] if is_known else other[feature]
            return worth(left if naive.goes_left(forest, node, value) else right, known, other)
        share = naive.share_left(forest, node)
        return share * worth(left, known, other) + (1 - share) * worth(right, known, other)

    for tree in range(forest.n_trees):
        root = int(forest.tree_offsets[tree])
        worths = {s: float(np.mean([worth(root, s, each) for each in others])) for s in naive.subsets(n_groups)}
        result[:, forest.tree_output[tree]] += naive.shapley_values(n_groups, worths)
    return result / forest.divisor * forest.scale


def grouped(engine, group_of):
    return engine.grouped(array("I", group_of), max(group_of) + 1)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_features=st.integers(1, 6),
    n_outputs=st.integers(1, 3),
    n_trees=st.integers(1, 5),
    max_leaves=st.integers(1, 12),
    is_chain=st.booleans(),
    rounding=st.sampled_from(["float64", "float32"]),
    n_background=st.integers(0, 4),
)
def test_values_are_those_of_the_game_of_groups(tmp_path_factory, seed, n_background, **shape):
    rng = np.random.default_rng(seed)
    forest = naive.make_forest(rng, **shape)
    group_of = np.unique(rng.integers(0, 3, size=forest.n_features), return_inverse=True)[1].tolist()
    rows = naive.make_rows(rng, forest, 20)
    background = naive.make_rows(rng, forest, n_background) if n_background else None
    n_groups, k = max(group_of) + 1, forest.n_outputs
    expected = [brute_force(forest, row, group_of, background) for row in rows[:2]]
    margins = np.array([naive.margins(forest, row) for row in rows])
    scale = max(1.0, float(np.abs(forest.value).max()), float(np.abs(margins).max()))
    slack = 1e-9 if forest.rounding == "float64" else 1e-5
    for engine in engines(forest, tmp_path_factory.mktemp("forest")):
        explainer = grouped(engine, group_of)
        if background is not None:
            explainer = explainer_against(explainer, background.tobytes(), MOST_BYTES)
        found = np.array(explainer.contributions_many(rows.tobytes())).reshape(len(rows), n_groups, k)
        np.testing.assert_allclose(found.sum(axis=1) + explainer.base, margins, rtol=0, atol=1e-9 * scale)
        for values, definition in zip(found, expected, strict=False):
            np.testing.assert_allclose(values, definition, rtol=0, atol=slack * scale)
        one = np.array(explainer.contributions_many(rows[:1].tobytes())).reshape(n_groups, k)
        np.testing.assert_allclose(one, found[0], rtol=0, atol=1e-12 * scale)
        assert found.tobytes() == bytes(explainer.contributions_many(rows.tobytes(), 3))


def test_a_group_is_not_the_sum_of_its_features(tmp_path):
    """Where two features of a group interact with a third, the group gets another share of it than both have alone."""
    rng = np.random.default_rng(3)
    forest = naive.make_forest(rng, n_features=3, n_trees=20, max_leaves=12)
    engine = engines(forest, tmp_path)[-1]
    row = naive.make_rows(rng, forest, 1)
    alone = np.array(engine.contributions_many(row.tobytes()))
    together = np.array(grouped(engine, [0, 0, 1]).contributions_many(row.tobytes()))
    assert abs(together[0] - alone[:2].sum()) > 1e-3
    np.testing.assert_allclose(together.sum(), alone.sum(), rtol=0, atol=1e-9)
    # A group of one feature each is the ordinary game.
    np.testing.assert_allclose(grouped(engine, [0, 1, 2]).contributions_many(row.tobytes()), alone, rtol=0, atol=1e-12)


def test_a_combination_of_categories_must_be_in_one_group(tmp_path):
    rng = np.random.default_rng(8)
    plain = naive.make_forest(rng, n_features=4, n_trees=4, n_outputs=2, category_share=0.2, inputs="float32")
    forest = naive.with_tables(plain, rng, n_tables=8)
    engine = engines(forest, tmp_path)[0]
    combination = engine.combinations[0]
    assert len(combination) > 1
    apart = [0] * forest.n_features
    apart[combination[0]] = 1
    with pytest.raises(ValueError, match="the features of a combination are in several groups"):
        grouped(engine, apart)
    rows = naive.make_rows(rng, forest, 3)
    whole = np.array(grouped(engine, [0] * forest.n_features).contributions_many(rows.tobytes())).reshape(3, 1, 2)
    expected = np.array([naive.margins(forest, row) for row in rows]) - engine.base
    np.testing.assert_allclose(whole[:, 0], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("group_of", "n_groups", "message"),
    [
        ([0, 0], 1, "each feature needs a group"),
        ([0, 0, 2], 2, "a feature is in no group"),
        ([0, 0, 0], 0, "more groups than features, or none"),
        ([0, 0, 0], 4, "more groups than features, or none"),
    ],
)
def test_invalid_groups_are_refused(tmp_path, group_of, n_groups, message):
    engine = engines(naive.make_forest(np.random.default_rng(3), n_features=3), tmp_path)[0]
    with pytest.raises(ValueError, match=message):
        _kernel.Groups(engine, array("I", group_of), n_groups)
