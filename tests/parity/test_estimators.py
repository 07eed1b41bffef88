"""`Model.as_estimator` compared with the original estimator: the same labels and probabilities, and scikit-learn treats it as fitted."""

from __future__ import annotations

import copy
import pickle
import warnings
from unittest import SkipTest

import catboost
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn import ensemble, pipeline, preprocessing
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.metrics import get_scorer
from sklearn.model_selection import FixedThresholdClassifier, cross_val_predict
from sklearn.utils.estimator_checks import estimator_checks_generator

import mlrf
from bundles import write_tree_bundle
from mlrf.core.errors import ConfigError
from mlrf.core.feature import Feature
from mlrf.core.manifest import LinkEntry
from mlrf.core.schema import Schema
from once_a_run import once_a_run

RNG = np.random.default_rng(5)
X = pd.DataFrame(RNG.normal(size=(300, 3)), columns=["a", "b", "c"])
X.iloc[::9, 1] = np.nan
TWO = np.where(X["a"] + RNG.normal(size=300) > 0, "yes", "no")
THREE = RNG.integers(3, size=300) * 10
QUIET = {"n_estimators": 5, "max_depth": 3, "random_state": 1}
CATBOOST = {"iterations": 5, "depth": 3, "verbose": False, "allow_writing_files": False, "random_seed": 1}

ESTIMATORS = {
    "LightGBM, two classes": lambda: lightgbm.LGBMClassifier(verbose=-1, **QUIET).fit(X, TWO),
    "XGBoost, three classes": lambda: xgboost.XGBClassifier(**QUIET).fit(X, THREE // 10),
    "CatBoost, two classes": lambda: catboost.CatBoostClassifier(**CATBOOST).fit(X, TWO),
    "scikit-learn boosting, three classes": lambda: ensemble.HistGradientBoostingClassifier(
        max_iter=5, random_state=1
    ).fit(X, THREE),
    "scikit-learn pipeline, two classes": lambda: pipeline.make_pipeline(
        preprocessing.StandardScaler(), ensemble.HistGradientBoostingClassifier(max_iter=5, random_state=1)
    ).fit(X, TWO),
    "scikit-learn forest, three classes": lambda: ensemble.RandomForestClassifier(**QUIET).fit(X, THREE),
    "LightGBM, three classes": lambda: lightgbm.LGBMClassifier(verbose=-1, **QUIET).fit(X, THREE),
    "XGBoost, two classes": lambda: xgboost.XGBClassifier(**QUIET).fit(X, TWO == "yes"),
    "CatBoost, three classes": lambda: catboost.CatBoostClassifier(**CATBOOST).fit(X, THREE),
    "LightGBM regressor": lambda: lightgbm.LGBMRegressor(verbose=-1, **QUIET).fit(X, X["a"]),
    "XGBoost regressor": lambda: xgboost.XGBRegressor(**QUIET).fit(X, X["a"]),
    "CatBoost regressor": lambda: catboost.CatBoostRegressor(**CATBOOST).fit(X, X["a"]),
    "scikit-learn regressor": lambda: ensemble.ExtraTreesRegressor(**QUIET).fit(X, X["a"]),
}
CLASSES = "LightGBM, two classes"


def estimator(kind, tmp_path_factory):
    """The estimator of a bundle that is built once a run."""
    name = f"estimator of {kind}"
    path = once_a_run(tmp_path_factory, name, lambda at: mlrf.build(ESTIMATORS[kind](), at, name="m", sample=X))
    return mlrf.load(path).as_estimator()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A classifier of two classes and its labels, which every test of scikit-learn's tools asks."""
    return estimator(CLASSES, tmp_path_factory)


@pytest.mark.parametrize("kind", list(ESTIMATORS))
def test_it_answers_as_the_estimator_that_was_built(kind, tmp_path_factory):
    own, built = ESTIMATORS[kind](), estimator(kind, tmp_path_factory)
    # XGBoost rounds its answers to float32; the others agree to the last bits of exp.
    close = {"rtol": 3e-7 if kind.startswith("XGBoost") else 1e-14, "atol": 1e-300}
    if not is_classifier(own):
        np.testing.assert_allclose(built.predict(X), own.predict(X), **close)
        assert built.score(X, X["a"]) == pytest.approx(own.score(X, X["a"]))
        return
    assert built.predict(X).tolist() == np.ravel(own.predict(X)).tolist()
    assert built.predict(X).shape == (300,)
    assert built.classes_.tolist() == own.classes_.tolist()
    np.testing.assert_allclose(built.predict_proba(X), own.predict_proba(X), **close | {"atol": 1e-7})
    assert list(built.feature_names_in_) == list(X.columns)
    assert built.n_features_in_ == 3
    if hasattr(own, "decision_function"):
        np.testing.assert_allclose(built.decision_function(X), own.decision_function(X), rtol=1e-12, atol=1e-15)
    assert hasattr(built, "decision_function") == ("forest" not in kind)


def test_tags_and_parameters(two):
    assert is_classifier(two)
    assert not is_regressor(two)
    assert clone(two) is two
    assert two.get_params(deep=False) == {"model": two.model, "classes": ["no", "yes"]}
    tags = two.__sklearn_tags__()
    assert tags.input_tags.allow_nan
    assert not tags.input_tags.categorical
    assert two.classes_.dtype.kind == "U"
    twin = pickle.loads(pickle.dumps(two))  # noqa: S301  pickled here
    assert twin.predict_proba(X).tobytes() == two.predict_proba(X).tobytes()


def test_fit_advises_a_frozen_estimator(two):
    with pytest.raises(ConfigError, match=r"cannot be fitted; wrap it in sklearn\.frozen\.FrozenEstimator"):
        two.fit(X, TWO)
    frozen = FrozenEstimator(two).fit(X, TWO)
    assert frozen.predict(X).tolist() == two.predict(X).tolist()


def test_it_ends_a_pipeline(two):
    piped = pipeline.make_pipeline(preprocessing.FunctionTransformer(), two)
    assert piped.predict(X).tolist() == two.predict(X).tolist()
    assert piped.predict_proba(X).tobytes() == two.predict_proba(X).tobytes()
    assert piped.classes_.tolist() == ["no", "yes"]


def test_predictions_of_folds_are_its_own(two):
    """Nothing is trained on a fold: this only shows that the calls are taken."""
    found = cross_val_predict(FrozenEstimator(two), X, TWO, cv=3, method="predict_proba")
    np.testing.assert_array_equal(found, two.predict_proba(X))


def test_importances_and_dependence_match_the_estimator(two):
    own = ESTIMATORS[CLASSES]()
    for tool in (
        lambda each: permutation_importance(each, X, TWO, n_repeats=3, random_state=1).importances,
        lambda each: partial_dependence(each, X, ["a"], method="brute", grid_resolution=20)["average"],
        lambda each: get_scorer("roc_auc")(each, X, TWO),
    ):
        np.testing.assert_allclose(tool(two), tool(own), rtol=1e-12, atol=1e-15)


def test_it_can_be_calibrated_and_given_a_threshold(two):
    calibrated = CalibratedClassifierCV(FrozenEstimator(two)).fit(X, TWO)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1.0)
    strict = FixedThresholdClassifier(FrozenEstimator(two), threshold=0.9, response_method="predict_proba").fit(X, TWO)
    assert strict.predict(X).tolist() == np.where(two.predict_proba(X)[:, 1] >= 0.9, "yes", "no").tolist()


def test_scikit_learns_checks_fail_only_where_they_train(two):
    """`fit` refuses, so what trains cannot pass; everything else does."""
    passed, other = set(), {}
    for _, check in estimator_checks_generator(two, mark=None):
        # A clone is the estimator itself, and some checks set its parameters.
        each = copy.copy(two)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                check(each)
            passed.add(check.func.__name__)
        except SkipTest:
            continue
        except Exception as error:  # noqa: BLE001  what a check raises is its own business
            causes, cause = [], error
            while cause is not None:
                causes.append(str(cause))
                cause = cause.__cause__ or cause.__context__
            if not any("cannot be fitted" in text for text in causes):
                other[check.func.__name__] = causes
    # One check wants `n_features_in_` to appear with `fit`.
    assert set(other) <= {"check_n_features_in"}, other
    assert passed >= {
        "check_estimator_cloneable",
        "check_estimator_repr",
        "check_get_params_invariance",
        "check_set_params",
        "check_valid_tag_types",
        "check_no_attributes_set_in_init",
        "check_mixin_order",
    }


def test_labels_missing_from_a_file_are_requested(tmp_path):
    schema = Schema(tuple(map(Feature, X.columns)))
    labels = {"task": "binary", "link": LinkEntry("sigmoid"), "classes": [0, 1]}
    model = mlrf.load(write_tree_bundle(tmp_path / "b", schema=schema, **labels))
    with pytest.raises(ConfigError, match=r"does not know its class labels: pass classes=\[0, 1\], or the labels"):
        model.as_estimator()
    with pytest.raises(ConfigError, match="has 2 classes, not the 3 of"):
        model.as_estimator(["a", "b", "c"])
    assert set(model.as_estimator(["no", "yes"]).predict(X)) == {"no", "yes"}


def test_bad_rows_are_value_errors(two):
    with pytest.raises(ValueError, match=r"expected an array \[n, 3\], got \[300, 2\]"):
        two.predict(X.to_numpy()[:, :2])
    with pytest.raises(ValueError, match="the table has no column 'b'"):
        two.predict_proba(X[["a", "c"]])
