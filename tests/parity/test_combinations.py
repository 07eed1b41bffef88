"""Bagging, AdaBoost and isolation forests of scikit-learn, to the bit of its own answers."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import skl2onnx
from sklearn import ensemble, linear_model, svm, tree
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

import mlrf
import skops_files
from library_answers import assert_library_agrees, contributions, rows_of
from mlrf.builder.importers.detect import import_model
from mlrf.core.errors import UnsupportedModelError
from naive_forest import brute_force

TREES = {"classifier": tree.DecisionTreeClassifier(max_depth=3), "regressor": tree.DecisionTreeRegressor(max_depth=4)}


def data(n_classes: int, *, missing: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(300, 4))
    signal = rows[:, 0] + np.abs(rows[:, 1]) + rng.normal(size=300) / 3
    if missing:
        rows[rng.random(rows.shape) < 0.05] = np.nan
    if not n_classes:
        return rows, signal
    return rows, np.searchsorted(np.quantile(signal, np.arange(1, n_classes) / n_classes), signal)


def fitted(name: str, n_classes: int, *, missing: bool = False, **options):
    rows, target = data(n_classes, missing=missing)
    if name != "IsolationForest":
        options = {"estimator": TREES["classifier" if n_classes else "regressor"], **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(ensemble, name)(n_estimators=9, random_state=1, **options).fit(rows, target)


KINDS = {
    "bagged regressor": ("BaggingRegressor", 0, {"missing": True}),
    "bagged regressor of some columns": ("BaggingRegressor", 0, {"max_features": 0.5, "bootstrap_features": True}),
    "bagged classifier": ("BaggingClassifier", 2, {"missing": True}),
    "bagged classifier of some rows": ("BaggingClassifier", 5, {"max_samples": 6, "max_features": 2}),
    "AdaBoost of two classes": ("AdaBoostClassifier", 2, {}),
    "AdaBoost of four classes": ("AdaBoostClassifier", 4, {"learning_rate": 0.7}),
    "isolation forest": ("IsolationForest", 0, {"missing": True}),
    "isolation forest of some columns": (
        "IsolationForest",
        0,
        {"max_features": 2, "contamination": 0.1, "max_samples": 50},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_combination_is_answered_to_the_bit(kind, tmp_path):
    name, n_classes, options = KINDS[kind]
    estimator = fitted(name, n_classes, **options)
    model = import_model(estimator)
    assert all(feature.nullable == (name != "AdaBoostClassifier") for feature in model.features)
    engine = assert_library_agrees(model, tmp_path, most=1_500)
    for row in rows_of(model, 10):
        np.testing.assert_allclose(contributions(engine, row[None])[0], brute_force(model.forest, row), atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "ask"),
    [
        ("AdaBoost of four classes", "predict_proba"),
        ("isolation forest", "decision_function"),
        ("bagged regressor", "predict"),
    ],
)
def test_bundle_predicts_what_the_estimator_does(kind, ask, tmp_path):
    name, n_classes, options = KINDS[kind]
    estimator = fitted(name, n_classes, **options)
    skops_files.dump(estimator, tmp_path / "model.skops")
    rows = data(n_classes)[0]
    model = mlrf.load(mlrf.build(tmp_path / "model.skops", tmp_path / "bundle", name="m"))
    np.testing.assert_allclose(model.predict(rows), getattr(estimator, ask)(rows), rtol=1e-12)


def test_combination_ends_a_pipeline(tmp_path):
    pipeline = make_pipeline(MinMaxScaler(), ensemble.IsolationForest(n_estimators=7, random_state=0)).fit(data(0)[0])
    assert_library_agrees(import_model(pipeline), tmp_path, most=1_500)


BY_ONNX = {
    "a stack that ends in a support vector machine": (
        ensemble.StackingRegressor([("a", TREES["regressor"])], svm.SVR(), cv=2),
        0,
    ),
    "voting with a linear model": (
        ensemble.VotingClassifier(
            [("a", TREES["classifier"]), ("b", linear_model.LogisticRegression())],
            voting="soft",
            flatten_transform=False,
        ),
        2,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", BY_ONNX)
def test_refused_combination_goes_by_onnx_as_its_refusal_says(kind, tmp_path):
    estimator, n_classes = BY_ONNX[kind]
    rows, target = data(n_classes)
    rows = rows.astype(np.float32)
    estimator.fit(rows, target)
    with pytest.raises(UnsupportedModelError, match="to ONNX with skl2onnx"):
        import_model(estimator)
    path = tmp_path / "model.onnx"
    options = {id(estimator): {"zipmap": False}} if n_classes else None
    path.write_bytes(skl2onnx.to_onnx(estimator, rows[:1], options=options).SerializeToString())
    model = mlrf.load(mlrf.build(path, tmp_path / "bundle", name="m"))
    expected = estimator.predict_proba(rows)[:, 1] if n_classes else estimator.predict(rows)
    np.testing.assert_allclose(np.ravel(model.predict(rows)), expected, rtol=1e-4, atol=1e-6)
