"""Names of features that the caller gives to a model that was trained on arrays."""

from __future__ import annotations

import catboost
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.ensemble import RandomForestRegressor, VotingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import mlrf
from mlrf.core.errors import SampleError

NAMES = ["price", "stock", "store"]
RNG = np.random.default_rng(3)
ROWS = np.column_stack([RNG.normal(size=(200, 2)), RNG.integers(0, 3, 200)])
TARGET = ROWS[:, 0] + ROWS[:, 2]


def small_lightgbm():
    return lightgbm.LGBMRegressor(n_estimators=3, verbosity=-1, n_jobs=1)


ESTIMATORS = {
    "LightGBM": small_lightgbm,
    "XGBoost": lambda: xgboost.XGBRegressor(n_estimators=3, n_jobs=1),
    "CatBoost": lambda: catboost.CatBoostRegressor(
        iterations=3, verbose=False, thread_count=1, allow_writing_files=False
    ),
    "scikit-learn": lambda: RandomForestRegressor(3, max_depth=3),
    "pipeline": lambda: make_pipeline(StandardScaler(), small_lightgbm()),
    "combination": lambda: VotingRegressor([("a", small_lightgbm()), ("b", RandomForestRegressor(2, max_depth=3))]),
}


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_a_model_of_an_array_gets_names(tmp_path, kind):
    fitted = ESTIMATORS[kind]().fit(ROWS, TARGET)
    model = mlrf.load(mlrf.build(fitted, tmp_path / "b", name="named", feature_names=NAMES))
    assert list(model.schema.names) == NAMES
    shuffled = pd.DataFrame(ROWS, columns=NAMES)[NAMES[::-1]]
    assert model.predict(shuffled).tolist() == np.ravel(fitted.predict(ROWS)).tolist()


def test_categories_are_listed_under_the_given_name(tmp_path):
    fitted = small_lightgbm().fit(ROWS, TARGET, categorical_feature=[2])
    lists = {"store": ["north", "south", "west"]}
    model = mlrf.load(mlrf.build(fitted, tmp_path / "b", name="n", feature_names=NAMES, categories=lists))
    row = {"price": 0.1, "stock": 0.2}
    assert [model.predict([row | {"store": store}])[0] for store in lists["store"]] == [
        fitted.predict([[0.1, 0.2, code]])[0] for code in range(3)
    ]


@pytest.mark.parametrize(
    ("columns", "names", "message"),
    [
        (None, NAMES[:2], "2 feature names are given, but the model has 3 features"),
        (None, ["a", "b", "b"], "hold 'b' twice"),
        (["x", "y", "z"], NAMES, r"the model has its own \(x, y, z, …\); leave them out"),
    ],
)
def test_names_that_do_not_fit_are_refused(tmp_path, columns, names, message):
    rows = ROWS if columns is None else pd.DataFrame(ROWS, columns=columns)
    fitted = small_lightgbm().fit(rows, TARGET)
    with pytest.raises(SampleError, match=message):
        mlrf.build(fitted, tmp_path / "b", name="n", feature_names=names)
    assert not (tmp_path / "b").exists()
