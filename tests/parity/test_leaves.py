"""Leaf numbers and margins with a base margin, against each library's own."""

from __future__ import annotations

import catboost
import lightgbm as lgb
import numpy as np
import pytest
import xgboost as xgb
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from mlrf.builder.bundle.leaf_file import leaf_file
from mlrf.builder.exporters.forest_file.encode import encode_forest
from mlrf.builder.importers.detect import import_model
from mlrf.core.leaf_numbers import read_leaf_numbers
from mlrf.engines.tree_kernel import TreeEngine

RANDOM = np.random.default_rng(5)
ROWS = RANDOM.normal(size=(400, 5)).round(1)
LACKING = np.where(RANDOM.random(ROWS.shape) < 0.1, np.nan, ROWS)
NUMBERS = ROWS[:, 0] + ROWS[:, 1] ** 2
CLASSES = np.digitize(NUMBERS, [0.5, 1.5])
QUIET = {"verbose": -1, "num_threads": 1, "num_leaves": 13, "min_data_in_leaf": 3}
CATBOOST = {"iterations": 8, "depth": 4, "verbose": 0, "allow_writing_files": False, "thread_count": 1}


def lightgbm(labels, **parameters):
    return lgb.train(QUIET | parameters, lgb.Dataset(LACKING, labels), 8)


def xgboost(labels, **parameters):
    return xgb.train({"max_depth": 5, "nthread": 1} | parameters, xgb.DMatrix(LACKING, labels), 8)


def catboosted(labels, **parameters):
    return catboost.CatBoost(CATBOOST | parameters).fit(ROWS, labels)


def opened(model, tmp_path):
    """The model's engine, and a function that returns the leaves of rows."""
    forest = import_model(model).forest
    (tmp_path / "forest.bin").write_bytes(encode_forest(forest))
    (tmp_path / "leaves.bin").write_bytes(leaf_file(forest))
    engine = TreeEngine(tmp_path / "forest.bin")
    trees, numbers = read_leaf_numbers(tmp_path / "leaves.bin")

    def leaves(rows):
        return np.array(engine.leaves(np.ascontiguousarray(rows), trees, numbers)).reshape(len(rows), -1)

    return engine, leaves


@pytest.mark.parametrize(
    ("labels", "parameters"),
    [
        (NUMBERS, {"objective": "regression"}),
        (CLASSES, {"objective": "multiclass", "num_class": 3}),
        (NUMBERS, {"objective": "regression", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}),
    ],
)
def test_lightgbm_numbers_the_leaves_so(labels, parameters, tmp_path):
    booster = lightgbm(labels, **parameters)
    _, leaves = opened(booster, tmp_path)
    assert np.array_equal(leaves(LACKING), booster.predict(LACKING, pred_leaf=True))


@pytest.mark.parametrize(
    ("labels", "parameters"),
    [
        (NUMBERS, {"objective": "reg:squarederror", "max_depth": 12, "min_child_weight": 0, "gamma": 0.01}),
        (CLASSES, {"objective": "multi:softprob", "num_class": 3, "num_parallel_tree": 2, "subsample": 0.6}),
        (NUMBERS, {"objective": "reg:squarederror", "booster": "dart", "rate_drop": 0.3}),
        (np.stack([NUMBERS, -NUMBERS], axis=1), {"multi_strategy": "multi_output_tree"}),
        (1.0 * (NUMBERS > 1.0), {"objective": "binary:logistic"}),
    ],
)
def test_leaf_numbers_and_base_margins_are_xgboosts(labels, parameters, tmp_path):
    booster = xgboost(labels, **parameters)
    engine, leaves = opened(booster, tmp_path)
    assert np.array_equal(leaves(LACKING), booster.predict(xgb.DMatrix(LACKING), pred_leaf=True))
    starts = 3.0 * RANDOM.normal(size=(len(LACKING), engine.n_outputs))
    given = xgb.DMatrix(LACKING, base_margin=starts if engine.n_outputs > 1 else starts[:, 0])
    expected = booster.predict(given, output_margin=True).reshape(starts.shape)
    assert np.array_equal(np.array(engine.margins_from(LACKING, starts)).reshape(starts.shape), expected)


@pytest.mark.parametrize(
    ("model", "labels"),
    [
        (DecisionTreeClassifier(max_depth=5), CLASSES),
        (RandomForestClassifier(6, max_depth=6), CLASSES),
        (ExtraTreesRegressor(6), NUMBERS),
        (GradientBoostingClassifier(n_estimators=6), CLASSES),
    ],
)
def test_scikit_learn_numbers_the_leaves_so(model, labels, tmp_path):
    _, leaves = opened(model.fit(ROWS, labels), tmp_path)
    assert np.array_equal(leaves(ROWS), model.apply(ROWS).reshape(len(ROWS), -1))


@pytest.mark.parametrize("grow_policy", ["SymmetricTree", "Depthwise", "Lossguide"])
@pytest.mark.parametrize(("labels", "loss"), [(NUMBERS, "RMSE"), (CLASSES, "MultiClass")])
def test_catboost_numbers_the_leaves_so(labels, loss, grow_policy, tmp_path):
    model = catboosted(labels, loss_function=loss, grow_policy=grow_policy)
    _, leaves = opened(model, tmp_path)
    assert np.array_equal(leaves(ROWS), model.calc_leaf_indexes(ROWS))


def test_catboost_numbers_the_leaves_of_a_json_file_so(tmp_path):
    catboosted(NUMBERS, grow_policy="Lossguide").save_model(str(tmp_path / "model.json"), format="json")
    model = catboost.CatBoost().load_model(str(tmp_path / "model.json"), format="json")
    _, leaves = opened(tmp_path / "model.json", tmp_path)
    assert np.array_equal(leaves(ROWS), model.calc_leaf_indexes(ROWS))


def test_a_pipeline_has_the_leaves_of_its_model(tmp_path):
    pipeline = make_pipeline(StandardScaler(), RandomForestClassifier(4, max_depth=5)).fit(ROWS, CLASSES)
    _, leaves = opened(pipeline, tmp_path)
    scaled = pipeline[0].transform(ROWS)
    assert np.array_equal(leaves(ROWS), pipeline[-1].apply(scaled))


def test_histogram_boosting_numbers_no_leaves():
    model = HistGradientBoostingRegressor(max_iter=3).fit(ROWS, NUMBERS)
    assert leaf_file(import_model(model).forest) is None


def test_rows_of_float32_and_wrong_tables_of_numbers(tmp_path):
    booster = xgboost(NUMBERS, objective="reg:squarederror")
    engine, leaves = opened(booster, tmp_path)
    assert np.array_equal(leaves(LACKING.astype(np.float32)), leaves(LACKING.astype(np.float32).astype(np.float64)))
    trees, numbers = read_leaf_numbers(tmp_path / "leaves.bin")
    for wrong in (
        lambda: engine.leaves(LACKING, trees, numbers[4:]),
        lambda: engine.leaves(LACKING, bytes([255, 0, 0, 0]), numbers),
        lambda: engine.leaves(LACKING, trees[:3], numbers),
        lambda: engine.leaves(LACKING[:, :4].copy(), trees, numbers),
        lambda: engine.margins_from(LACKING, np.zeros(3)),
        lambda: engine.margins_from(LACKING, np.zeros(400, np.float32)),
    ):
        with pytest.raises((ValueError, IndexError, TypeError)):
            wrong()
