"""Groups of features as players: their definition over every subset of groups, not the sum of their features' values."""

from __future__ import annotations

import math
from array import array
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import naive_forest as naive
from mlrf import _kernel
from mlrf.builder.exporters.forest_file.encode import encode_forest
from mlrf.core.forest import LEAF, Forest
from mlrf.engines.tree_kernel import TreeEngine

LEVELS = ("baseline", "avx2", "avx512", "vbmi")
MOST_BYTES = 1 << 26


def engines(forest: Forest, tmp_path) -> list[TreeEngine]:
    """The forest at every level of this processor."""
    path = tmp_path / "forest.bin"
    path.write_bytes(encode_forest(forest))
    found = []
    for level in LEVELS:
        try:
            found.append(TreeEngine(path, level))
        except ValueError:
            assert level != "baseline"
    return found


def shapley(n_players: int, worth) -> np.ndarray:
    """The Shapley values of a game by their definition."""
    sets = [frozenset(s) for size in range(n_players + 1) for s in combinations(range(n_players), size)]
    worths = {known: worth(known) for known in sets}
    values = np.zeros(n_players)
    for player in range(n_players):
        for known, value in worths.items():
            if player not in known:
                weight = 1.0 / (n_players * math.comb(n_players - 1, len(known)))
                values[player] += weight * (worths[known | {player}] - value)
    return values


def brute_force(forest: Forest, row: np.ndarray, group_of: list[int], background: np.ndarray | None) -> np.ndarray:
    """[G, K] of the game of groups: unknown features follow the covers, or the rows of a background."""
    own, others = (
        naive.inputs(forest, row),
        [naive.inputs(forest, each) for each in (background if background is not None else [])],
    )
    result = np.zeros((max(group_of) + 1, forest.n_outputs))

    def worth(node: int, known: frozenset[int], other: list[float] | None) -> float:
        if forest.feature[node] == LEAF:
            return float(forest.value[node])
        feature = int(forest.feature[node])
        left, right = int(forest.left[node]), int(forest.right[node])
        is_known = group_of[feature] in known
        if is_known or other is not None:
            value = own[feature] if is_known else other[feature]
            return worth(left if naive.goes_left(forest, node, value) else right, known, other)
        covers = forest.cover[left], forest.cover[right]
        share = covers[0] / sum(covers) if sum(covers) > 0 else 0.5
        return share * worth(left, known, other) + (1 - share) * worth(right, known, other)

    for tree in range(forest.n_trees):
        root = int(forest.tree_offsets[tree])

        def of_tree(known: frozenset[int], root: int = root) -> float:
            return float(np.mean([worth(root, known, other) for other in others or [None]]))

        result[:, forest.tree_output[tree]] += shapley(len(result), of_tree)
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
            explainer = explainer.background(background.tobytes(), MOST_BYTES)
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
