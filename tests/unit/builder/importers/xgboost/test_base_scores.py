"""Base scores at the ends of their range start the sums where XGBoost itself starts them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xgboost

from mlrf.builder.importers.detect import import_model
from mlrf.core.errors import UnsupportedModelError

CLAMPS = tuple(map(int, xgboost.__version__.split(".")[:2])) >= (3, 1)
"""XGBoost 3.0 starts where the file says: it refuses 0 and 1, and answers 1e-9 as no later version does."""


@pytest.fixture(scope="module")
def document():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 2)), rng.integers(2, size=50)
    booster = xgboost.train({"objective": "binary:logistic", "max_depth": 1}, xgboost.DMatrix(x, y), 1)
    return json.loads(booster.save_raw("json").decode())


def written(document, tmp_path, objective, score):
    document["learner"]["objective"]["name"] = objective
    document["learner"]["learner_model_param"]["base_score"] = score
    path = tmp_path / "model.json"
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize("objective", ["binary:logistic", "reg:logistic"])
@pytest.mark.parametrize("score", ["0", "[0E0]", "1e-9", "1e-6", "2e-6", "1", "[9.999999E-1]", "0.5"])
def test_probabilities_are_clamped_as_xgboost_does(document, tmp_path, objective, score):
    if not CLAMPS and score not in {"2e-6", "0.5"}:
        pytest.skip(f"XGBoost {xgboost.__version__} neither clamps base scores nor reads lists of them")
    model = import_model(written(document, tmp_path, objective, score))
    booster = xgboost.Booster(model_file=str(tmp_path / "model.json"))
    (margin,) = booster.predict(xgboost.DMatrix(np.zeros((1, 2))), output_margin=True)
    leaf = booster.trees_to_dataframe()["Gain"].iloc[2 if model.forest.threshold[0] < 0 else 1]
    assert np.float32(model.forest.base[0]) + np.float32(leaf) == margin


@pytest.mark.parametrize(("objective", "score"), [("binary:logistic", "1.5"), ("reg:logistic", "-0.1")])
def test_non_probabilities_are_refused_as_classes(document, tmp_path, objective, score):
    with pytest.raises(UnsupportedModelError, match="must be a probability"):
        import_model(written(document, tmp_path, objective, score))


@pytest.mark.parametrize("objective", ["count:poisson", "reg:tweedie", "survival:cox"])
def test_a_start_without_a_logarithm_is_refused_for_that(document, tmp_path, objective):
    with pytest.raises(UnsupportedModelError, match="must be above 0"):
        import_model(written(document, tmp_path, objective, "0"))


@pytest.mark.skipif(not CLAMPS, reason="XGBoost 3.0 trains no such model")
def test_a_model_of_labels_that_are_all_0_is_read():
    booster = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(np.ones((20, 1)), np.zeros(20)), 1)
    answers = booster.predict(xgboost.DMatrix(np.ones((1, 1))), output_margin=True)
    model = import_model(booster)
    assert np.float32(model.forest.base[0] + model.forest.value[0]) == answers[0]
