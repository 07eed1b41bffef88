"""Every tree model of scikit-learn that mlrf reads, compared with scikit-learn itself and with shap."""

from __future__ import annotations

import io
import os
import random
import tempfile
import warnings
import zipfile
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
import pytest
import threadpoolctl
import xgboost
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn import ensemble, linear_model, model_selection, multioutput, pipeline, preprocessing, tree
from sklearn.frozen import FrozenEstimator

import mlrf
import skops_files
from bundles import rows_of
from damaged_models import check_damaged_models
from examples import examples
from library_answers import assert_library_agrees, contributions
from mlrf.builder.exporters.forest_file.encode import encode_forest
from mlrf.builder.importers.detect import import_model
from mlrf.builder.importers.imported_model import ImportOptions
from mlrf.core.errors import BuildError, ModelUnreadableError, SampleError, UnsupportedModelError

ALL = {
    name: getattr(module, name)
    for module, names in (
        (tree, ("DecisionTree", "ExtraTree")),
        (ensemble, ("RandomForest", "ExtraTrees", "GradientBoosting", "HistGradientBoosting")),
    )
    for kind in names
    for name in (f"{kind}Classifier", f"{kind}Regressor")
}
ROWS = 300


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """OpenMP's threads wait for each other by spinning: on a busy machine that takes minutes."""
    with threadpoolctl.threadpool_limits(1):
        yield


def make_rows(rng, *, missing):
    rows = rng.normal(size=(ROWS, 4)).round(1)
    rows[:, 3] = rng.normal(size=ROWS) * 1e30  # float32 has few numbers here
    if missing:
        rows[rng.random(rows.shape) < 0.1] = np.nan
    return rows


def margin_of(model, rows):
    return model.decision_function(rows) if hasattr(model, "decision_function") else model.predict(rows)


def make_target(rng, rows, n_classes):
    signal = np.nan_to_num(rows[:, 0]) * np.nan_to_num(rows[:, 1]) + np.sin(3 * np.nan_to_num(rows[:, 2]))
    signal = signal + (rows[:, 3] > 1e29) + 0.1 * rng.normal(size=len(rows))
    return signal if n_classes == 0 else np.digitize(signal, np.quantile(signal, np.arange(1, n_classes) / n_classes))


def takes_missing(name):
    return not name.startswith("GradientBoosting")


def fit(name, rng, n_classes=2, **options):
    if "n_estimators" not in options and name.startswith(("RandomForest", "ExtraTrees", "Gradient")):
        options["n_estimators"] = 8
    if name.startswith("Hist") and "max_iter" not in options:
        options["max_iter"] = 8
    rows = make_rows(rng, missing=takes_missing(name))
    target = make_target(rng, rows, n_classes if name.endswith("Classifier") else 0)
    return ALL[name](random_state=0, **options).fit(rows, target), rows


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("name", ALL)
def test_margins_predictions_and_shap_equal_the_library(tmp_path, name, n_classes):
    if name.endswith("Regressor") and n_classes > 2:
        pytest.skip("a regressor has no classes")
    estimator, rows = fit(name, np.random.default_rng(1), n_classes)
    model = import_model(estimator)
    assert (model.library, model.task) == (
        "scikit-learn",
        "regression" if name.endswith("Regressor") else "binary" if n_classes == 2 else "multiclass",
    )
    assert model.classes == (None if name.endswith("Regressor") else tuple(range(n_classes)))
    assert all(feature.nullable == takes_missing(name) for feature in model.features)
    engine = assert_library_agrees(model, tmp_path)
    if name == "GradientBoostingClassifier" and n_classes > 2:
        return  # shap does not know these
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of matplotlib, which shap imports
        import shap  # noqa: PLC0415  takes seconds
    explainer = shap.TreeExplainer(estimator, feature_perturbation="tree_path_dependent")
    few = rows[~np.isnan(rows).any(axis=1)][:30]
    expected = np.asarray(explainer.shap_values(few, check_additivity=False))
    expected = expected.reshape(*few.shape, -1)[..., -engine.n_outputs :]
    np.testing.assert_allclose(contributions(engine, few), expected, rtol=0, atol=1e-9)


LOSSES = [
    *(
        ("GradientBoostingRegressor", loss, "identity")
        for loss in ("squared_error", "absolute_error", "huber", "quantile")
    ),
    ("GradientBoostingClassifier", "log_loss", "sigmoid"),
    ("GradientBoostingClassifier", "exponential", "sigmoid"),
    *(("HistGradientBoostingRegressor", loss, "identity") for loss in ("squared_error", "absolute_error", "quantile")),
    *(("HistGradientBoostingRegressor", loss, "exp") for loss in ("gamma", "poisson")),
    ("HistGradientBoostingClassifier", "log_loss", "sigmoid"),
]


@pytest.mark.parametrize(("name", "loss", "link"), LOSSES)
def test_every_loss_has_its_link(tmp_path, name, loss, link):
    rng = np.random.default_rng(2)
    rows = make_rows(rng, missing=False)
    target = make_target(rng, rows, 2 if name.endswith("Classifier") else 0)
    options = {"quantile": 0.3} if loss == "quantile" and name.startswith("Hist") else {}
    estimator = ALL[name](loss=loss, learning_rate=0.3, random_state=0, **options)
    model = import_model(estimator.fit(rows, np.exp(target) if link == "exp" else target))
    assert (model.link.kind, model.objective) == (link, f"{name} {loss}")
    assert_library_agrees(model, tmp_path, onnx=False)


@pytest.mark.parametrize(
    "options",
    [
        {"init": "zero"},
        {"n_iter_no_change": 2},
        {"subsample": 0.5, "max_features": 2},
        {"ccp_alpha": 0.01},
        {"max_leaf_nodes": 7, "max_depth": None},
    ],
    ids=str,
)
def test_boosting_with_options(tmp_path, options):
    estimator, _ = fit("GradientBoostingClassifier", np.random.default_rng(3), **options)
    assert_library_agrees(import_model(estimator), tmp_path, onnx=False)


@pytest.mark.parametrize(
    "options",
    [
        {"class_weight": "balanced", "oob_score": True, "bootstrap": True, "n_estimators": 40},
        {"max_leaf_nodes": 5, "criterion": "entropy"},
        {"monotonic_cst": [1, 0, -1, 0]},
        {"max_depth": 1, "n_jobs": 2},
    ],
    ids=str,
)
def test_forests_with_options(tmp_path, options):
    rng = np.random.default_rng(4)
    rows = make_rows(
        rng, missing="monotonic_cst" not in options
    )  # it does not train with both, and answers both only from 1.7 on
    estimator = ensemble.RandomForestClassifier(random_state=0, **{"n_estimators": 6, **options})
    model = import_model(estimator.fit(rows, make_target(rng, rows, 2), sample_weight=rng.random(ROWS)))
    assert all(feature.nullable for feature in model.features) or "monotonic_cst" in options
    assert_library_agrees(model, tmp_path, onnx=False)


CATEGORIES = {
    "strings": (np.array(["a", "b", "ü c", "d"], object), ("a", "b", "d", "ü c")),
    "integers": (np.array([3, 0, 17, 200]), None),
    "negative": (np.array([-2, 0, 17, 200]), (-2, 0, 17, 200)),
    "floats": (np.array([0.5, 1.5, 3.0, 4.0]), (0.5, 1.5, 3, 4)),
    "booleans": (np.array([True, False]), (False, True)),
}


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("kind", CATEGORIES)
def test_categories_of_histogram_boosting(tmp_path, kind, holes):
    values, listed = CATEGORIES[kind]
    rng = np.random.default_rng(5)
    chosen = rng.choice(len(values), ROWS)
    frame = pd.DataFrame({"num": rng.normal(size=ROWS), "cat": values[chosen], "last": rng.normal(size=ROWS)})
    if holes:
        frame["cat"] = frame["cat"].astype(object if kind in ("strings", "booleans") else float)
        frame.loc[rng.random(ROWS) < 0.1, ["cat", "num"]] = np.nan
    target = frame["num"].fillna(0) + np.sin(chosen * 2.0) * 3
    estimator = ensemble.HistGradientBoostingRegressor(max_iter=15, categorical_features=["cat"], min_samples_leaf=5)
    model = import_model(estimator.fit(frame, target))
    assert [feature.name for feature in model.features] == ["num", "cat", "last"]
    assert (model.features[1].kind, model.features[1].categories) == ("categorical", listed)
    assert len(model.forest.set_offsets) > 1
    assert_library_agrees(model, tmp_path)


def test_categories_of_an_array_and_of_pandas(tmp_path):
    rng = np.random.default_rng(6)
    rows = np.column_stack([rng.integers(0, 12, ROWS), rng.normal(size=ROWS)]).astype(float)
    estimator = ensemble.HistGradientBoostingClassifier(max_iter=10, categorical_features=[0], min_samples_leaf=5)
    model = import_model(estimator.fit(rows, (rows[:, 0] % 3 == 1) ^ (rows[:, 1] > 0)))
    assert [feature.name for feature in model.features] == ["x0", "x1"]
    assert_library_agrees(model, tmp_path, onnx=False)
    named = import_model(estimator, ImportOptions({"x0": [f"shop {i}" for i in range(12)]}, ("no", "yes")))
    assert named.features[0].categories[11] == "shop 11"
    assert named.classes == ("no", "yes")
    frame = pd.DataFrame({"shop": pd.Categorical(rng.choice(["x", "y", "z"], ROWS)), "size": rows[:, 1]})
    estimator = ensemble.HistGradientBoostingRegressor(max_iter=5, categorical_features="from_dtype")
    model = import_model(estimator.fit(frame, (frame["shop"] == "y") + rows[:, 1]))
    assert model.features[0].categories == ("x", "y", "z")
    assert_library_agrees(model, tmp_path, onnx=False)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (ImportOptions({"nowhere": ["a"]}), "not a feature of the model"),
        (ImportOptions({"x1": ["a"]}), "uses it as a number"),
        (ImportOptions({"x0": ["a", "b"]}), "code 11, but only 2"),
        (ImportOptions(classes=("a", "b")), "not a classifier"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, reason):
    rng = np.random.default_rng(7)
    rows = np.column_stack([np.arange(ROWS) % 12, rng.normal(size=ROWS)])
    estimator = ensemble.HistGradientBoostingRegressor(max_iter=2, categorical_features=[0]).fit(rows, rows[:, 1])
    with pytest.raises(SampleError, match=reason):
        import_model(estimator, options)


@pytest.mark.parametrize("kind", [tree.DecisionTreeRegressor, ensemble.ExtraTreesRegressor])
def test_several_targets_are_answered_to_the_bit(kind, tmp_path):
    rng = np.random.default_rng(9)
    rows = rng.normal(size=(200, 3))
    estimator = kind(max_depth=4, random_state=0).fit(
        rows, np.column_stack([rows[:, 0], np.abs(rows[:, 1]), rows[:, 2] ** 2])
    )
    model = import_model(estimator)
    assert model.forest.n_outputs == 3
    engine = assert_library_agrees(model, tmp_path, most=1_500)
    few = rng.normal(size=(50, 3))
    assert np.array_equal(np.frombuffer(engine.margins(few.data)).reshape(50, 3), estimator.predict(few))


def several_classes(rows):
    """Targets of three, two and four classes of a type that they share: text, or numbers."""
    return np.column_stack([np.digitize(rows[:, 0], [-0.5, 0.5]), rows[:, 1] > 0, np.digitize(rows[:, 2], [-1, 0, 1])])


@pytest.mark.parametrize("labels", ["numbers", "text"])
@pytest.mark.parametrize(
    "kind",
    [
        tree.DecisionTreeClassifier,
        tree.ExtraTreeClassifier,
        ensemble.RandomForestClassifier,
        ensemble.ExtraTreesClassifier,
    ],
)
def test_classifiers_of_several_targets_are_scikit_learns(kind, labels, tmp_path):
    rng = np.random.default_rng(19)
    rows = rng.normal(size=(200, 3)).astype(np.float32).astype(float)
    rows[::9, 1] = np.nan
    targets = several_classes(np.nan_to_num(rows)) + 5
    if labels == "text":
        targets = np.char.add("class ", targets.astype(str))
    options = {"n_estimators": 7} if "ensemble" in kind.__module__ else {}
    estimator = kind(max_depth=4, random_state=0, **options).fit(rows, targets)
    model = mlrf.load(mlrf.build(estimator, tmp_path / "bundle", name="targets"))
    assert model.bundle.manifest.n_outputs == 9
    same = model.as_estimator()
    for found, expected in zip(same.predict_proba(rows), estimator.predict_proba(rows), strict=True):
        assert np.array_equal(found, expected)
    assert np.array_equal(same.predict(rows), estimator.predict(rows))
    assert [list(each) for each in same.classes_] == [list(each) for each in estimator.classes_]
    assert np.array_equal(model.predict(rows), np.hstack(estimator.predict_proba(rows)))
    assert "target 1: " in model.bundle.manifest.notes[0]
    explained = model.explain(rows[:30])
    np.testing.assert_allclose(explained.values.sum(axis=1) + explained.base, model.margin(rows[:30]), atol=1e-9)


def test_a_target_of_one_class_is_certain(tmp_path):
    rows = np.random.default_rng(20).normal(size=(60, 2))
    estimator = tree.DecisionTreeClassifier(max_depth=2).fit(rows, np.column_stack([rows[:, 0] > 0, np.zeros(60)]))
    same = mlrf.load(mlrf.build(estimator, tmp_path / "bundle", name="targets")).as_estimator()
    for found, expected in zip(same.predict_proba(rows), estimator.predict_proba(rows), strict=True):
        assert np.array_equal(found, expected)


def refused():
    rng = np.random.default_rng(8)
    rows, target = rng.normal(size=(60, 2)), rng.normal(size=60)
    stump = tree.DecisionTreeRegressor(max_depth=1)
    return {
        "a pipeline": (
            pipeline.make_pipeline(preprocessing.PolynomialFeatures(), stump).fit(rows, target),
            r"step 'polynomialfeatures' \(PolynomialFeatures\) cannot be folded",
        ),
        "a search": (
            model_selection.GridSearchCV(stump, {"max_depth": [1]}, cv=2).fit(rows, target),
            "build from its best_estimator_$",
        ),
        "a search without the best model": (
            model_selection.GridSearchCV(stump, {"max_depth": [1]}, cv=2, refit=False).fit(rows, target),
            "build from its best_estimator_, which it has if it is fitted with refit=True",
        ),
        "a threshold": (
            model_selection.FixedThresholdClassifier(tree.DecisionTreeClassifier(max_depth=1), threshold=0.2).fit(
                rows, target > 0
            ),
            "build from its estimator_, and compare its probabilities with threshold$",
        ),
        "a chain of classifiers": (
            multioutput.ClassifierChain(tree.DecisionTreeClassifier(max_depth=1)).fit(rows, rows > 0),
            "does not serve a ClassifierChain",
        ),
        "an isolation forest of one row a tree": (
            ensemble.IsolationForest(n_estimators=2, max_samples=1).fit(rows),
            "raise max_samples",
        ),
        "a linear model": (
            linear_model.LinearRegression().fit(rows, target),
            "to ONNX .* it serves DecisionTreeClassifier",
        ),
        "not fitted": (ensemble.RandomForestRegressor(), "not fitted"),
        "one class": (tree.DecisionTreeClassifier().fit(rows, np.zeros(60)), "single class 0.0"),
        "an init estimator": (
            ensemble.GradientBoostingRegressor(init=linear_model.LinearRegression(), n_estimators=2).fit(rows, target),
            "init=LinearRegression.*train it with init=None",
        ),
    }


REFUSED = refused()


@pytest.mark.parametrize("what", REFUSED)
def test_models_that_are_not_tree_sums_are_refused_by_name(what):
    estimator, reason = REFUSED[what]
    with pytest.raises(BuildError, match=reason) as caught:
        import_model(estimator)
    assert "\n" not in str(caught.value)


def test_a_frozen_model_is_read_like_the_model():
    rows = np.random.default_rng(9).normal(size=(60, 2))
    forest = ensemble.RandomForestRegressor(n_estimators=2, random_state=0).fit(rows, rows[:, 0])
    frozen, plain = import_model(FrozenEstimator(forest)), import_model(forest)
    assert encode_forest(frozen.forest) == encode_forest(plain.forest)
    assert frozen.features == plain.features


def test_a_skops_file_is_read_like_the_object(tmp_path):
    estimator, _ = fit("RandomForestClassifier", np.random.default_rng(9), 3)
    skops_files.dump(estimator, tmp_path / "model.skops")
    from_file, from_object = import_model(tmp_path / "model.skops"), import_model(estimator)
    assert from_file.source == (tmp_path / "model.skops").read_bytes()
    for name in ("feature", "threshold", "value", "cover", "base"):
        assert np.array_equal(getattr(from_file.forest, name), getattr(from_object.forest, name))
    assert from_file.classes == from_object.classes == (0, 1, 2)


class Stranger:
    """A type of no tree model."""


def test_a_skops_file_of_a_frozen_model_is_that_of_the_model(tmp_path):
    rows = np.random.default_rng(7).normal(size=(200, 3))
    forest = ensemble.RandomForestRegressor(5, random_state=0).fit(rows, rows[:, 0])
    skops_files.dump(FrozenEstimator(forest), tmp_path / "model.skops")
    frozen, plain = import_model(tmp_path / "model.skops"), import_model(forest)
    assert encode_forest(frozen.forest) == encode_forest(plain.forest)


def test_a_skops_file_with_other_types_is_not_loaded(tmp_path):
    estimator, _ = fit("DecisionTreeRegressor", np.random.default_rng(10))
    estimator.stranger = Stranger()
    skops_files.dump(estimator, tmp_path / "model.skops")
    with pytest.raises(UnsupportedModelError, match=r"contains .*Stranger, which no tree model"):
        import_model(tmp_path / "model.skops")


@pytest.mark.parametrize("name", ["GradientBoostingRegressor", "HistGradientBoostingClassifier"])
def test_losses_under_the_name_that_older_versions_wrote(tmp_path, name):
    rows = make_rows(np.random.default_rng(5), missing=False)
    few = {"max_iter": 5} if name.startswith("Hist") else {"n_estimators": 5}
    model = ALL[name](max_depth=2, **few).fit(rows, rows[:, 0] > 0)
    path = tmp_path / "old.skops"
    with zipfile.ZipFile(path, "w") as old, zipfile.ZipFile(io.BytesIO(skops_files.dumps(model))) as new:
        for member in new.namelist():
            old.writestr(member, new.read(member).replace(b'"sklearn._loss._loss"', b'"_loss"'))
    mlrf.build(path, tmp_path / "bundle", name="m")
    assert np.array_equal(mlrf.load(tmp_path / "bundle").margin(rows), margin_of(model, rows))


def test_wrapper_of_another_library_names_its_save_method(tmp_path):
    path = tmp_path / "m.skops"
    rows = make_rows(np.random.default_rng(6), missing=False)
    skops_files.dump(xgboost.XGBRegressor(n_estimators=2).fit(rows[:, :2], rows[:, 0]), path)
    with pytest.raises(UnsupportedModelError, match=r"contains a model of xgboost .*model\.save_model\('model\.ubj'\)"):
        import_model(path)


@pytest.mark.parametrize("labels", [["no", "yes"], [False, True], [3, 7], None])
@pytest.mark.parametrize("kind", [None, object])
def test_lightgbm_skops_file_is_read_without_loading(tmp_path, labels, kind):
    rows = make_rows(np.random.default_rng(6), missing=False)
    path = tmp_path / "m.skops"
    if labels is None:
        model = lightgbm.LGBMRegressor(n_estimators=2, verbosity=-1).fit(rows, rows[:, 0])
    else:
        target = np.array(labels, kind if isinstance(labels[0], str) else None)[(rows[:, 0] > 0).astype(int)]
        model = lightgbm.LGBMClassifier(n_estimators=2, verbosity=-1).fit(rows, target)
    skops_files.dump(model, path)
    found, expected = import_model(path), import_model(model)
    assert (found.library, found.classes, found.features) == ("lightgbm", expected.classes, expected.features)
    assert found.classes == (None if labels is None else tuple(labels))
    assert np.array_equal(found.forest.value, expected.forest.value)


def test_damaged_lightgbm_skops_files_are_refused(tmp_path):
    rows = make_rows(np.random.default_rng(6), missing=False)
    skops_files.dump(
        lightgbm.LGBMClassifier(n_estimators=2, verbosity=-1).fit(rows, rows[:, 0] > 0), tmp_path / "whole"
    )
    whole = (tmp_path / "whole").read_bytes()
    rng, path = random.Random(1), tmp_path / "m.skops"
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(rng.randrange(1, 6)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(bytes(damaged[: rng.choice([len(damaged), rng.randrange(1, len(damaged))])]))
        try:
            import_model(path)
        except BuildError as error:
            assert "\n" not in str(error)
    broken = [
        (b'"_handle"', b'"_gone"'),
        (b'"_Booster"', b'"_none"'),
        (b"tree\\\\n", b"twig\\\\n"),
        (b'"file"', b'"fool"'),
    ]
    for old, new in broken:
        with zipfile.ZipFile(path, "w") as other, zipfile.ZipFile(tmp_path / "whole") as archive:
            for member in archive.namelist():
                other.writestr(member, archive.read(member).replace(old, new))
        with pytest.raises(ModelUnreadableError):
            import_model(path)


def test_histograms_of_before_1_4_are_refused_with_a_way_out():
    rows = make_rows(np.random.default_rng(7), missing=False)
    model = ensemble.HistGradientBoostingRegressor(max_iter=2).fit(rows, rows[:, 0])
    del model._preprocessor
    with pytest.raises(UnsupportedModelError, match=r"1\.3 or older.*train it again"):
        import_model(model)


def test_leaves_that_hold_weights_are_refused():
    estimator, _ = fit("DecisionTreeClassifier", np.random.default_rng(11))
    estimator.tree_.value[:] *= 10.0  # as scikit-learn below 1.3 wrote them
    with pytest.raises(UnsupportedModelError, match=r"below 1.3"):
        import_model(estimator)


def test_damaged_skops_files_are_refused_in_a_sentence(tmp_path):
    whole = {}
    for name in ("RandomForestRegressor", "HistGradientBoostingClassifier", "GradientBoostingClassifier"):
        estimator, _ = fit(
            name, np.random.default_rng(12), **({"max_iter": 2} if "Hist" in name else {"n_estimators": 2})
        )
        whole[name] = skops_files.dumps(estimator)
    check_damaged_models(tmp_path / "model.skops", list(whole.values()), 150)


@settings(
    max_examples=int(os.environ.get("MLRF_MODELS", examples(80))),
    deadline=None,
    derandomize="MLRF_MODELS" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data(), seed=st.integers(0, 2**31), name=st.sampled_from(sorted(ALL)), n_classes=st.integers(2, 5))
def test_random_models_are_scikit_learns(data, seed, name, n_classes):
    options = {"max_leaf_nodes": data.draw(st.sampled_from([2, 3, 8, 31]))}
    if name.startswith("Hist"):
        options |= {"max_iter": data.draw(st.integers(1, 6)), "min_samples_leaf": data.draw(st.integers(1, 20))}
        options["max_bins"] = data.draw(st.sampled_from([2, 5, 255]))
    else:
        options["min_samples_leaf"] = data.draw(st.integers(1, 20))
        options["max_features"] = data.draw(st.sampled_from([1, 2, None]))
    if name.startswith(("Random", "ExtraTrees", "Gradient")):
        options["n_estimators"] = data.draw(st.integers(1, 7))
    estimator, _ = fit(name, np.random.default_rng(seed), n_classes, **options)
    with tempfile.TemporaryDirectory() as folder:
        assert_library_agrees(import_model(estimator), Path(folder), onnx=False, most=1_000)


@pytest.mark.parametrize(
    "name", ["RandomForestClassifier", "GradientBoostingClassifier", "HistGradientBoostingClassifier"]
)
def test_a_bundle_answers_and_labels_as_the_estimator_does(tmp_path, name):
    """Also where both classes are equally probable, which small forests often find."""
    rows = np.repeat(np.arange(6.0), 20)[:, None]
    target = np.where(np.arange(120) % 2 == 0, "no", "yes")
    target[:40] = "no"
    small = {"max_iter": 3, "min_samples_leaf": 1} if name.startswith("Hist") else {"n_estimators": 4}
    if name.startswith("Random"):
        small["bootstrap"] = False
    if name.startswith("Grad"):
        small["init"] = "zero"
        target[:] = np.where(np.arange(120) % 2 == 0, "no", "yes")
    estimator = ALL[name](random_state=0, **small).fit(rows, target)
    skops_files.dump(estimator, tmp_path / "model.skops")
    path = mlrf.build(tmp_path / "model.skops", tmp_path / "bundle", name="m")
    model = mlrf.load(path)
    few = np.arange(6.0)[:, None]
    shares = model.predict(few)
    np.testing.assert_allclose(shares, estimator.predict_proba(few)[:, 1], rtol=1e-12)
    assert name.startswith("Hist") or 0.5 in shares
    assert [rows_of(model).label_of(share) for share in shares.tolist()] == estimator.predict(few).tolist()


def test_damaged_non_archive_file_says_so(tmp_path):
    path = tmp_path / "model.skops"
    path.write_bytes(b"PK\x03\x04" + bytes(200))
    with pytest.raises(ModelUnreadableError, match="not a model that mlrf can read"):
        import_model(path)
