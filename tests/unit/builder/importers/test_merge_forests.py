"""Forests of members as one forest: the same branches for every row, and refusals of what cannot be added up together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor

from mlrf.builder.covers import goes_left
from mlrf.builder.importers.combination.merge import merge_forests, with_float64_rows
from mlrf.builder.importers.detect import import_model
from mlrf.core.errors import UnsupportedModelError
from mlrf.core.forest import LEAF


@pytest.fixture(scope="module")
def forests():
    rng = np.random.default_rng(0)
    rows, target = rng.normal(size=(200, 3)), rng.normal(size=200)
    kinds = (GradientBoostingRegressor(n_estimators=4), HistGradientBoostingRegressor(max_iter=4))
    return [import_model(each.fit(rows, target)).forest for each in kinds]


def test_unrounded_float64_rows_take_the_same_branch(forests):
    forest, wide = forests[0], with_float64_rows(forests[0])
    for node in np.flatnonzero(forest.feature != LEAF).tolist():
        edge = np.float32(forest.threshold[node])
        around = np.linspace(
            np.nextafter(edge, np.float32(-9)), np.nextafter(edge, np.float32(9)), 65, dtype=np.float64
        )
        half = (float(edge) + float(np.nextafter(edge, np.float32(9)))) / 2
        values = np.concatenate([around, [half, np.nextafter(half, 9.0), np.nextafter(half, -9.0), np.nan]])
        rounded = values.astype(np.float32).astype(np.float64)
        assert goes_left(wide, node, values).tolist() == goes_left(forest, node, rounded).tolist()


@pytest.mark.parametrize("number", [0.0, -0.0, 1e-45, -1e-45, 3.4028235e38, -3.4028235e38, 1.0, -1.5])
def test_thresholds_at_the_edges_of_float32_keep_their_branches(forests, number):
    forest = replace(forests[0], threshold=np.full(forests[0].n_nodes, float(np.float32(number))))
    wide, node = with_float64_rows(forest), int(np.flatnonzero(forest.feature != LEAF)[0])
    step = 2.0**104 if abs(number) > 1e38 else float(np.spacing(np.float32(abs(number) or 1e-45)))
    values = float(np.float32(number)) + np.array([-2, -1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1, 2]) * step
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32).astype(np.float64)
    assert goes_left(wide, node, values).tolist() == goes_left(forest, node, rounded).tolist()


def test_merged_forest_has_the_outputs_of_all(forests):
    merged = merge_forests(forests, [None, (4, 0, 2)], 5)
    assert (merged.n_outputs, merged.n_trees, merged.inputs) == (2, 8, "float64")
    tested = set(merged.feature[merged.tree_offsets[4] :].tolist()) - {LEAF}
    assert tested <= {4, 0, 2}


def test_forests_of_two_precisions_keep_each_its_own(forests):
    single = replace(forests[1], rounding="float32", value=forests[1].value.astype(np.float32).astype(np.float64))
    merged = merge_forests([forests[0], single], [None, None], 3)
    assert (merged.rounding, merged.float32_outputs.tolist()) == ("float64", [False, True])


def test_a_mean_of_float32_numbers_is_refused_by_name(forests):
    with pytest.raises(
        UnsupportedModelError, match=r"divides a sum of float32 numbers, .* build from the member alone"
    ):
        merge_forests([forests[0], replace(forests[1], rounding="float32", divisor=2.0)], [None, None], 3)
