"""CatBoost models from each of its formats, compared with CatBoost itself."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import catboost as cb
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mlrf
from bundles import rows_of
from damaged_models import check_damaged_models
from examples import examples
from library_answers import assert_library_agrees, contributions
from mlrf.builder.importers.detect import import_model
from mlrf.builder.importers.imported_model import ImportOptions
from mlrf.core.category_hash import category_hash, city_hash
from mlrf.core.errors import BuildError, ModelUnreadableError, SampleError, UnsupportedModelError
from naive_forest import brute_force

QUIET = {"verbose": 0, "allow_writing_files": False, "thread_count": 1, "random_seed": 3}
ROWS = 400
LOSSES = {
    "RMSE": ("regression", "identity"),
    "MAE": ("regression", "identity"),
    "Quantile:alpha=0.3": ("regression", "identity"),
    "Huber:delta=1": ("regression", "identity"),
    "Expectile:alpha=0.4": ("regression", "identity"),
    "LogCosh": ("regression", "identity"),
    "Poisson": ("regression", "exp"),
    "Tweedie:variance_power=1.4": ("regression", "exp"),
    "Logloss": ("binary", "sigmoid"),
    "CrossEntropy": ("binary", "sigmoid"),
    "Focal:focal_alpha=0.6;focal_gamma=2": ("binary", "sigmoid"),
    "MultiClass": ("multiclass", "softmax"),
    "MultiClassOneVsAll": ("multiclass", "sigmoid_each"),
    "YetiRank": ("ranking", "identity"),
    "QueryRMSE": ("ranking", "identity"),
    "PairLogit": ("ranking", "identity"),
}


def make_rows(rng, *, missing=True):
    rows = rng.normal(size=(ROWS, 4)).round(2)
    if missing:
        rows[rng.random(rows.shape) < 0.08] = np.nan
    return rows


def make_target(rng, rows, loss):
    rows = np.nan_to_num(rows)
    signal = rows[:, 0] * rows[:, 1] + np.sin(3 * rows[:, 2]) + 0.1 * rng.normal(size=len(rows))
    kind = loss.split(":")[0]
    if kind in ("Logloss", "Focal", "MultiClass", "MultiClassOneVsAll", "YetiRank", "PairLogit"):
        return np.digitize(signal, [0.0] if kind in ("Logloss", "Focal") else [-0.7, 0.7])
    if kind == "CrossEntropy":
        return (signal - signal.min()) / np.ptp(signal)
    return np.exp(signal / 3) if kind in ("Poisson", "Tweedie") else signal


def fit(loss, rng, *, missing=True, **options):
    rows = make_rows(rng, missing=missing)
    target = make_target(rng, rows, loss)
    group = np.arange(ROWS) // 10 if LOSSES.get(loss, ("",))[0] == "ranking" else None
    pool = cb.Pool(rows, target, group_id=group)
    options = {"iterations": 12, "depth": 4, **QUIET, **options}
    return cb.CatBoost({"loss_function": loss, **options}).fit(pool), rows


def saved(model, folder, kind):
    path = folder / f"model.{kind}"
    model.save_model(str(path), format=kind)
    return path


@pytest.mark.parametrize("kind", ["cbm", "json"])
@pytest.mark.parametrize("loss", LOSSES)
def test_margins_predictions_and_shap_equal_the_library(tmp_path, loss, kind):
    trained, rows = fit(loss, np.random.default_rng(1))
    model = import_model(saved(trained, tmp_path, kind))
    task, link = LOSSES[loss]
    assert (model.library, model.objective, model.task, model.link.kind) == ("catboost", loss.split(":")[0], task, link)
    assert model.classes == {"binary": (0, 1), "multiclass": (0, 1, 2)}.get(task)
    engine = assert_library_agrees(model, tmp_path, onnx=kind == "cbm")
    expected = trained.get_feature_importance(cb.Pool(rows[:40]), type="ShapValues").reshape(40, -1, 5)
    np.testing.assert_allclose(
        contributions(engine, rows[:40]), expected[..., :4].transpose(0, 2, 1), rtol=0, atol=1e-9
    )
    np.testing.assert_allclose(engine.base, expected[0, :, 4], rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", ["cbm", "json"])
@pytest.mark.parametrize("policy", ["Depthwise", "Lossguide"])
@pytest.mark.parametrize("loss", ["RMSE", "MultiClass"])
def test_trees_of_a_split_a_node(tmp_path, loss, policy, kind):
    trained, rows = fit(loss, np.random.default_rng(2), grow_policy=policy, iterations=4, min_data_in_leaf=5)
    model = import_model(saved(trained, tmp_path, kind))
    engine = assert_library_agrees(model, tmp_path)
    # CatBoost 1.2.10's own contributions for these trees do not add up to its prediction: compare with the definition instead.
    for row in rows[:4]:
        np.testing.assert_allclose(contributions(engine, row[None])[0], brute_force(model.forest, row), atol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"nan_mode": "Max"},
        {"nan_mode": "Forbidden"},
        {"depth": 1, "iterations": 1},
        {"depth": 10, "iterations": 2},
        {"border_count": 2},
        {"ignored_features": [0, 3]},
        {"boost_from_average": False, "l2_leaf_reg": 0.1},
        {"langevin": True},
        {"boosting_type": "Ordered"},
    ],
    ids=str,
)
def test_options(tmp_path, options):
    trained, _ = fit("RMSE", np.random.default_rng(3), missing=options.get("nan_mode") != "Forbidden", **options)
    for kind in ("cbm", "json"):
        assert_library_agrees(import_model(saved(trained, tmp_path, kind)), tmp_path, onnx=False)


def test_scale_and_bias(tmp_path):
    trained, _ = fit("RMSE", np.random.default_rng(4))
    trained.set_scale_and_bias(0.3, 0.7)
    model = import_model(trained)
    assert (model.forest.scale, model.forest.base.tolist()) == (0.3, [0.7])
    assert_library_agrees(model, tmp_path)


def test_wrappers_keep_names_and_labels(tmp_path):
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(make_rows(rng), columns=["a b", "größe", "c=d", "e"])
    target = make_target(rng, frame.to_numpy(), "MultiClass")
    words = np.array(["low", "middle", "high"])[target]
    model = import_model(cb.CatBoostClassifier(iterations=3, **QUIET).fit(frame, words))
    assert model.classes == ("high", "low", "middle")
    assert [feature.name for feature in model.features] == list(frame.columns)
    assert_library_agrees(model, tmp_path, onnx=False)
    renamed = import_model(
        cb.CatBoostClassifier(iterations=3, **QUIET).fit(frame, words), ImportOptions(classes=("H", "L", "M"))
    )
    assert renamed.classes == ("H", "L", "M")
    assert import_model(cb.CatBoostClassifier(iterations=1, **QUIET).fit(frame, target > 0)).classes == (False, True)
    assert import_model(cb.CatBoostRegressor(iterations=1, **QUIET).fit(frame, target)).classes is None


def test_a_bundle_answers_and_labels_as_the_classifier_does(tmp_path):
    """Also where both classes are equally probable."""
    rows = np.repeat(np.arange(6.0), 20)[:, None]
    target = np.where(np.arange(120) % 2 == 0, "no", "yes")
    target[:40] = "no"
    trained = cb.CatBoostClassifier(iterations=2, **QUIET).fit(rows, target)
    trained.set_scale_and_bias(0.0001, 0.0)
    saved(trained, tmp_path, "cbm")
    model = mlrf.load(mlrf.build(tmp_path / "model.cbm", tmp_path / "bundle", name="m"))
    assert rows_of(model).label_of(0.5) == "no"
    points = np.arange(6.0)[:, None]
    np.testing.assert_allclose(model.predict(points), trained.predict_proba(points)[:, 1], rtol=1e-12)
    assert [rows_of(model).label_of(share) for share in model.predict(points).tolist()] == trained.predict(
        points
    ).tolist()


def categories(rng):
    frame = pd.DataFrame(
        {
            "num": rng.normal(size=ROWS),
            "word": rng.choice(np.array(["a", "", "ü c", "x" * 70], object), ROWS),
            "code": rng.choice([0, 3, 17, 60_000], ROWS),
            "flag": rng.choice([False, True], ROWS),
        }
    )
    effect = frame["word"].map({"a": 2.0, "": -1.0, "ü c": 0.5, "x" * 70: -2.0})
    return frame, frame["num"] + effect + (frame["code"] == 17) * 2 - frame["flag"] * 1.0


@pytest.mark.parametrize("kind", ["cbm", "json"])
@pytest.mark.parametrize("policy", ["SymmetricTree", "Lossguide"])
def test_one_hot_categories(tmp_path, kind, policy):
    frame, target = categories(np.random.default_rng(6))
    named = ["word", "code", "flag"]
    trained = cb.CatBoostRegressor(
        iterations=40, depth=3, one_hot_max_size=10, cat_features=named, grow_policy=policy, **QUIET
    ).fit(frame, target)
    path = saved(trained, tmp_path, kind)
    with pytest.raises(SampleError, match=r"'word' is categorical.*--categories"):
        import_model(path)
    lists = {"word": ["never seen", *sorted(frame["word"].unique())], "flag": [False, True]}
    model = import_model(path, ImportOptions(lists))
    assert [feature.nullable for feature in model.features] == [True, False, False, False]
    # Integers are found by trying them.
    assert model.features[2].categories is None
    engine = assert_library_agrees(model, tmp_path)
    rows = np.column_stack(
        [
            frame["num"],
            frame["word"].map({word: i for i, word in enumerate(lists["word"])}),
            frame["code"],
            frame["flag"],
        ]
    ).astype(float)
    # What was written as JSON is read back a unit in the last place off, by CatBoost as by us.
    np.testing.assert_allclose(
        np.array(engine.margins(rows)), trained.predict(frame), rtol=1e-13 if kind == "json" else 0
    )
    if policy == "SymmetricTree":
        expected = trained.get_feature_importance(cb.Pool(frame[:40], cat_features=named), type="ShapValues")
        np.testing.assert_allclose(contributions(engine, rows[:40])[..., 0], expected[:, :4], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("lists", "reason"),
    [
        ({"nowhere": ["a"]}, "not a feature of the model"),
        ({"num": ["a"]}, "uses it as a number"),
        ({"word": ["a", "a"]}, "lists a category twice"),
        ({"word": [1.5]}, "does not accept the category 1.5"),
    ],
)
def test_lists_that_do_not_fit_are_refused(lists, reason):
    frame, target = categories(np.random.default_rng(7))
    trained = cb.CatBoostRegressor(iterations=2, one_hot_max_size=9, cat_features=["word", "code", "flag"], **QUIET)
    with pytest.raises(SampleError, match=reason):
        import_model(trained.fit(frame, target), ImportOptions({"word": ["a", ""], "flag": [False, True], **lists}))


@pytest.mark.parametrize("kind", ["cbm", "json"])
@pytest.mark.parametrize(
    ("loss", "targets", "task", "link"),
    [
        ("MultiRMSE", 2, "regression", "identity"),
        ("RMSEWithUncertainty", 1, "raw", "identity"),
        ("MultiLogloss", 3, "raw", "sigmoid_each"),
        ("MultiCrossEntropy", 2, "raw", "sigmoid_each"),
        ("MultiQuantile:alpha=0.1,0.5,0.9", 1, "regression", "identity"),
    ],
)
def test_losses_of_several_answers(tmp_path, loss, targets, task, link, kind):
    rng = np.random.default_rng(9)
    rows = make_rows(rng)
    of_one = make_target(rng, rows, {"MultiLogloss": "Logloss", "MultiCrossEntropy": "CrossEntropy"}.get(loss, "RMSE"))
    columns = np.column_stack([np.roll(of_one, index) for index in range(targets)])
    trained = cb.CatBoost({"loss_function": loss, "iterations": 5, **QUIET}).fit(rows, columns)
    model = import_model(saved(trained, tmp_path, kind))
    assert (model.task, model.link.kind, model.classes) == (task, link, None)
    assert "outputs are" in model.notes[0]
    assert_library_agrees(model, tmp_path)


def test_the_second_output_of_uncertainty_is_half_a_logarithm(tmp_path):
    rng = np.random.default_rng(10)
    rows = make_rows(rng)
    trained = cb.CatBoost({"loss_function": "RMSEWithUncertainty", "iterations": 5, **QUIET})
    trained.fit(rows, make_target(rng, rows, "RMSE"))
    engine = assert_library_agrees(import_model(trained), tmp_path)
    margins = np.array(engine.margins(rows)).reshape(-1, 2)
    variances = trained.predict(rows, prediction_type="RMSEWithUncertainty")[:, 1]
    np.testing.assert_allclose(np.exp(2 * margins[:, 1]), variances, rtol=1e-12)


def test_text_features_are_refused_by_name(tmp_path):
    words = pd.DataFrame({"text": ["good and red", "bad and blue"] * 30, "num": np.arange(60.0)})
    trained = cb.CatBoostClassifier(iterations=2, text_features=["text"], **QUIET).fit(words, np.arange(60) % 2)
    with pytest.raises(UnsupportedModelError, match="text features"):
        import_model(saved(trained, tmp_path, "cbm"))


def test_a_model_that_is_not_fitted_is_refused():
    with pytest.raises(ModelUnreadableError, match="not fitted"):
        import_model(cb.CatBoostRegressor())


def test_hashes_of_categories():
    # Each length class of the algorithm; the values are CatBoost's own, out of the models that learned these categories.
    texts = ["x" * size for size in (0, 1, 3, 4, 8, 9, 16, 17, 32, 33, 64, 65, 128, 129, 200)]
    frame = pd.DataFrame({"word": np.array(texts * 20, object)})
    target = np.tile(np.random.default_rng(0).permutation(len(texts)), 20)
    trained = cb.CatBoostRegressor(
        iterations=120, depth=4, one_hot_max_size=255, cat_features=[0], learning_rate=0.5, **QUIET
    ).fit(frame, target)
    with tempfile.TemporaryDirectory() as folder:
        document = json.loads(saved(trained, Path(folder), "json").read_bytes())
    values = {value & 0xFFFFFFFF for value in document["features_info"]["categorical_features"][0]["values"]}
    assert len(values) >= len(texts) - 1  # one split fewer tells them all apart
    assert values <= {category_hash(text) for text in texts}
    assert city_hash(b"") == 0x9AE16A3B2F90404F


def test_a_json_model_of_stated_values(tmp_path):
    """Written by hand: one value a leaf of a tree without splits, an old file without scale, bias and notes."""
    path = tmp_path / "model.json"
    path.write_text(
        json.dumps(
            {
                "features_info": {"float_features": [{"flat_feature_index": 2, "feature_index": 0, "borders": [0.5]}]},
                "oblivious_trees": [
                    {"leaf_values": [4.0], "leaf_weights": [2], "splits": None},
                    {
                        "leaf_values": [1.0, 2.0],
                        "splits": [{"split_type": "FloatFeature", "border": 0.5, "float_feature_index": 0}],
                    },
                ],
            }
        )
    )
    model = import_model(path)
    assert (model.task, [feature.name for feature in model.features]) == ("raw", ["0", "1", "2"])
    assert model.forest.value.tolist() == [4.0, 0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"features_info": {}, "oblivious_trees": []}', "no trees"),
        (b'{"features_info": {}, "oblivious_trees": [{"leaf_values": [1, 2, 3], "splits": null}]}', "has 3 outputs"),
        (b'{"features_info": 3}', "not a CatBoost JSON model"),
        (b'{"features_info": {"float_features": [{"fl', "not a CatBoost JSON model"),
        (b"CBM1", "shorter than its header says"),
        (b"CBM1\x08\x00\x00\x00" + bytes(8), "points outside the file|format"),
    ],
    ids=range(6),
)
def test_non_model_files_are_refused(tmp_path, content, reason):
    path = tmp_path / "model"
    path.write_bytes(content)
    with pytest.raises(BuildError, match=reason):
        import_model(path)


def test_damaged_files_are_refused_in_a_sentence(tmp_path):
    frame, target = categories(np.random.default_rng(10))
    one_hot = cb.CatBoostRegressor(iterations=4, one_hot_max_size=9, cat_features=["code"], **QUIET)
    models = [
        fit("RMSE", np.random.default_rng(11), iterations=3)[0],
        fit("MultiClass", np.random.default_rng(11), iterations=2, grow_policy="Lossguide")[0],
        one_hot.fit(frame[["num", "code"]], target),
    ]
    whole = [saved(model, tmp_path, kind).read_bytes() for model in models for kind in ("cbm", "json")]
    # Structure is at the start of either format; bytes of the notes at the end do not change the model.
    check_damaged_models(tmp_path / "damaged", whole, 400, head_bytes=600)


@settings(
    max_examples=int(os.environ.get("MLRF_MODELS", examples(80))),
    deadline=None,
    derandomize="MLRF_MODELS" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
@given(
    seed=st.integers(0, 2**31),
    loss=st.sampled_from(sorted(LOSSES)),
    kind=st.sampled_from(["cbm", "json"]),
    options=st.fixed_dictionaries(
        {
            "depth": st.integers(1, 6),
            "iterations": st.integers(1, 6),
            "grow_policy": st.sampled_from(["SymmetricTree", "Depthwise", "Lossguide"]),
            "nan_mode": st.sampled_from(["Min", "Max"]),
            "border_count": st.sampled_from([1, 4, 254]),
            "learning_rate": st.sampled_from([0.03, 1.0]),
        }
    ),
)
def test_random_models_are_catboosts(seed, loss, kind, options):
    if LOSSES[loss][0] == "ranking":  # these grow symmetric trees alone
        options = options | {"grow_policy": "SymmetricTree"}
    trained, _ = fit(loss, np.random.default_rng(seed), **options)
    with tempfile.TemporaryDirectory() as folder:
        model = import_model(saved(trained, Path(folder), kind))
        assert_library_agrees(model, Path(folder), onnx=False, most=1_000)
