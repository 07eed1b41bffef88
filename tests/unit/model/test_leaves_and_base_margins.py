"""`Model.leaves` and `base_margin`: to the bit of the library, and refused where they have no meaning."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pytest
import xgboost as xgb

import mlrf
from mlrf.core.errors import InvalidRequestError

RANDOM = np.random.default_rng(9)
ROWS = RANDOM.normal(size=(60, 3)).round(1)
NUMBERS = ROWS[:, 0] + ROWS[:, 1] ** 2
STARTS = RANDOM.normal(size=60)


@pytest.fixture(scope="module")
def booster():
    return xgb.train({"objective": "binary:logistic", "max_depth": 3}, xgb.DMatrix(ROWS, NUMBERS > 1), 5)


@pytest.fixture(scope="module")
def model(booster, tmp_path_factory):
    return mlrf.load(mlrf.build(booster, tmp_path_factory.mktemp("xgb") / "b", name="binary"))


def test_leaves_and_margins_are_the_library_s(model, booster):
    leaves = model.leaves(ROWS)
    assert leaves.dtype == np.int32
    assert np.array_equal(leaves, booster.predict(xgb.DMatrix(ROWS), pred_leaf=True))
    margins = booster.predict(xgb.DMatrix(ROWS, base_margin=STARTS), output_margin=True)
    assert np.array_equal(model.margin(ROWS, base_margin=STARTS), margins)
    assert np.array_equal(model.margin(ROWS, base_margin=0.5), model.margin(ROWS, base_margin=np.full(60, 0.5)))
    assert np.array_equal(model.probabilities(ROWS, base_margin=STARTS)[:, 1], model.predict(ROWS, base_margin=STARTS))
    assert model.label(ROWS, base_margin=50.0) == [model.classes[1]] * 60


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # shap's, of matplotlib
def test_an_explanation_starts_at_the_base_of_each_row(model):
    explanation, margins = model.explain(ROWS, base_margin=STARTS), model.margin(ROWS, base_margin=STARTS)
    np.testing.assert_allclose(explanation.base + explanation.values.sum(axis=1), margins, rtol=0, atol=1e-12)
    part = explanation[5:8]
    assert np.array_equal(part.base, explanation.base[5:8])
    assert part.row_contributions(1).base == explanation.base[6]
    assert np.array_equal(explanation.to_shap().base_values, explanation.base)
    assert "svg" in explanation.to_svg(3)


@pytest.mark.parametrize("starts", [np.zeros(7), "many", np.zeros((60, 2)), np.full(60, np.nan), 1e39])
def test_base_margins_that_do_not_fit_are_refused(model, starts):
    with pytest.raises(InvalidRequestError, match="base_margin must be"):
        model.margin(ROWS, base_margin=starts)


def test_lightgbm_s_initial_scores_are_added(tmp_path):
    booster = lgb.train({"verbose": -1, "num_threads": 1}, lgb.Dataset(ROWS, NUMBERS), 4)
    model = mlrf.load(mlrf.build(booster, tmp_path / "b", name="lgb"))
    assert np.array_equal(model.leaves(ROWS), booster.predict(ROWS, pred_leaf=True))
    assert np.array_equal(model.margin(ROWS, base_margin=STARTS), booster.predict(ROWS, raw_score=True) + STARTS)
    portable = mlrf.load(tmp_path / "b", engine="onnxruntime")
    for refused in (lambda: portable.leaves(ROWS), lambda: portable.margin(ROWS, base_margin=0.5)):
        with pytest.raises(InvalidRequestError, match="use the engine trees"):
            refused()


def test_a_model_without_leaf_numbers_is_refused(model, tree_bundle):
    plain = mlrf.load(tree_bundle)
    with pytest.raises(InvalidRequestError, match="no leaf numbers"):
        plain.leaves(np.zeros((1, 7)))
    with pytest.raises(InvalidRequestError, match="takes no base_margin"):
        plain.margin(np.zeros((1, 7)), base_margin=0.5)


@pytest.mark.parametrize(
    ("starts", "what"),
    [
        ([1.0, 2.0], r"not of the shape \[2\]"),
        ("x", "not 'x'"),
        ([[1.0], [2.0, 3.0]], r"not \[\[1.0\]"),
        ({}, r"not \{\}"),
    ],
)
def test_base_margins_of_another_shape_are_refused_plainly(model, starts, what):
    with pytest.raises(
        InvalidRequestError, match=r"base_margin must be numbers of the shape \[60\], or one for all rows, " + what
    ):
        model.margin(ROWS, base_margin=starts)
