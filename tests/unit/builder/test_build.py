"""`mlrf.build` as a caller sees it: a working bundle, or a typed error and nothing on disk."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace

import lightgbm as lgb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse

import mlrf
from mlrf.builder.bundle.game_files import game_files, read_games
from mlrf.builder.bundle.golden_parquet import read_golden
from mlrf.builder.importers.detect import import_model
from mlrf.builder.importers.imported_model import ImportedModel
from mlrf.builder.parity.reference_runner import run_reference_library
from mlrf.builder.sample import schema_of
from mlrf.cli import main
from mlrf.core.bundle import read_bundle
from mlrf.core.errors import (
    BuildError,
    BundleError,
    ConfigError,
    ModelUnreadableError,
    OutputExistsError,
    SampleError,
)
from mlrf.core.feature import Feature, Kind
from mlrf.core.golden_bin import read_golden_rows
from mlrf.core.manifest import FOREST
from once_a_run import once_a_run


@pytest.fixture(scope="module")
def built(tmp_path_factory, booster, frame):
    def build(out):
        mlrf.build(booster, out, name="shop-sales", sample=frame)

    return once_a_run(tmp_path_factory, "shop-bundle", build)


def test_a_bundle_answers_as_the_booster_does(built, booster, frame):
    model = mlrf.load(built)
    np.testing.assert_array_equal(model.predict(frame), booster.predict(frame))
    bundle = read_bundle(built)
    assert [f.kind for f in bundle.schema.features] == [Kind.NUMERIC, Kind.INTEGER, Kind.BOOLEAN, Kind.CATEGORICAL]
    assert bundle.schema.row(bundle.schema.example())
    assert bundle.schema.example()["shop"] in ("north", "south", "east")
    assert set(bundle.manifest.parity) == {"trees", "onnxruntime"}
    assert bundle.manifest.parity["onnxruntime"]["sampled"].rows == len(frame)
    for kinds in bundle.manifest.parity.values():
        assert set(kinds) == {"sampled", "random", "missing", "threshold", "categories", "zero"}
        assert all(rows.rows == rows.bit_equal for rows in kinds.values())
    assert bundle.manifest.coverage.nodes == bundle.manifest.facts.leaves - bundle.manifest.facts.trees
    golden = read_golden(bundle.file("golden.parquet"))
    assert golden.rows.shape[1] == 4
    assert set(golden.kinds) == set(bundle.manifest.parity["trees"])
    np.testing.assert_array_equal(booster.predict(golden.rows), golden.predictions[:, 0])
    plain = read_golden_rows(bundle.file("golden.bin"), 4, 1)
    rows, margins = np.array(plain.rows).reshape(-1, 4), np.array(plain.margins)
    np.testing.assert_array_equal(booster.predict(rows, raw_score=True), margins)
    assert plain.n == 256


def test_same_inputs_give_the_same_version(built, booster, frame, tmp_path):
    again = mlrf.build(booster, tmp_path / "b", name="shop-sales", sample=frame)
    assert read_bundle(again).version == read_bundle(built).version
    with pytest.raises(OutputExistsError):
        mlrf.build(booster, again, name="other")
    mlrf.build(booster, again, name="other", force=True)
    assert read_bundle(again).name == "other"
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow", "parquet", "spaces", "array"])
def test_samples_of_every_kind_are_read(kind, booster, frame, tmp_path):
    features = import_model(booster).features
    expected, rows = schema_of(features, frame)
    table = pa.Table.from_pandas(frame.assign(shop=frame["shop"].astype(str), target=1.0), preserve_index=False)
    match kind:
        case "pandas":
            sample = frame
        case "polars":
            sample = pl.from_arrow(table)
        case "arrow":
            sample = table
        case "parquet":
            sample = tmp_path / "s.parquet"
            pq.write_table(table, sample)
        case "spaces":
            sample = frame.sample(frac=1, random_state=1)[["shop", "promo", "price", "stock"]]
        case "array":
            sample = np.column_stack([frame[c].cat.codes if c == "shop" else frame[c].astype(float) for c in frame])
    schema, found = schema_of(features, sample)
    if kind == "spaces":
        found = found[np.argsort(frame.sample(frac=1, random_state=1).index)]
    np.testing.assert_array_equal(found, rows)
    assert schema.features[1].kind is (Kind.NUMERIC if kind == "array" else Kind.INTEGER)
    assert kind in ("array", "spaces") or schema == expected


def test_integers_beyond_float64_in_a_sample_are_rounded_as_by_the_library():
    ids = [2**53 + 1, 9_007_199_254_741_003, -(2**60) - 7]
    _, rows = schema_of((Feature("id", example=0.0),), pd.DataFrame({"id": ids}))
    np.testing.assert_array_equal(rows[:, 0], np.array(ids).astype(np.float64))


@pytest.mark.parametrize("sampled", [False, True])
def test_training_frame_works_as_sample_and_input(sampled, tmp_path, capsys):
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"unit price": rng.random(300), "on sale": rng.random(300) < 0.5, 7: rng.random(300)})
    target = frame["unit price"] + frame["on sale"] + frame[7]
    booster = lgb.train({"verbose": -1, "num_leaves": 5}, lgb.Dataset(frame.rename(columns=str), target), 3)
    table = frame.rename(columns=str)
    bundle = mlrf.build(booster, tmp_path / "b", name="m", sample=table if sampled else None)
    expected = booster.predict(table)
    model = mlrf.load(bundle)
    assert model.schema.names == ("unit_price", "on_sale", "7")
    for rows in (frame, table, pl.from_pandas(table), pa.Table.from_pandas(table)):
        np.testing.assert_array_equal(model.predict(rows), expected)
    table.to_csv(tmp_path / "r.csv", index=False)
    table.to_parquet(tmp_path / "r.parquet")
    (tmp_path / "r.json").write_text(
        json.dumps(
            [{**row, "on sale": row["on sale"] if sampled else int(row["on sale"])} for row in table.to_dict("records")]
        )
    )
    for kind in ("csv", "parquet", "json"):
        assert main(["predict", str(bundle), str(tmp_path / f"r.{kind}")]) == 0
        stdout = capsys.readouterr().out
        np.testing.assert_allclose(
            [json.loads(line)["prediction"] for line in stdout.splitlines()], expected, rtol=1e-14
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: pd.concat([f, f[["stock"]]], axis=1), "Duplicate"),
        (lambda f: pa.table([f["price"], f["price"]], names=["price", "price"]), "two columns 'price'"),
        (lambda f: f.drop(columns=["price", "shop"]), "no column 'price', 'shop'"),
        (
            lambda f: f.add_prefix("my "),
            "trained on an array has no names: rename the sample's columns, or give an array",
        ),
        (lambda f: scipy.sparse.csr_matrix((9, 3)), r"not csr_matrix; make it dense with its toarray\(\)"),
        (lambda f: f.assign(price="cheap"), "'price' contains"),
        (lambda f: f.assign(stock="2024-01-01"), "'stock' contains"),
        (lambda f: f.assign(shop=1.5), "none of the feature's categories"),
        (lambda f: f.assign(shop=[["a"]] * len(f)), "row 0"),
        (lambda f: f.iloc[:0], "no rows"),
        (lambda f: 17, "not int"),
        (lambda f: np.zeros((3, 2)), r"\[3, 2\]"),
        (lambda f: "absent.parquet", "does not exist"),
        (lambda f: __file__, "not a Parquet"),
    ],
)
def test_invalid_sample_is_refused_leaving_nothing(change, message, booster, frame, tmp_path):
    with pytest.raises(SampleError, match=message):
        mlrf.build(booster, tmp_path / "b", name="m", sample=change(frame))
    assert not any(tmp_path.iterdir())


def test_names_of_categories_that_only_the_sample_has_must_be_listed(tmp_path, frame):
    coded = frame.assign(shop=frame["shop"].cat.codes).to_numpy(float)
    options = {"verbosity": -1, "min_data_in_leaf": 5}
    names = list(frame)
    data = lgb.Dataset(coded, coded[:, names.index("shop")], feature_name=names, categorical_feature=["shop"])
    booster = lgb.train(options, data, 2)
    named = frame.assign(shop=frame["shop"].astype(object))
    with pytest.raises(SampleError, match=r"'shop' contains names of categories .* list them with --categories"):
        mlrf.build(booster, tmp_path / "b", name="m", sample=named)
    lists = {"shop": frame["shop"].cat.categories.tolist()}
    served = mlrf.load(mlrf.build(booster, tmp_path / "b", name="m", sample=named, categories=lists))
    assert np.array_equal(served.predict(named), booster.predict(coded))


def test_a_classifier_of_one_class_needs_labels(tmp_path):
    rows = np.random.default_rng(0).random((99, 2))
    wrapper = lgb.LGBMClassifier(n_estimators=2, verbosity=-1).fit(rows, np.full(99, "no"))
    with pytest.raises(SampleError, match=r"trained on rows of 1 class, \['no'\], but has outputs for 2"):
        mlrf.build(wrapper, tmp_path / "b", name="m")
    model = mlrf.load(mlrf.build(wrapper, tmp_path / "b", name="m", classes=["no", "yes"]))
    assert set(model.label(rows)) == {"no"}


def test_other_inputs_that_are_wrong(booster, monkeypatch, tmp_path):
    with pytest.raises(ConfigError, match="name"):
        mlrf.build(booster, tmp_path / "b", name="a b")
    for name in (".", "..", "...", 5, None, ""):
        with pytest.raises(ConfigError, match="name"):
            mlrf.build(booster, tmp_path / "b", name=name)
    with pytest.raises(ConfigError, match="model is an empty path"):
        mlrf.build("", tmp_path / "b", name="m")
    with pytest.raises(ConfigError, match="out is an empty path"):
        mlrf.build(booster, "", name="m")
    with pytest.raises(ModelUnreadableError, match="does not exist"):
        mlrf.build(tmp_path / "none.txt", tmp_path / "b", name="m")
    for model in (lgb.LGBMRegressor(), lgb.LGBMClassifier()):
        with pytest.raises(ModelUnreadableError, match="is not fitted"):
            mlrf.build(model, tmp_path / "b", name="m")
    lists = tmp_path / "lists.json"
    for wrong in ("{", "[1]", '{"shop": 3}', '{"shop": [null]}', "[" * 100_000):
        lists.write_text(wrong)
        with pytest.raises(SampleError, match="category lists"):
            mlrf.build(booster, tmp_path / "b", name="m", categories=lists)
    lists.write_text('{"shop": ["east", "north", "south"]}')
    monkeypatch.setattr("mlrf.builder.category_lists._MAX_LIST_BYTES", 8)
    with pytest.raises(SampleError, match="larger than"):
        mlrf.build(booster, tmp_path / "b", name="m", categories=lists)
    with pytest.raises(SampleError, match="cannot be read"):
        mlrf.build(booster, tmp_path / "b", name="m", categories=tmp_path / "absent.json")
    assert [p.name for p in tmp_path.iterdir()] == ["lists.json"]


def test_category_lists_from_a_file_name_the_categories(text, tmp_path):
    model = tmp_path / "model.txt"
    model.write_bytes(re.sub(rb"pandas_categorical:.*", b"pandas_categorical:null", text))
    lists = tmp_path / "lists.json"
    lists.write_text(json.dumps({"shop": ["E", "N", "S"]}))
    bundle = read_bundle(mlrf.build(model, tmp_path / "b", name="m", categories=lists))
    assert bundle.schema.features[3].categories == ("E", "N", "S")


def altered(model: ImportedModel, source: bytes) -> ImportedModel:
    return replace(model, source=source)


def test_failing_library_is_reported_distinctly(booster, monkeypatch, tmp_path):
    model = import_model(booster)
    rows, indices = np.zeros((3, 4)), np.array([0])
    answers = run_reference_library(model, rows, indices)
    assert answers.margins.shape == (3, 1)
    assert answers.predictions.shape == (1, 1)
    with pytest.raises(ModelUnreadableError, match="lightgbm refuses"):
        run_reference_library(altered(model, b"no model"), rows, indices)
    with pytest.raises(BuildError, match=r"within 0 s"):
        run_reference_library(model, rows, indices, time_limit_s=0.0)
    # A lightgbm that cannot be imported, and one that dies of a signal, stand before the real one on the child's path.
    (tmp_path / "lightgbm.py").write_text("raise ImportError('no lightgbm here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(BuildError, match=r"pip install lightgbm .*no lightgbm here"):
        run_reference_library(model, rows, indices)
    (tmp_path / "lightgbm.py").write_text("import os; os.kill(os.getpid(), 11)")
    with pytest.raises(BuildError, match=r"crashed on this model .signal 11"):
        run_reference_library(model, rows, indices)


def test_invalid_golden_rows_are_refused(tmp_path):
    for content in (b"", b"PAR1", b"x" * 100):
        (tmp_path / "golden.parquet").write_bytes(content)
        with pytest.raises(BundleError, match="golden rows"):
            read_golden(tmp_path / "golden.parquet")
    pq.write_table(pa.table({"kind": ["a"]}), tmp_path / "golden.parquet")
    with pytest.raises(BundleError, match="columns"):
        read_golden(tmp_path / "golden.parquet")


def test_reading_a_model_does_not_import_lightgbm(model_file):
    script = (
        "import sys, mlrf; from mlrf.builder.importers.detect import import_model; import_model(sys.argv[1]);"
        "assert 'lightgbm' not in sys.modules; assert callable(mlrf.build); assert not {'onnx', 'onnxruntime'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script, model_file], check=True)
    with pytest.raises(AttributeError, match="nothing_such"):
        mlrf.nothing_such  # noqa: B018


def test_missing_builder_package_names_the_pip_command(model_file, tmp_path):
    script = (
        "import sys; model, out = sys.argv[1:]; sys.modules['pyarrow'] = None\n"
        "import mlrf; from mlrf.core.errors import ConfigError; mlrf.load\n"
        "try: mlrf.build(model, out, name='m')\n"
        "except ConfigError as error: print(error)"
    )
    command = [sys.executable, "-c", script, model_file, tmp_path / "b"]
    stdout = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert stdout == "building needs pyarrow: pip install 'mlrf[build]'\n"


def test_the_order_of_columns_in_a_sample_does_not_matter(built, booster, frame, tmp_path):
    again = mlrf.build(booster, tmp_path / "b", name="shop-sales", sample=pd.DataFrame(frame)[list(frame)[::-1]])
    assert (again / "manifest.json").read_bytes() == (built / "manifest.json").read_bytes()


def test_a_background_is_stored_whatever_holds_its_rows(tmp_path, built, booster, frame):
    rows, model = frame.iloc[:20], mlrf.load(built)
    expected = model.explain(frame.iloc[20:30], background=rows)
    rows.to_csv(tmp_path / "rows.csv", index=False)
    rows.assign(sold=1).to_parquet(tmp_path / "rows.parquet")
    bundle = mlrf.build(booster, tmp_path / "b", name="shop-sales", sample=frame, background=str(tmp_path / "rows.csv"))
    found = mlrf.load(bundle).explain(frame.iloc[20:30], background=True)
    np.testing.assert_array_equal(found.values, expected.values)
    assert found.base == expected.base
    for given in (rows, tmp_path / "rows.parquet"):
        chosen, forest = read_games({"background": given}), (bundle / FOREST).read_bytes()
        files = game_files(chosen, "shop-sales", model.schema, forest, None, tmp_path, lambda _step, _done: None)
        assert files == {"background.bin": (bundle / "background.bin").read_bytes()}


def test_groups_are_stored_for_servers(tmp_path, booster, frame):
    groups = {"goods": ["price", "stock"]}
    (tmp_path / "groups.json").write_text(json.dumps(groups), encoding="utf-8")
    for number, given in enumerate([groups, str(tmp_path / "groups.json")]):
        path = mlrf.build(booster, tmp_path / f"g{number}", name="shop-sales", sample=frame, groups=given)
        model = mlrf.load(path)
        found, expected = (model.explain(frame.iloc[:9], groups=each) for each in (True, groups))
        np.testing.assert_array_equal(found.values, expected.values)
        assert found.feature_names == ["goods", "promo", "shop"]


def test_groups_that_cannot_be_used_are_refused(tmp_path, booster, frame):
    (tmp_path / "groups.json").write_text('{"goods": "price"}', encoding="utf-8")
    for given, message in [
        (tmp_path / "absent.json", "--groups: .*absent.json cannot be read"),
        (tmp_path / "groups.json", "--groups: not .*array"),
        ({"goods": ["prize"]}, "--groups: .*prize"),
        ({}, "--groups: groups must be"),
    ]:
        with pytest.raises(ConfigError, match=message):
            mlrf.build(booster, tmp_path / "b", name="shop-sales", sample=frame, groups=given)
    assert not (tmp_path / "b").exists()


def test_a_background_that_cannot_be_used_is_refused(tmp_path, booster, frame, monkeypatch):
    (tmp_path / "rows.csv").write_text("price,stock,promo,shop\n1,2,true,north\n1,x,true,north\n")
    for given, message in [
        (tmp_path / "absent.csv", "--background: .*absent.csv does not exist"),
        (tmp_path / "rows.csv", "--background: row 1: .*stock"),
        (frame.iloc[:0], "--background: the background has no rows"),
        (frame.drop(columns="shop"), "--background: .*shop"),
    ]:
        with pytest.raises(SampleError, match=message):
            mlrf.build(booster, tmp_path / "b", name="shop-sales", sample=frame, background=given)
    monkeypatch.setattr("mlrf.model.background.MOST_BACKGROUND_BYTES", 100)
    with pytest.raises(SampleError, match=r"--background: .*takes more than .* MB.*give fewer rows"):
        mlrf.build(booster, tmp_path / "b", name="shop-sales", sample=frame, background=frame)
    assert not (tmp_path / "b").exists()
