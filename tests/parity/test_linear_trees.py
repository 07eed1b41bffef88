"""LightGBM's linear trees: margins to the bit, what is refused by name, damaged files."""

from __future__ import annotations

import re

import lightgbm as lgb
import numpy as np
import pytest
from sklearn.ensemble import VotingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import mlrf
import models
from mlrf.builder.exporters.forest_file.encode import encode_forest
from mlrf.builder.importers.detect import import_model
from mlrf.builder.parity.exports import run_trees
from mlrf.builder.parity.golden_rows import golden_rows
from mlrf.core.errors import (
    BuildError,
    ModelUnreadableError,
    NotExplainableError,
    NoThresholdsError,
    SampleError,
    UnsupportedModelError,
)

GIVEN = models.data(0)


def linear(objective: str = "regression", rounds: int = 8, **options) -> lgb.Booster:
    return models.train(objective, GIVEN, rounds=rounds, linear_tree=True, **options)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    booster = linear()
    folder = tmp_path_factory.mktemp("linear")
    return booster, mlrf.load(mlrf.build(booster, folder / "bundle", name="linear"))


@pytest.mark.parametrize(
    ("objective", "options"),
    [
        ("regression", {}),
        ("regression", {"boosting": "dart", "drop_rate": 0.5}),
        ("regression", {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.7}),
        ("regression", {"use_missing": False}),
        ("binary", {"linear_lambda": 0.1}),
        ("multiclass", {}),
        ("poisson", {}),
    ],
)
def test_margins_are_lightgbms_to_the_bit(objective, options):
    booster = linear(objective, **options)
    model = import_model(booster)
    rows = golden_rows(model.forest, None, lambda _: None).rows.dense()
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, 2500).astype(int))]
    kept = np.arange(0, len(rows), 10)
    got = run_trees(encode_forest(model.forest), rows, kept)
    expected = booster.predict(rows, raw_score=True).reshape(len(rows), -1) / model.settings["divisor"]
    np.testing.assert_array_equal(got.margins, expected)
    np.testing.assert_array_equal(got.single, expected[kept])
    assert got.contributions is None
    assert len(model.forest.linear.features) > 0


def test_missing_values_in_a_leafs_function_give_its_constant(built):
    booster, model = built
    rows = GIVEN.rows.copy()
    for column in range(rows.shape[1]):
        rows[column::7, column] = np.nan
    np.testing.assert_array_equal(model.margin(rows), booster.predict(rows, raw_score=True))


def test_a_bundle_refuses_what_linear_trees_cannot_answer(built):
    booster, model = built
    manifest = model.bundle.manifest
    assert manifest.facts.linear_leaves > 0
    assert "model.onnx" not in manifest.files
    assert any("linear_tree" in note for note in manifest.notes)
    np.testing.assert_array_equal(model.predict(GIVEN.rows), booster.predict(GIVEN.rows))
    with pytest.raises(NotExplainableError, match=r"linear leaves.*send the request without explanations"):
        model.explain(GIVEN.rows[:2])
    row = dict(zip([feature.name for feature in model.schema.features], GIVEN.rows[20].tolist(), strict=True))
    with pytest.raises(NoThresholdsError, match="linear leaves"):
        model.curve(row, "Column_0")
    with pytest.raises(lgb.basic.LightGBMError, match="not implemented for linear trees"):
        booster.predict(GIVEN.rows, pred_contrib=True)


def test_leaves_and_base_margins_are_lightgbms(built):
    booster, model = built
    np.testing.assert_array_equal(model.leaves(GIVEN.rows), booster.predict(GIVEN.rows, pred_leaf=True))
    np.testing.assert_array_equal(
        model.margin(GIVEN.rows, base_margin=2.5), booster.predict(GIVEN.rows, raw_score=True) + 2.5
    )


def test_explained_rows_are_refused_before_the_build(tmp_path):
    with pytest.raises(SampleError, match=r"--explain: neither LightGBM nor mlrf has Shapley values of linear leaves"):
        mlrf.build(linear(), tmp_path / "b", name="m", features=tmp_path / "rows.parquet", key=["k"], explain=True)


def test_pipelines_and_combinations_of_linear_trees_are_refused():
    wrapper = lgb.LGBMRegressor(n_estimators=3, linear_tree=True, verbose=-1)
    rows = np.nan_to_num(GIVEN.rows)
    for estimator in (make_pipeline(StandardScaler(), wrapper), VotingRegressor([("a", wrapper), ("b", wrapper)])):
        with pytest.raises(UnsupportedModelError, match=r"linear trees \(linear_tree\), which mlrf serves alone"):
            import_model(estimator.fit(rows, GIVEN.target))


@pytest.mark.parametrize(
    ("pattern", "to", "reason"),
    [
        (r"leaf_const=\S+ ", "leaf_const=", "leaf_const"),
        (r"leaf_const=\S+", "leaf_const=nan", "not a number"),
        (r"leaf_const=\S+", "leaf_const=inf", "not finite"),
        (r"(num_features=)\d+", r"\g<1>-1", "num_features of -1"),
        (r"(num_features=)\d+", r"\g<1>7", "leaf_features"),
        (r"leaf_coeff=\S+ ", "leaf_coeff=", "leaf_coeff"),
        (r"leaf_features=\d+", "leaf_features=99", "a linear leaf reads no feature"),
        (r"leaf_features=\d+", "leaf_features=-1", "a linear leaf reads no feature"),
        (r"leaf_features=\d+", "leaf_features=4294967295", "a linear leaf reads no feature"),
        (r"num_features=.*\n", "", "no num_features"),
    ],
)
def test_damaged_functions_are_refused(pattern, to, reason, tmp_path):
    text = linear(rounds=2).model_to_string()
    text = re.sub(r"tree_sizes=.*\n", "", text)
    first, second = text.split("Tree=1\n")
    damaged, count = re.subn(pattern, to, second, count=1)
    assert count == 1
    (tmp_path / "m.txt").write_text(first + "Tree=1\n" + damaged)
    with pytest.raises(ModelUnreadableError, match=reason):
        import_model(tmp_path / "m.txt")


def test_damaged_files_are_refused_or_read(tmp_path):
    rng, sound = np.random.default_rng(0), re.sub(r"tree_sizes=.*\n", "", linear(rounds=2).model_to_string()).encode()
    for _ in range(200):
        content = bytearray(sound)
        for _ in range(int(rng.integers(1, 4))):
            content[int(rng.integers(len(content)))] = int(rng.integers(32, 127))
        (tmp_path / "m").write_bytes(content)
        try:
            encode_forest(import_model(tmp_path / "m").forest)
        except BuildError as error:
            assert str(error).strip()
