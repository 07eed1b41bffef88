"""Golden rows reach each node's edge, both of its sides, and its missing rule."""

from __future__ import annotations

import math

import numpy as np
import pytest

from forests import random_forest, visits
from mlrf.builder.importers.detect import import_model
from mlrf.builder.parity.golden_rows import KINDS, RANDOM_ROWS, golden_rows
from mlrf.core.forest import LEAF, NUMERIC, ZERO_BAND


def test_golden_rows_reach_every_node_of_a_real_model(booster, frame):
    forest = import_model(booster).forest
    found = golden_rows(forest, None, lambda _: None)
    probes = np.isin(found.kinds, [KINDS.index(k) for k in ("threshold", "missing", "categories", "zero")])
    seen = visits(forest, found.rows.dense()[probes])
    for node in np.flatnonzero(forest.feature != LEAF).tolist():
        if forest.category_set[node] == NUMERIC:
            t = float(forest.threshold[node])
            expected = {t, math.nextafter(t, math.inf), math.nextafter(t, -math.inf)}
            assert expected <= seen[node] | {None}
        else:
            codes = set(map(float, forest.category_codes(int(forest.category_set[node])).tolist()))
            assert codes & seen[node]
            assert seen[node] - codes


@pytest.mark.parametrize("seed", range(12))
def test_reached_and_unreachable_nodes_add_up_on_odd_forests(seed):
    forest = random_forest(seed, trees=3, depth=5)
    found = golden_rows(forest, None, lambda _: None)
    inner = int(np.count_nonzero(forest.feature != LEAF))
    assert found.coverage.nodes + found.coverage.unreachable == inner
    seen = visits(forest, found.rows.dense())
    assert len(seen) >= found.coverage.nodes


def test_rows_are_the_same_every_time_and_of_every_kind(booster, frame):
    forest = import_model(booster).forest
    sampled = np.nan_to_num(np.random.default_rng(0).normal(size=(50, 4)))
    one, two = (golden_rows(forest, sampled, lambda _: None) for _ in range(2))
    np.testing.assert_array_equal(one.rows.dense(), two.rows.dense())
    assert {KINDS[k] for k in one.kinds.tolist()} == {*KINDS} - {"tables"}
    zero = one.rows.dense()[one.kinds == KINDS.index("zero")]
    assert np.any(zero == ZERO_BAND)
    assert np.any(np.signbit(zero) & (zero == 0.0))
    missing = one.rows.dense()[one.kinds == KINDS.index("missing")]
    assert np.any(np.all(np.isnan(missing), axis=1))


def test_many_trees_get_fewer_golden_rows(monkeypatch):
    forest = random_forest(3, trees=30, depth=6)
    whole = len(golden_rows(forest, None, lambda _: None).rows)
    limit = RANDOM_ROWS + 1_000
    monkeypatch.setattr("mlrf.builder.parity.golden_rows.MAX_WALKS", limit * forest.n_trees)
    fewer = golden_rows(forest, None, lambda _: None)
    assert limit <= len(fewer.rows) < min(whole, limit + 100)
    assert np.count_nonzero(fewer.kinds == KINDS.index("threshold")) > 0
    assert 0 < fewer.coverage.nodes < np.count_nonzero(forest.feature != LEAF)
