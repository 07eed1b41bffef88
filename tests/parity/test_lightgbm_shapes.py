"""Shapes of LightGBM models that are rare: old formats, odd names, parts of a model, many columns; compared with LightGBM."""

from __future__ import annotations

import re

import lightgbm as lgb
import numpy as np
import pytest

from library_answers import assert_library_agrees
from mlrf.builder.importers.detect import import_model
from mlrf.builder.importers.imported_model import ImportOptions
from mlrf.core.errors import SampleError, UnsupportedModelError
from models import QUIET, data, train


def rewritten(text: str, change) -> str:
    """The model with every tree's text changed, and tree_sizes corrected."""
    head, rest = text.split("\nTree=0\n", 1)
    body, tail = rest.split("end of trees\n", 1)
    trees = [change(f"Tree={i}\n" + block) for i, block in enumerate(re.split(r"(?m)^Tree=\d+\n", body))]
    sizes = " ".join(str(len(tree.encode())) for tree in trees)
    return re.sub("tree_sizes=.*", f"tree_sizes={sizes}", head) + "\n\n" + "".join(trees) + "end of trees\n" + tail


@pytest.mark.parametrize("version", ["v2", "v3"])
@pytest.mark.parametrize("objective", ["binary", "multiclassova", "cross_entropy"])
def test_old_formats(tmp_path, version, objective):
    """What versions 2.2 to 3.x left out, and how they named an objective; LightGBM of today reads these too."""
    text = train(objective, data(21)).model_to_string()
    old = rewritten(
        text, lambda tree: re.sub(r"(?m)^(is_linear=0|leaf_weight=.*|internal_weight=.*)\n", "", tree)
    ).replace("version=v4", f"version={version}")
    if version == "v2":
        old = old.replace("objective=cross_entropy", "objective=xentropy")
    assert old != text
    path = tmp_path / "model.txt"
    path.write_text(old)
    model = import_model(path)
    assert np.array_equal(model.forest.value, import_model_text(tmp_path, text).forest.value)
    assert_library_agrees(model, tmp_path, most=1_000)


def import_model_text(folder, text: str):
    path = folder / "new.txt"
    path.write_text(text)
    return import_model(path)


def test_files_without_an_end_marker_are_refused(tmp_path):
    text = train("regression", data(22)).model_to_string()
    head, tail = text.split("end of trees\n", 1)
    path = tmp_path / "model.txt"
    path.write_text(head + "\n\nfeature importances:\n" + tail.split("\nparameters:")[0])
    with pytest.raises(UnsupportedModelError, match=r"LightGBM 2.1 or older.*save it again"):
        import_model(path)


@pytest.mark.parametrize("boosting", ["gbdt", "rf"])
def test_a_part_of_the_iterations(tmp_path, boosting):
    bagging = {"bagging_freq": 1, "bagging_fraction": 0.6} if boosting == "rf" else {}
    booster = train("multiclass", data(23), boosting=boosting, **bagging)
    path = tmp_path / "model.txt"
    booster.save_model(path, start_iteration=2, num_iteration=3)
    model = import_model(path)
    assert (model.forest.n_trees, model.forest.divisor) == (9, 3.0 if boosting == "rf" else 1.0)
    assert_library_agrees(model, tmp_path, most=1_000)


def test_an_early_stopped_model_is_read_up_to_its_best_iteration(tmp_path):
    trained = data(24, levels=())
    known, unknown = lgb.Dataset(trained.rows[:300], trained.target[:300]), trained.target[300:]
    other = np.random.default_rng(0).permutation(unknown)
    booster = lgb.train(
        {**QUIET, "learning_rate": 0.5},
        known,
        200,
        valid_sets=[lgb.Dataset(trained.rows[300:], other, reference=known)],
        callbacks=[lgb.early_stopping(3, verbose=False)],
    )
    model = import_model(booster)
    assert model.forest.n_trees == booster.best_iteration < 200
    assert_library_agrees(model, tmp_path, most=1_000)


NAMES = ["größe", "a=b", "x;y|z", "<b>&amp;", "日本 語", "'quoted'", "back\\slash", "Tree0", "end of trees", "%s", "🙂"]


def test_names_of_any_character(tmp_path):
    rng = np.random.default_rng(25)
    rows = rng.normal(size=(300, len(NAMES)))
    dataset = lgb.Dataset(rows, rows @ np.arange(len(NAMES)), feature_name=NAMES)
    booster = lgb.train({**QUIET, "num_leaves": 8}, dataset, 6)
    booster.save_model(tmp_path / "model.txt")
    model = import_model(tmp_path / "model.txt")
    # LightGBM itself writes white space as underscores.
    assert [feature.name for feature in model.features] == [name.replace(" ", "_") for name in NAMES]
    assert_library_agrees(model, tmp_path, most=500)


def test_a_hundred_thousand_features(tmp_path):
    """The columns of a small model, put among 99,994 that no tree knows."""
    trained = data(26)
    text = train("regression", trained).model_to_string()
    n, shift = 100_000, 99_000
    names = " ".join(f"column_{i}" for i in range(n))
    infos = re.search("feature_infos=(.*)", text)[1]
    text = re.sub("feature_names=.*", f"feature_names={names}", text)
    text = re.sub("max_feature_idx=.*", f"max_feature_idx={n - 1}", text)
    padded = " ".join(["none"] * shift + infos.split() + ["none"] * (n - shift - 6))
    text = re.sub("feature_infos=.*", lambda _: f"feature_infos={padded}", text)
    text = re.sub(r"\[categorical_feature: .*\]", f"[categorical_feature: {shift + 4},{shift + 5}]", text)

    def moved(tree: str) -> str:
        return re.sub(
            "split_feature=(.*)",
            lambda found: "split_feature=" + " ".join(str(int(feature) + shift) for feature in found[1].split()),
            tree,
        )

    path = tmp_path / "model.txt"
    path.write_text(rewritten(text, moved))
    model = import_model(path)
    assert (model.forest.n_features, model.features[shift + 5].kind) == (n, "categorical")
    rows = np.zeros((6, n))
    rows[:, shift : shift + 6] = trained.rows[:6]
    from mlrf.builder.exporters.forest_file.encode import encode_forest  # noqa: PLC0415
    from mlrf.engines.tree_kernel import TreeEngine  # noqa: PLC0415

    (tmp_path / "forest.bin").write_bytes(encode_forest(model.forest))
    engine = TreeEngine(tmp_path / "forest.bin")
    assert np.array_equal(np.array(engine.margins(rows)), lgb.Booster(model_file=path).predict(rows))


def test_labels_of_classes(tmp_path):
    booster = train("multiclass", data(27))
    assert import_model(booster).classes == (0, 1, 2)
    assert import_model(booster, ImportOptions(classes=("a", "b", "c"))).classes == ("a", "b", "c")
    with pytest.raises(SampleError, match="3 classes"):
        import_model(booster, ImportOptions(classes=("a", "b")))
