"""Other platforms' routes return what `predict` of the original object returns, for real models of each library."""

from __future__ import annotations

import catboost
import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn import ensemble, pipeline, preprocessing

import mlrf

RNG = np.random.default_rng(5)
X = RNG.normal(size=(300, 3))
TWO = np.where(X[:, 0] + RNG.normal(size=300) > 0, "yes", "no")
THREE = RNG.integers(3, size=300)
QUIET = {"n_estimators": 5, "max_depth": 3, "random_state": 1}


def catboost_model(kind, labels, **options):
    return kind(iterations=5, depth=3, verbose=False, allow_writing_files=False, random_seed=1, **options).fit(
        X, labels
    )


MODELS = {
    "LightGBM classifier": lambda: lightgbm.LGBMClassifier(verbose=-1, **QUIET).fit(X, TWO),
    "LightGBM Booster": lambda: lightgbm.LGBMClassifier(verbose=-1, **QUIET).fit(X, TWO).booster_,
    "LightGBM regressor": lambda: lightgbm.LGBMRegressor(verbose=-1, **QUIET).fit(X, X[:, 0]),
    "XGBoost classifier": lambda: xgboost.XGBClassifier(**QUIET).fit(X, THREE),
    "XGBoost Booster of softmax": lambda: xgboost.train(
        {"objective": "multi:softmax", "num_class": 3, "max_depth": 3}, xgboost.DMatrix(X, THREE), 5
    ),
    "XGBoost Booster of softprob": lambda: xgboost.train(
        {"objective": "multi:softprob", "num_class": 3, "max_depth": 3}, xgboost.DMatrix(X, THREE), 5
    ),
    "CatBoostClassifier": lambda: catboost_model(catboost.CatBoostClassifier, TWO),
    "CatBoostRegressor": lambda: catboost_model(catboost.CatBoostRegressor, X[:, 0]),
    "scikit-learn classifier": lambda: ensemble.RandomForestClassifier(**QUIET).fit(X, TWO),
    "scikit-learn pipeline": lambda: pipeline.make_pipeline(
        preprocessing.StandardScaler(), ensemble.GradientBoostingClassifier(**QUIET)
    ).fit(X, TWO),
    "scikit-learn regressor": lambda: ensemble.RandomForestRegressor(**QUIET).fit(X, X[:, 0]),
}


IN_MAKE_TEST = ("LightGBM classifier", "XGBoost classifier", "CatBoostClassifier", "scikit-learn pipeline")
"""One of each library; the others take a build each."""


@pytest.mark.parametrize(
    "kind", [kind if kind in IN_MAKE_TEST else pytest.param(kind, marks=pytest.mark.slow) for kind in MODELS]
)
def test_it_is_what_predict_of_the_built_object_returns(kind, tmp_path):
    fitted = MODELS[kind]()
    model = mlrf.load(mlrf.build(fitted, tmp_path / "b", name="m", sample=X))
    returns_labels = model.bundle.manifest.predict_returns == "label"
    served = model.label(X) if returns_labels else model.predict(X)
    own = fitted.predict(xgboost.DMatrix(X) if isinstance(fitted, xgboost.Booster) else X)
    if returns_labels:
        assert list(served) == np.ravel(own).tolist()
    else:
        np.testing.assert_allclose(np.ravel(served), np.ravel(own), rtol=1e-6)
