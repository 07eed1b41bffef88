"""Votes, pairs of classes, several labels, members with categories, and combinations of combinations: as scikit-learn answers."""

from __future__ import annotations

import warnings

import catboost
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn import ensemble
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import RidgeCV
from sklearn.multiclass import OneVsOneClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor

import mlrf
from mlrf.builder.importers.detect import import_model
from mlrf.builder.importers.imported_model import ImportOptions
from mlrf.core.errors import (
    BundleError,
    InvalidFeatureError,
    NotExplainableError,
    NoThresholdsError,
    UnsupportedModelError,
)
from mlrf.engines.tree_kernel import TreeEngine
from mlrf.serving.processes.pinned_files import pin_model
from naive_forest import brute_force

RNG = np.random.default_rng(5)
N = 240
CITIES = np.array(["Oslo", "Rome", "Bonn"])[RNG.integers(0, 3, N)]
FRAME = pd.DataFrame(
    {"a": RNG.normal(size=N).round(2), "b": RNG.normal(size=N).round(2), "city": pd.Categorical(CITIES)}
)
ROWS = RNG.normal(size=(N, 3)).round(2)
NUMBER = FRAME["a"].to_numpy() + (CITIES == "Rome") * 2 + RNG.normal(size=N) / 4
NUMERIC = ROWS[:, 0] + ROWS[:, 1] ** 2
TWO, THREE = np.where(NUMERIC > 0.7, "yes", "no"), np.digitize(NUMERIC, [0.3, 1.2])


def light(kind="Classifier", **options):
    return getattr(lightgbm, f"LGBM{kind}")(n_estimators=3, num_leaves=4, verbose=-1, n_jobs=1, **options)


def histogram(kind):
    return getattr(ensemble, f"HistGradientBoosting{kind}")(max_iter=3, categorical_features="from_dtype")


def forest(kind="Classifier"):
    return getattr(ensemble, f"RandomForest{kind}")(3, max_depth=3, random_state=0)


def boosting(kind="Classifier"):
    return getattr(ensemble, f"GradientBoosting{kind}")(n_estimators=3, max_depth=2)


def named(*members):
    return [(f"m{index}", member) for index, member in enumerate(members)]


def hashed(one_hot: int):
    model = catboost.CatBoostClassifier(
        iterations=4, depth=3, verbose=0, cat_features=["city"], one_hot_max_size=one_hot, allow_writing_files=False
    )
    return CalibratedClassifierCV(FrozenEstimator(model.fit(FRAME, NUMBER > 1)))


KINDS = {
    "votes": (lambda: ensemble.VotingClassifier(named(light(), forest(), boosting()), weights=[1, 2, 1.5]), ROWS, TWO, False),
    "equal votes": (lambda: ensemble.VotingClassifier(named(light(), boosting())), ROWS, THREE, False),
    "several labels": (lambda: MultiOutputClassifier(light()), ROWS, np.column_stack([NUMERIC > 1, ROWS[:, 1] > 0]), True),
    "pairs by decision function": (lambda: OneVsOneClassifier(boosting()), ROWS, THREE, False),
    "pairs by probability": (lambda: OneVsOneClassifier(light()), ROWS, THREE, False),
    "calibrated and stacked members": (
        lambda: ensemble.VotingClassifier(
            named(
                CalibratedClassifierCV(forest(), cv=2),
                ensemble.StackingClassifier(named(light(), boosting()), cv=2),
            ),
            voting="soft",
        ),
        ROWS,
        THREE,
        False,
    ),
    "stack of calibrated members": (
        lambda: ensemble.StackingClassifier(named(CalibratedClassifierCV(forest(), method="isotonic", cv=2), light()), cv=2),
        ROWS,
        TWO,
        False,
    ),
    "stack that passes rows through": (
        lambda: ensemble.StackingRegressor(named(light("Regressor"), forest("Regressor")), passthrough=True, cv=2),
        ROWS,
        NUMERIC,
        False,
    ),
    "stack of classes that passes rows through": (
        lambda: ensemble.StackingClassifier(named(light(), boosting()), passthrough=True, cv=2), ROWS, THREE, False,
    ),
    "stack of pipelines that passes rows through": (
        lambda: ensemble.StackingRegressor(
            named(make_pipeline(StandardScaler(), light("Regressor"))), RidgeCV(), passthrough=True, cv=2
        ),
        ROWS,
        NUMERIC,
        False,
    ),
    "stack that ends in a forest": (
        lambda: ensemble.StackingClassifier(named(light(), forest()), forest(), cv=2), ROWS, THREE, False,
    ),
    "stack that ends in boosting": (
        lambda: ensemble.StackingClassifier(named(light(), boosting()), boosting(), cv=2), ROWS, TWO, False,
    ),
    "stack that ends in LightGBM and passes rows through": (
        lambda: ensemble.StackingRegressor(named(light("Regressor"), forest("Regressor")), light("Regressor"), passthrough=True, cv=2),
        ROWS,
        NUMERIC,
        False,
    ),
    "stack of XGBoost that ends in XGBoost": (
        lambda: ensemble.StackingRegressor(
            named(xgboost.XGBRegressor(n_estimators=3), histogram("Regressor")),
            xgboost.XGBRegressor(n_estimators=4, max_depth=3),
            passthrough=True,
            cv=2,
        ),
        ROWS,
        NUMERIC,
        False,
    ),
    "stack of classes that ends in CatBoost": (
        lambda: ensemble.StackingClassifier(
            named(light(), forest()),
            catboost.CatBoostClassifier(iterations=4, depth=3, verbose=0, allow_writing_files=False),
            passthrough=True,
            cv=2,
        ),
        ROWS,
        THREE,
        False,
    ),
    "stack of pipelines that ends in a histogram": (
        lambda: ensemble.StackingClassifier(
            named(make_pipeline(StandardScaler(), light()), make_pipeline(StandardScaler(), forest())), histogram("Classifier"), cv=2
        ),
        ROWS,
        TWO,
        False,
    ),
    "stack after a step that ends in a tree": (
        lambda: make_pipeline(
            StandardScaler(),
            ensemble.StackingRegressor(named(light("Regressor")), DecisionTreeRegressor(max_depth=4), cv=2),
        ),
        ROWS,
        NUMERIC,
        False,
    ),
    "bagged calibrated classifiers": (
        lambda: ensemble.BaggingClassifier(CalibratedClassifierCV(forest(), cv=2), 2, max_features=0.7, random_state=0),
        ROWS,
        THREE,
        False,
    ),
    "votes of votes": (
        lambda: ensemble.VotingRegressor(
            named(ensemble.VotingRegressor(named(forest("Regressor"), boosting("Regressor"))), light("Regressor")),
            weights=[2, 1],
        ),
        ROWS,
        NUMERIC,
        True,
    ),
    "categories of LightGBM and histograms": (
        lambda: ensemble.VotingRegressor(named(light("Regressor", min_child_samples=5), histogram("Regressor"))),
        FRAME,
        NUMBER,
        True,
    ),
    "calibrated categories": (lambda: CalibratedClassifierCV(light(), cv=2), FRAME, NUMBER > 1, False),
    "stacked categories": (
        lambda: ensemble.StackingClassifier(named(light(), histogram("Classifier")), cv=2), FRAME, NUMBER > 1, False,
    ),
    "categories of XGBoost": (
        lambda: ensemble.VotingRegressor(
            named(*(xgboost.XGBRegressor(n_estimators=3, max_depth=d, enable_categorical=True) for d in (2, 3)))
        ),
        FRAME,
        NUMBER,
        True,
    ),
    "one-hot categories of CatBoost": (lambda: hashed(9), FRAME, NUMBER > 1, False),
    "target statistics of CatBoost": (lambda: hashed(1), FRAME, NUMBER > 1, False),
}  # fmt: skip
QUICK = (
    "votes",
    "stack that ends in LightGBM and passes rows through",
    "stack that passes rows through",
    "categories of LightGBM and histograms",
)


def whole(estimator, table):
    """What scikit-learn's estimator answers, in the form of `Model.predict`."""
    kind = type(estimator).__name__
    if kind == "MultiOutputClassifier":
        return np.column_stack([each[:, 1] for each in estimator.predict_proba(table)])
    if kind == "OneVsOneClassifier":
        return estimator.decision_function(table)
    found = estimator.predict_proba(table) if hasattr(estimator, "classes_") else estimator.predict(table)
    return found[:, 1] if found.ndim == 2 and found.shape[1] == 2 else found


def check(name, folder):
    make, table, target, is_explained = KINDS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator = make().fit(table, target)
        is_frame = isinstance(table, pd.DataFrame)
        model = mlrf.load(mlrf.build(estimator, folder, name="m", sample=table if is_frame else None))
        if "votes" in name and hasattr(estimator, "classes_"):
            assert model.label(table) == estimator.predict(table).tolist()
        else:
            np.testing.assert_allclose(model.predict(table), whole(estimator, table), rtol=2e-7, atol=1e-12)
    singles = [model.predict(table[row : row + 1])[0] for row in range(20)]
    assert np.array_equal(model.predict(table)[:20], singles)
    if is_explained:
        explained, margins = model.explain(table), model.margin(table)
        limit = 1e-6 if model.bundle.manifest.precision == "float32" else 1e-9
        np.testing.assert_allclose(explained.values.sum(axis=1) + explained.base, margins, rtol=0, atol=limit)
        return
    adds_rows = "passes rows" in name and "ends in" not in name
    reason = "passthrough=True" if adds_rows else "not linear"
    with pytest.raises(NotExplainableError, match=reason):
        model.explain(table)


@pytest.mark.parametrize("name", QUICK)
def test_answers_of_further_kinds_are_scikit_learns(name, tmp_path):
    check(name, tmp_path / "bundle")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in KINDS if name not in QUICK])
def test_answers_of_all_further_kinds_are_scikit_learns(name, tmp_path):
    check(name, tmp_path / "bundle")


@pytest.mark.slow
def test_shapley_values_of_members_match_the_definition(tmp_path):
    make, table, target, _ = KINDS["categories of LightGBM and histograms"]
    estimator = make().fit(table, target)
    model = mlrf.load(mlrf.build(estimator, tmp_path / "bundle", name="m"))
    parts = [import_model(member).forest for member in estimator.estimators_]
    codes = np.column_stack([table["a"], table["b"], table["city"].cat.codes]).astype(float)
    for row in range(5):
        expected = sum(brute_force(part, codes[row]) for part in parts) / len(parts)
        np.testing.assert_allclose(model.explain(table[row : row + 1]).values[0], np.ravel(expected), atol=1e-9)


@pytest.mark.parametrize("member", [forest, light])
def test_targets_of_several_classes_answer_all_their_classes(member, tmp_path):
    estimator = MultiOutputClassifier(member()).fit(ROWS, np.column_stack([NUMERIC > 1, THREE, THREE]))
    model = mlrf.load(mlrf.build(estimator, tmp_path / "bundle", name="m"))
    same = model.as_estimator()
    for found, expected in zip(same.predict_proba(ROWS), estimator.predict_proba(ROWS), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=2.3e-16)  # 1 - p
    assert np.array_equal(same.predict(ROWS), estimator.predict(ROWS))


REFUSED_ROWS = {
    "after other steps": lambda stack: make_pipeline(StandardScaler(), stack),
    "as a member": lambda stack: ensemble.VotingRegressor(named(stack)),
}


@pytest.mark.parametrize("how", REFUSED_ROWS)
def test_rows_are_passed_through_by_the_whole_model_only(how):
    stack = ensemble.StackingRegressor(named(forest("Regressor")), passthrough=True, cv=2)
    with pytest.raises(UnsupportedModelError, match="passthrough=True"):
        import_model(REFUSED_ROWS[how](stack).fit(ROWS, NUMERIC))


def test_a_stack_that_ends_in_trees_is_no_member():
    stack = ensemble.StackingRegressor(named(forest("Regressor")), forest("Regressor"), cv=2)
    with pytest.raises(UnsupportedModelError, match="ends in trees"):
        import_model(ensemble.VotingRegressor(named(stack)).fit(ROWS, NUMERIC))


def test_a_final_model_with_categories_is_refused():
    final = ensemble.HistGradientBoostingRegressor(max_iter=3, categorical_features=[3])
    rows = np.column_stack([ROWS[:, :2], np.digitize(ROWS[:, 2], [-1.0, 0.0, 1.0])])
    stack = ensemble.StackingRegressor(named(forest("Regressor")), final, passthrough=True, cv=2)
    with pytest.raises(UnsupportedModelError, match="with categories"):
        import_model(stack.fit(rows, NUMERIC + 5 * (rows[:, 2] == 1) - 5 * (rows[:, 2] == 2)))


def test_a_final_forest_that_is_given_rows_splits_them(tmp_path):
    stack = ensemble.StackingRegressor(named(forest("Regressor")), boosting("Regressor"), passthrough=True, cv=2)
    path = mlrf.build(stack.fit(ROWS[:, :2], NUMERIC), tmp_path / "bundle", name="m")
    model = mlrf.load(path)
    final = model.bundle.file("final.bin")
    assert final.exists()
    curve = model.curve([0.5, 0.25], "x1")
    axis = curve.axes[0]
    assert {0.0} < set(TreeEngine(final).cuts(2).tolist()) | {0.0} <= {*axis.cuts, 0.0}
    edges = [x for cut in axis.cuts for x in (cut, np.nextafter(cut, np.inf))]
    rows = np.array([[0.5, x] for x in edges])
    assert np.array_equal(model.predict(rows), stack.predict(rows))
    assert model.predict([[0.5, axis.cuts[0]]])[0] == curve.predictions[0]
    assert set(pin_model(model.bundle, None).pinned) == {"forest.bin", "final.bin", "golden.bin"}
    final.write_bytes(final.read_bytes()[:-8] + b"damaged!")
    with pytest.raises(BundleError, match=r"final\.bin"):
        mlrf.load(path)


def test_passed_through_categories_are_refused():
    member = make_pipeline(
        make_column_transformer(
            (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), [2]), remainder="passthrough"
        ),
        light("Regressor"),
    )
    rows = np.column_stack([ROWS[:, :2], np.digitize(ROWS[:, 2], [0.0])])
    stack = ensemble.StackingRegressor(named(member), passthrough=True, cv=2).fit(rows, NUMERIC)
    with pytest.raises(UnsupportedModelError, match="'x2' as a category"):
        import_model(stack)


def test_passed_through_rows_with_missing_values_are_refused_as_by_the_final_estimator(tmp_path):
    stack = ensemble.StackingRegressor(named(light("Regressor")), passthrough=True, cv=2).fit(ROWS, NUMERIC)
    model = mlrf.load(mlrf.build(stack, tmp_path / "bundle", name="m"))
    for value in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match=r"NaN|infinity"):
            stack.predict([[value, 0.0, 0.0]])
        with pytest.raises(InvalidFeatureError):
            model.predict([[value, 0.0, 0.0]])
    with pytest.raises(NoThresholdsError, match="passthrough=True"):
        model.curve([0.0, 0.0, 0.0], "x0")


def test_one_pair_of_classes_is_built_from_its_model():
    with pytest.raises(UnsupportedModelError, match=r"estimators_\[0\]"):
        import_model(OneVsOneClassifier(forest()).fit(ROWS, TWO))


def test_several_members_with_target_statistics_are_refused():
    members = named(*(FrozenEstimator(hashed(1).estimator.estimator) for _ in range(2)))
    estimator = ensemble.VotingClassifier(members, voting="soft").fit(FRAME, NUMBER > 1)
    with pytest.raises(UnsupportedModelError, match="several members have CatBoost's CTR features"):
        import_model(estimator, ImportOptions(sampled=lambda _: ["Bonn", "Oslo", "Rome"]))
