"""Interaction values compared with XGBoost's own and with shap's, for several kinds of model."""

from __future__ import annotations

import numpy as np
import pytest
import xgboost as xgb

import mlrf
from mlrf.core.errors import BatchTooLargeError, NotExplainableError
from mlrf.model import interactions

pytestmark = pytest.mark.filterwarnings("ignore")  # shap's own business

RNG = np.random.default_rng(11)
ROWS = RNG.normal(size=(400, 6))
ROWS[RNG.random(ROWS.shape) < 0.1] = np.nan
TARGET = np.nan_to_num(ROWS[:, 0] * ROWS[:, 1] + np.sin(ROWS[:, 2]) + (ROWS[:, 3] > 0) * ROWS[:, 4])
SHOWN = 12


def built(model, tmp_path, **options) -> mlrf.Model:
    return mlrf.load(mlrf.build(model, tmp_path / "bundle", name="m", sample=ROWS, **options))


def check_sums(found: mlrf.Explanation) -> None:
    """A matrix is symmetric, and its rows add up to the SHAP values."""
    pairs = found.interactions
    assert pairs is not None
    assert np.array_equal(pairs, np.swapaxes(pairs, 1, 2))
    np.testing.assert_allclose(
        pairs.sum(axis=2), found.values, rtol=0, atol=1e-9 * max(1.0, np.abs(found.values).max())
    )


def test_xgboost_itself(tmp_path):
    booster = xgb.train({"max_depth": 5, "eta": 0.3, "seed": 1}, xgb.DMatrix(ROWS, TARGET), 30)
    found = built(booster, tmp_path).explain(ROWS[:SHOWN], interactions=True)
    library = booster.predict(xgb.DMatrix(ROWS[:SHOWN]), pred_interactions=True)[:, :6, :6]
    check_sums(found)
    np.testing.assert_allclose(found.interactions, library, rtol=0, atol=2e-5)


def test_xgboost_itself_with_classes(tmp_path):
    labels = np.digitize(TARGET, [-0.5, 0.5])
    booster = xgb.train(
        {"max_depth": 4, "objective": "multi:softprob", "num_class": 3}, xgb.DMatrix(ROWS, labels), num_boost_round=8
    )
    found = built(booster, tmp_path).explain(ROWS[:SHOWN], interactions=True)
    library = booster.predict(xgb.DMatrix(ROWS[:SHOWN]), pred_interactions=True)[:, :, :6, :6]
    check_sums(found)
    np.testing.assert_allclose(found.interactions, np.moveaxis(library, 1, 3), rtol=0, atol=2e-5)


@pytest.mark.slow
def test_shap_on_lightgbm_with_a_category(tmp_path):
    import lightgbm as lgb  # noqa: PLC0415
    import shap  # noqa: PLC0415

    rows = ROWS.copy()
    rows[:, 5] = RNG.integers(5, size=len(rows))
    data = lgb.Dataset(rows, TARGET + (rows[:, 5] == 2), categorical_feature=[5])
    booster = lgb.train({"num_leaves": 15, "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5}, data, 20)
    found = mlrf.load(mlrf.build(booster, tmp_path / "bundle", name="m", sample=rows)).explain(
        rows[:SHOWN], interactions=True
    )
    check_sums(found)
    # shap 0.51 knows no categories in LightGBM's trees: what it can check is the same model without them.
    plain = lgb.train({"num_leaves": 15, "verbosity": -1, "num_threads": 1}, lgb.Dataset(ROWS, TARGET), 20)
    found = mlrf.load(mlrf.build(plain, tmp_path / "plain", name="m", sample=ROWS)).explain(
        ROWS[:SHOWN], interactions=True
    )
    library = shap.TreeExplainer(plain).shap_interaction_values(ROWS[:SHOWN])
    check_sums(found)
    np.testing.assert_allclose(found.interactions, library, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_shap_on_a_forest(tmp_path):
    import shap  # noqa: PLC0415
    from sklearn.ensemble import RandomForestRegressor  # noqa: PLC0415

    rows = np.nan_to_num(ROWS)
    forest = RandomForestRegressor(10, max_depth=6, random_state=0).fit(rows, TARGET)
    found = mlrf.load(mlrf.build(forest, tmp_path / "bundle", name="m", sample=rows)).explain(
        rows[:SHOWN], interactions=True
    )
    check_sums(found)
    library = shap.TreeExplainer(forest).shap_interaction_values(rows[:SHOWN])
    np.testing.assert_allclose(found.interactions, library, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_a_weighted_sum_of_models_has_the_sum_of_interactions(tmp_path):
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor, VotingRegressor  # noqa: PLC0415

    rows = np.nan_to_num(ROWS)
    members = [
        HistGradientBoostingRegressor(max_iter=10, random_state=0).fit(rows, TARGET),
        RandomForestRegressor(5, max_depth=4, random_state=0).fit(rows, TARGET),
    ]
    voting = VotingRegressor([("a", members[0]), ("b", members[1])], weights=[3, 1]).fit(rows, TARGET)
    found = mlrf.load(mlrf.build(voting, tmp_path / "v", name="m", sample=rows)).explain(
        rows[:SHOWN], interactions=True
    )
    check_sums(found)
    parts = [
        mlrf.load(mlrf.build(each, tmp_path / f"m{i}", name="m", sample=rows)).explain(rows[:SHOWN], interactions=True)
        for i, each in enumerate(members)
    ]
    expected = 0.75 * parts[0].interactions + 0.25 * parts[1].interactions
    np.testing.assert_allclose(found.interactions, expected, rtol=0, atol=1e-9)


def test_an_explanation_keeps_the_interactions_of_its_rows(tmp_path):
    booster = xgb.train({"max_depth": 3}, xgb.DMatrix(ROWS, TARGET), 5)
    model = built(booster, tmp_path)
    found = model.explain(ROWS[:SHOWN], interactions=True, threads=2)
    assert np.array_equal(found[3].interactions, found.interactions[3:4])
    assert model.explain(ROWS[:SHOWN]).interactions is None
    assert model.explain(ROWS[:0], interactions=True).interactions.shape == (0, 6, 6)


def test_more_interactions_than_an_answer_holds_are_refused(tmp_path, monkeypatch):
    booster = xgb.train({"max_depth": 3}, xgb.DMatrix(ROWS, TARGET), 5)
    model = built(booster, tmp_path)
    monkeypatch.setattr("mlrf.model.table_model.MOST_INTERACTIONS", 100)
    with pytest.raises(BatchTooLargeError, match=r"3 rows have 108 .* more than the 100 .* at most 2 rows at once"):
        model.explain(ROWS[:3], interactions=True)
    with pytest.raises(NotExplainableError, match=r"a row has 36 .*without interactions"):
        interactions.interactions_of(model._rows, b"", 1, 35)
