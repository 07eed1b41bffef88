"""Every objective and every shape of model that LightGBM trains, read from its text and held against LightGBM's predict."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest

from mlrf.builder.exporters.onnx.export import export_onnx
from mlrf.builder.importers.detect import import_model
from mlrf.builder.parity.exports import run_onnx
from mlrf.core.forest import LEAF
from models import QUIET, data, labels, train
from test_generated_rows import generated

OBJECTIVES = {
    "regression": ("regression", {}, "regression"),
    "regression_sqrt": ("regression", {"reg_sqrt": True}, "regression"),
    "regression_l1": ("regression_l1", {}, "regression"),
    "regression_l1_sqrt": ("regression_l1", {"reg_sqrt": True}, "regression"),
    "huber": ("huber", {}, "regression"),
    "huber_sqrt": ("huber", {"reg_sqrt": True}, "regression"),
    "fair": ("fair", {}, "regression"),
    "fair_sqrt": ("fair", {"reg_sqrt": True}, "regression"),
    "poisson": ("poisson", {}, "regression"),
    "poisson_sqrt": ("poisson", {"reg_sqrt": True}, "regression"),
    "quantile": ("quantile", {"alpha": 0.3}, "regression"),
    "quantile_sqrt": ("quantile", {"alpha": 0.3, "reg_sqrt": True}, "regression"),
    "mape": ("mape", {}, "regression"),
    "mape_sqrt": ("mape", {"reg_sqrt": True}, "regression"),
    "gamma": ("gamma", {}, "regression"),
    "tweedie": ("tweedie", {}, "regression"),
    "tweedie_sqrt": ("tweedie", {"reg_sqrt": True}, "regression"),
    "binary": ("binary", {}, "binary"),
    "binary_sigmoid": ("binary", {"sigmoid": 1.7}, "binary"),
    "multiclass": ("multiclass", {}, "multiclass"),
    "multiclassova": ("multiclassova", {"sigmoid": 0.6}, "multiclass"),
    "cross_entropy": ("cross_entropy", {}, "regression"),
    "cross_entropy_lambda": ("cross_entropy_lambda", {}, "regression"),
    "lambdarank": ("lambdarank", {}, "ranking"),
    "rank_xendcg": ("rank_xendcg", {}, "ranking"),
    "dart": ("regression", {"boosting": "dart"}, "regression"),
    "goss": ("binary", {"data_sample_strategy": "goss"}, "binary"),
    "leaf_only": ("regression", {"min_data_in_leaf": 10_000}, "regression"),
    "leaf_only_binary": ("binary", {"min_data_in_leaf": 10_000}, "binary"),
    "leaf_only_multiclass": ("multiclass", {"min_data_in_leaf": 10_000}, "multiclass"),
    "forced_bins": ("regression", {"max_bin": 2, "zero_as_missing": True}, "regression"),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_margin_and_prediction_are_lightgbms(name):
    objective, options, task = OBJECTIVES[name]
    trained = data(5)
    booster = train(objective, trained, **options)
    model = import_model(booster)
    assert (model.task, model.objective) == (task, objective)
    rows = generated(trained.rows, 1, 2_000)
    margins, predictions = run_onnx(export_onnx(model.forest, model.link), rows)
    expected = np.asarray(booster.predict(rows, raw_score=True)).reshape(margins.shape)
    assert np.array_equal(margins, expected)
    predicted = np.asarray(booster.predict(rows)).reshape(margins.shape)
    np.testing.assert_allclose(predictions, predicted, rtol=1e-12, atol=1e-300)
    linked = [model.link.vector()(row) for row in margins.tolist()]
    np.testing.assert_allclose(linked, predicted, rtol=1e-13, atol=1e-300)


def test_random_forest_margin_is_the_mean_of_its_trees():
    trained = data(5)
    booster = train("binary", trained, boosting="rf", bagging_freq=1, bagging_fraction=0.6)
    model = import_model(booster)
    rows = generated(trained.rows, 2, 2_000)
    margins, predictions = run_onnx(export_onnx(model.forest, model.link), rows)
    # LightGBM averages for predict alone; its raw score and its contributions are sums over the trees.
    raw = booster.predict(rows, raw_score=True)
    contributions = booster.predict(rows[:200], pred_contrib=True).sum(axis=1)
    assert model.forest.divisor == booster.current_iteration() == 8
    np.testing.assert_allclose(contributions, raw[:200], rtol=1e-9)
    np.testing.assert_allclose(margins[:, 0], raw / 8, rtol=1e-15)
    np.testing.assert_allclose(predictions[:, 0], booster.predict(rows), rtol=1e-12)


@pytest.mark.parametrize("objective", [None, "function"])
def test_a_custom_objective_is_answered_raw(objective):
    trained = data(6)

    def squared(predicted, dataset):
        return predicted - dataset.get_label(), np.ones_like(predicted)

    chosen = squared if objective == "function" else "none"
    if objective is None:
        booster = lgb.Booster({**QUIET, "objective": chosen}, lgb.Dataset(trained.rows, trained.target))
        for _ in range(4):
            booster.update(fobj=squared)
    else:
        booster = lgb.train({**QUIET, "objective": chosen}, lgb.Dataset(trained.rows, trained.target), 4)
    model = import_model(booster)
    assert (model.task, model.link.kind, model.classes) == ("raw", "identity", None)
    rows = generated(trained.rows, 2, 500)
    assert np.array_equal(run_onnx(export_onnx(model.forest, model.link), rows)[1][:, 0], booster.predict(rows))


def test_covers_and_base_are_what_pred_contrib_says():
    trained = data(7)
    for objective in ("regression", "multiclass"):
        booster = train(objective, trained, bagging_fraction=0.5, bagging_freq=1)
        model = import_model(booster)
        contributions = booster.predict(trained.rows[:1], pred_contrib=True).reshape(model.forest.n_outputs, -1)
        np.testing.assert_allclose(model.forest.expected_margin(), contributions[:, -1], rtol=1e-9)
        assert np.all(model.forest.cover[model.forest.feature == LEAF] > 0)


def test_the_best_iteration_is_what_is_read():
    trained = data(8)
    booster = train("regression", trained, rounds=10)
    booster.best_iteration = 4
    model = import_model(booster)
    assert model.forest.n_trees == 4
    margins, _ = run_onnx(export_onnx(model.forest, model.link), trained.rows)
    assert np.array_equal(margins[:, 0], booster.predict(trained.rows))


def test_pandas_categories_and_labels_of_a_wrapper_are_kept():
    rng = np.random.default_rng(0)
    n = 500
    frame = pd.DataFrame(
        {
            "größe": rng.normal(size=n),
            "shop": pd.Categorical(rng.choice(["a", "b", "ü c"], n)),
            "size": pd.Categorical(rng.choice([10, 20, 30], n)),
            "open": pd.Categorical(rng.choice([True, False], n)),
        }
    )
    target = np.where(frame["größe"] + (frame["shop"] == "a") > 0.5, "yes", "no")
    wrapper = lgb.LGBMClassifier(n_estimators=5, min_child_samples=5, **QUIET).fit(frame, target)
    model = import_model(wrapper)
    assert model.classes == ("no", "yes")
    assert [f.name for f in model.features] == list(frame.columns)
    assert [f.categories for f in model.features] == [None, ("a", "b", "ü c"), (10, 20, 30), (False, True)]


def test_a_ranker_and_a_regressor_are_read():
    trained = data(4, levels=())
    wrapper = lgb.LGBMRegressor(n_estimators=3, **QUIET).fit(trained.rows, trained.target)
    assert import_model(wrapper).task == "regression"
    ranker = lgb.LGBMRanker(n_estimators=3, **QUIET)
    ranker.fit(trained.rows, labels("lambdarank", trained.target).astype(int), group=[60] * 10)
    assert import_model(ranker).task == "ranking"
