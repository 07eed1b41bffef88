"""Calibrated, voting, stacked and bagged models of scikit-learn, with several targets or a transformed one: as scikit-learn."""

from __future__ import annotations

import warnings

import catboost
import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn import ensemble
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import mlrf
import skops_files
from mlrf.builder.importers.detect import import_model
from mlrf.core import combination
from mlrf.core.errors import NotExplainableError, ParityError, SampleError, UnsupportedModelError
from naive_forest import brute_force
from running import serving

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(250, 4)).round(3)
NUMBER = ROWS[:, 0] * 2 + np.sin(ROWS[:, 1] * 3) + RNG.normal(size=250) / 5
TWO = np.where(NUMBER > 0, "yes", "no")
THREE = np.digitize(NUMBER, [-1, 1])
QUERIES = RNG.normal(size=(150, 4))

CLASSIFIERS = {
    "lightgbm": lambda: lightgbm.LGBMClassifier(n_estimators=4, num_leaves=5, verbose=-1, n_jobs=1),
    "xgboost": lambda: xgboost.XGBClassifier(n_estimators=4, max_depth=3, n_jobs=1),
    "catboost": lambda: catboost.CatBoostClassifier(
        iterations=4, depth=3, verbose=0, thread_count=1, allow_writing_files=False
    ),
    "forest": lambda: ensemble.RandomForestClassifier(4, max_depth=3, random_state=0),
    "boosting": lambda: ensemble.GradientBoostingClassifier(n_estimators=4, max_depth=2),
    "histogram": lambda: ensemble.HistGradientBoostingClassifier(max_iter=4, max_leaf_nodes=5),
}
REGRESSORS = {
    "lightgbm": lambda: lightgbm.LGBMRegressor(n_estimators=4, num_leaves=5, verbose=-1, n_jobs=1),
    "catboost": lambda: catboost.CatBoostRegressor(
        iterations=4, depth=3, verbose=0, thread_count=1, allow_writing_files=False
    ),
    "forest": lambda: ensemble.RandomForestRegressor(4, max_depth=3, random_state=0),
    "boosting": lambda: ensemble.GradientBoostingRegressor(n_estimators=4, max_depth=2),
    "histogram": lambda: ensemble.HistGradientBoostingRegressor(max_iter=4, max_leaf_nodes=5),
}


def some(kinds, *names):
    return [(name, kinds[name]()) for name in names]


def small_xgboost():
    return "xgboost", xgboost.XGBRegressor(n_estimators=30, max_depth=3, n_jobs=1)


def calibrated(member, method, *, folds=True):
    return CalibratedClassifierCV(CLASSIFIERS[member](), method=method, cv=2, ensemble=folds)


CASES = {
    "calibrated, one fold": (lambda: calibrated("boosting", "sigmoid", folds=False), TWO, True),
    "calibrated, folds, isotonic": (lambda: calibrated("xgboost", "isotonic"), "three", False),
    "voting of regressors": (
        lambda: ensemble.VotingRegressor(some(REGRESSORS, *REGRESSORS), weights=[1, 2, 0.5, 1, 3]),
        NUMBER,
        True,
    ),
    "stack of classifiers": (
        lambda: ensemble.StackingClassifier(some(CLASSIFIERS, "lightgbm", "forest", "boosting"), cv=2),
        TWO,
        False,
    ),
    "one against the rest": (lambda: OneVsRestClassifier(CLASSIFIERS["boosting"]()), THREE, True),
    "XGBoost among regressors": (
        lambda: ensemble.VotingRegressor([small_xgboost(), *some(REGRESSORS, *REGRESSORS)]),
        NUMBER,
        True,
    ),
}
MORE = {
    **{
        f"calibrated {member}, {method}, {'folds' if folds else 'one fold'}, {target}": (
            lambda member=member, method=method, folds=folds: calibrated(member, method, folds=folds),
            target,
            not folds and method == "sigmoid" and hasattr(CLASSIFIERS[member](), "decision_function"),
        )
        for member in CLASSIFIERS
        for method in ("sigmoid", "isotonic")
        for folds in (True, False)
        for target in ("two", "three")
    },
    "calibrated after training": (
        lambda: CalibratedClassifierCV(FrozenEstimator(CLASSIFIERS["histogram"]().fit(ROWS, TWO))),
        TWO,
        True,
    ),
    "voting of regressors of XGBoost": (
        lambda: ensemble.VotingRegressor([(str(d), xgboost.XGBRegressor(n_estimators=3, max_depth=d)) for d in (2, 3)]),
        NUMBER,
        True,
    ),
    "XGBoost among regressors of other libraries, weighted": (
        lambda: ensemble.VotingRegressor([*some(REGRESSORS, "forest"), small_xgboost()], weights=[0.3, 2]),
        NUMBER,
        True,
    ),
    "XGBoost among classifiers of other libraries": (
        lambda: ensemble.VotingClassifier(some(CLASSIFIERS, "lightgbm", "xgboost", "forest", "catboost"), voting="soft"),
        "two",
        False,
    ),
    "XGBoost among classifiers, three classes": (
        lambda: ensemble.VotingClassifier(some(CLASSIFIERS, "xgboost", "lightgbm", "histogram"), voting="soft", weights=[2, 1, 1]),
        THREE,
        False,
    ),
    "stack of XGBoost and others": (
        lambda: ensemble.StackingRegressor([small_xgboost(), *some(REGRESSORS, "lightgbm", "forest")], LinearRegression(), cv=2),
        NUMBER,
        True,
    ),
    "stack of classifiers of XGBoost and others": (
        lambda: ensemble.StackingClassifier(some(CLASSIFIERS, "xgboost", "lightgbm", "forest"), cv=2),
        THREE,
        False,
    ),
    "calibrated vote of XGBoost and others": (
        lambda: CalibratedClassifierCV(
            ensemble.VotingClassifier(some(CLASSIFIERS, "xgboost", "forest"), voting="soft"), method="sigmoid", cv=2
        ),
        "two",
        False,
    ),
    "bagged vote of XGBoost and others": (
        lambda: ensemble.BaggingRegressor(
            ensemble.VotingRegressor([small_xgboost(), *some(REGRESSORS, "lightgbm")]), 2, random_state=0
        ),
        NUMBER,
        True,
    ),
    "voting of classifiers of XGBoost": (
        lambda: ensemble.VotingClassifier(
            [(str(d), xgboost.XGBClassifier(n_estimators=3, max_depth=d)) for d in (2, 3, 4)], voting="soft"
        ),
        THREE,
        False,
    ),
    "bagged regressors of XGBoost": (
        lambda: ensemble.BaggingRegressor(xgboost.XGBRegressor(n_estimators=3), 3, random_state=0),
        NUMBER,
        True,
    ),
    "voting of two classes": (
        lambda: ensemble.VotingClassifier(some(CLASSIFIERS, "lightgbm", "forest", "boosting"), voting="soft"),
        TWO,
        False,
    ),
    "voting of three classes, weighted": (
        lambda: ensemble.VotingClassifier(
            some(CLASSIFIERS, "lightgbm", "histogram", "catboost"), voting="soft", weights=[1, 2, 3]
        ),
        THREE,
        False,
    ),
    "voting of forests": (
        lambda: ensemble.VotingClassifier([("a", ensemble.ExtraTreesClassifier(4)), *some(CLASSIFIERS, "forest")], voting="soft"),
        TWO,
        True,
    ),
    "stack of regressors": (
        lambda: ensemble.StackingRegressor(some(REGRESSORS, "lightgbm", "forest"), LinearRegression(), cv=2),
        NUMBER,
        True,
    ),
    "stack of three classes": (
        lambda: ensemble.StackingClassifier(some(CLASSIFIERS, "lightgbm", "forest"), LogisticRegression(), cv=2),
        THREE,
        False,
    ),
    "stack of decision functions": (
        lambda: ensemble.StackingClassifier(
            some(CLASSIFIERS, "boosting", "histogram"), cv=2, stack_method="decision_function"
        ),
        TWO,
        True,
    ),
    "bagged classifiers of some columns": (
        lambda: ensemble.BaggingClassifier(CLASSIFIERS["lightgbm"](), 3, max_features=0.6, random_state=0),
        THREE,
        False,
    ),
    "bagged regressors": (
        lambda: ensemble.BaggingRegressor(REGRESSORS["forest"](), 3, max_features=0.6, random_state=0),
        NUMBER,
        True,
    ),
    "AdaBoost of regressors": (lambda: ensemble.AdaBoostRegressor(n_estimators=7, random_state=0), NUMBER, False),
    "one against the rest, forests": (lambda: OneVsRestClassifier(CLASSIFIERS["forest"]()), THREE, True),
    "one against the rest, two classes": (lambda: OneVsRestClassifier(CLASSIFIERS["lightgbm"]()), TWO, True),
    "several targets": (
        lambda: MultiOutputRegressor(REGRESSORS["lightgbm"]()),
        np.column_stack([NUMBER, ROWS[:, 1]]),
        True,
    ),
    "logarithm of the target": (
        lambda: TransformedTargetRegressor(REGRESSORS["lightgbm"](), func=np.log1p, inverse_func=np.expm1),
        np.exp(NUMBER / 3),
        True,
    ),
    "scaled target": (
        lambda: TransformedTargetRegressor(REGRESSORS["forest"](), transformer=StandardScaler()),
        NUMBER,
        True,
    ),
    "behind a pipeline's steps": (lambda: make_pipeline(StandardScaler(), calibrated("lightgbm", "sigmoid")), TWO, False),
}  # fmt: skip
TARGETS = {"two": NUMBER > 0, "three": THREE}


def fitted(make, target):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make().fit(ROWS, TARGETS[target] if isinstance(target, str) else target)


def check(case, path):
    make, target, is_explained = case
    estimator = fitted(make, target)
    model = mlrf.load(mlrf.build(estimator, path, name="m"))
    if hasattr(estimator, "classes_"):
        np.testing.assert_allclose(
            model.probabilities(QUERIES), estimator.predict_proba(QUERIES), rtol=2e-7, atol=1e-15
        )
        assert model.label(QUERIES) == estimator.predict(QUERIES).tolist()
    else:
        np.testing.assert_allclose(model.predict(QUERIES), estimator.predict(QUERIES), rtol=1e-12, atol=1e-15)
    if not is_explained:
        with pytest.raises(NotExplainableError, match="not linear"):
            model.explain(QUERIES)
        return
    explanation, margins = model.explain(QUERIES), model.margin(QUERIES)
    limit = 1e-6 if model.bundle.manifest.precision == "float32" else 1e-12
    np.testing.assert_allclose(explanation.values.sum(axis=1) + explanation.base, margins, rtol=0, atol=limit)


@pytest.mark.parametrize("name", CASES)  # the first two run with every commit
def test_answers_are_scikit_learns(name, tmp_path):
    check(CASES[name], tmp_path / "bundle")


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE)
def test_answers_of_every_kind_are_scikit_learns(name, tmp_path):
    check(MORE[name], tmp_path / "bundle")


def test_skops_file_of_a_combination_is_read(tmp_path):
    estimator = fitted(*CASES["one against the rest"][:2])
    skops_files.dump(estimator, tmp_path / "model.skops")
    model = mlrf.load(mlrf.build(tmp_path / "model.skops", tmp_path / "bundle", name="m"))
    assert model.probabilities(QUERIES).tolist() == estimator.predict_proba(QUERIES).tolist()


@pytest.mark.slow
def test_combination_shapley_values_match_the_definition(tmp_path):
    """By brute force over all subsets of features, member by member, weighted as the combination weighs them."""
    estimator = fitted(
        lambda: ensemble.VotingRegressor(some(REGRESSORS, "boosting", "histogram"), weights=[3, 1]), NUMBER
    )
    model = mlrf.load(mlrf.build(estimator, tmp_path / "bundle", name="m"))
    parts = [import_model(member).forest for member in estimator.estimators_]
    for row in QUERIES[:5]:
        expected = (3 * brute_force(parts[0], row) + brute_force(parts[1], row)) / 4
        np.testing.assert_allclose(model.explain(row[None]).values[0], np.ravel(expected), atol=1e-9)


def test_a_planted_fault_in_the_arithmetic_is_found_by_the_gate(tmp_path, monkeypatch):
    estimator = fitted(lambda: ensemble.VotingRegressor(some(REGRESSORS, "boosting", "histogram")), NUMBER)
    monkeypatch.setitem(combination._COMBINE, "mean", lambda _, answers: answers[0])
    with pytest.raises(ParityError, match="prediction"):
        mlrf.build(estimator, tmp_path / "bundle", name="m")


def test_combinations_are_served(tmp_path):
    estimator = fitted(*CASES["calibrated, one fold"][:2])
    model = mlrf.load(mlrf.build(estimator, tmp_path / "bundle", name="m"))
    with serving(tmp_path / "bundle") as server:
        row = QUERIES[0].tolist()
        one = server.ask("POST", "/predict", {"features": row, "explain": True})
        many = server.ask(
            "POST", "/predict/batch", {"instances": [{"features": each} for each in QUERIES[:9].tolist()]}
        )
    assert one.json["prediction"] == many.json["predictions"][0] == model.predict(QUERIES[:1])[0]
    assert many.json["predictions"] == model.predict(QUERIES[:9]).tolist()
    assert one.json["probabilities"] == estimator.predict_proba(QUERIES[:1])[0].tolist()


@pytest.mark.slow
def test_what_is_not_explained_says_so_over_http(tmp_path):
    estimator = fitted(lambda: ensemble.AdaBoostRegressor(n_estimators=3, random_state=0), NUMBER)
    mlrf.build(estimator, tmp_path / "bundle", name="m")
    with serving(tmp_path / "bundle") as server:
        refused = server.ask("POST", "/predict", {"features": QUERIES[0].tolist(), "explain": True})
    assert (refused.status, refused.json["code"]) == (422, "NOT_EXPLAINABLE")
    assert "not linear" in refused.json["error"]


def test_a_stack_with_its_rows_is_predicted_where_it_is_not_explained(tmp_path):
    stack = ensemble.StackingRegressor(some(REGRESSORS, "forest"), LinearRegression(), cv=2, passthrough=True)
    model = mlrf.load(mlrf.build(fitted(lambda: stack, NUMBER), tmp_path / "bundle", name="m"))
    row = QUERIES[0].tolist()
    with serving(tmp_path / "bundle") as server:
        explained = server.ask("POST", "/predict", {"features": row, "explain": True})
        assert (explained.status, explained.json["code"]) == (422, "NOT_EXPLAINABLE")
        assert "send the request without explanations" in explained.json["error"]
        curve = server.ask("POST", "/curve", {"features": row, "vary": model.schema.names[0]})
        assert curve.status == 422
        assert "predict rows that differ in the feature instead" in curve.json["error"]
        rows = [[each, *row[1:]] for each in (0.0, 1.0)]
        answer = server.ask("POST", "/predict/batch", {"instances": [{"features": each} for each in rows]})
        assert answer.json["predictions"] == model.predict(rows).tolist()


REFUSED = {
    "a linear member": (lambda: ensemble.VotingRegressor([("l", LinearRegression())]), NUMBER, "member 0.*LinearRegression"),
    "a function of its own": (
        lambda: TransformedTargetRegressor(REGRESSORS["forest"](), func=lambda y: y, inverse_func=lambda y: y),
        NUMBER,
        "numpy's exp, expm1 and square",
    ),
    "temperature": (lambda: calibrated("boosting", "temperature"), TWO, "'sigmoid' or 'isotonic'"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_combined_is_refused_by_name(name):
    make, target, message = REFUSED[name]
    with pytest.raises(UnsupportedModelError, match=message):
        import_model(fitted(make, target))


def test_members_that_read_a_column_differently_are_refused():
    rows = np.column_stack([ROWS, RNG.integers(0, 3, len(ROWS))])
    members = [
        ("h", ensemble.HistGradientBoostingRegressor(max_iter=2, categorical_features=[4])),
        ("f", ensemble.RandomForestRegressor(2, max_depth=2)),
    ]
    estimator = ensemble.VotingRegressor(members).fit(rows, NUMBER)
    with pytest.raises(UnsupportedModelError, match=r"read 'x4' differently: .* as a number.*OrdinalEncoder"):
        import_model(estimator)


@pytest.mark.slow
def test_the_remedy_for_categories_works(tmp_path):
    rows = np.column_stack([ROWS, RNG.integers(0, 3, len(ROWS))])
    encoded = make_pipeline(
        OneHotEncoder(handle_unknown="ignore", sparse_output=False).set_output(transform="default"),
        ensemble.VotingRegressor(some(REGRESSORS, "forest", "boosting")),
    ).fit(rows[:, 4:], NUMBER)
    model = mlrf.load(mlrf.build(encoded, tmp_path / "bundle", name="m"))
    np.testing.assert_allclose(model.predict([[v] for v in (0, 1, 2)]), encoded.predict([[0], [1], [2]]), rtol=1e-12)


def test_a_category_list_is_refused(tmp_path):
    estimator = fitted(*CASES["one against the rest"][:2])
    with pytest.raises(SampleError, match="leave its list out"):
        mlrf.build(estimator, tmp_path / "bundle", name="m", categories={"x0": ["a", "b"]})
