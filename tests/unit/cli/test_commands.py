"""The offline commands as a shell sees them: output and exit status."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import lightgbm as lgb
import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mlrf
from mlrf.builder.bundle.golden_parquet import encode_golden, read_golden
from mlrf.builder.bundle.writer import write_bundle
from mlrf.builder.importers.detect import LIBRARIES
from mlrf.cli import main, verify
from mlrf.cli.build_report import _origin
from mlrf.cli.exit_status import EXIT_STATUS, exit_status
from mlrf.core.bundle import read_bundle
from mlrf.core.errors import (
    BundleError,
    ConfigError,
    MlrfError,
    ModelUnreadableError,
    OutputExistsError,
    ParityError,
    SampleError,
)
from mlrf.core.feature import Feature, Kind
from mlrf.core.schema import Schema
from mlrf.engines.tree_kernel import TreeEngine
from mlrf.model.row_files import read_file
from once_a_run import once_a_run
from signed_bundles import make_pair, signed


@pytest.fixture(scope="session")
def frame():
    rng = np.random.default_rng(1)
    n = 400
    rows = pd.DataFrame(
        {
            "price": rng.normal(size=n).round(2),
            "open": rng.random(n) < 0.5,
            "shop": pd.Categorical(rng.choice(["north", "NA", "east"], n)),
        }
    )
    rows.loc[::17, "price"] = np.nan
    return rows


@pytest.fixture(scope="session")
def model_file(frame, tmp_path_factory):
    target = np.where(frame["price"].fillna(0) + frame["open"] + (frame["shop"] == "NA") > 0.8, 1, 0)
    parameters = {"objective": "binary", "num_leaves": 6, "verbose": -1, "num_threads": 1, "min_data_per_group": 5}
    path = tmp_path_factory.mktemp("model") / "model.txt"
    lgb.train(parameters, lgb.Dataset(frame, target), 5).save_model(path)
    return path


@pytest.fixture(scope="session")
def sample_file(frame, tmp_path_factory):
    path = tmp_path_factory.mktemp("sample") / "rows.parquet"
    pq.write_table(pa.Table.from_pandas(frame.assign(shop=frame["shop"].astype(str)), preserve_index=False), path)
    return path


@pytest.fixture(scope="session")
def bundle(model_file, sample_file, tmp_path_factory):
    def build(out):
        mlrf.build(model_file, out, name="churn", sample=sample_file, classes=["stays", "leaves"])

    return once_a_run(tmp_path_factory, "churn-bundle", build)


@pytest.fixture(scope="session")
def answers(frame, model_file):
    return lgb.Booster(model_file=model_file).predict(frame)


def run(capsys, *arguments):
    status = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_build_reports_model_kind_and_verification(capsys, model_file, sample_file, tmp_path):
    out = tmp_path / "b"
    build = ("build", model_file, "-o", out, "--name", "churn", "--sample", sample_file, "--classes", "no, yes")
    status, stdout, error = run(capsys, *build)
    assert (status, error) == (0, ""), "progress bars are for terminals"
    for text in (
        "binary",
        "5 trees",
        "3 features (1 categorical)",
        "sampled",
        "threshold",
        "inner nodes verified",
        "a LightGBM model, added up in float64",
        "trees on this machine: one row",
        "onnxruntime on this machine: one row",
        "forest.bin",
        "MB",
    ):
        assert text in stdout
    assert "categories as integer codes" not in stdout
    assert read_bundle(out).manifest.classes == ["no", "yes"], "labels are taken without the blanks around them"
    assert not re.search(r" 0(\.0)? (µs|MB)|(forest\.bin|model\.onnx) 0(\.0)?[,)]", stdout)
    status, _, error = run(capsys, "build", model_file, "-o", out, "--name", "churn")
    assert (status, error.count("\n"), "--force" in error) == (2, 1, True)


def test_build_lists_features_without_category_names(capsys, tmp_path):
    rows = np.random.default_rng(0).integers(0, 5, (80, 4)).astype(float)
    data = lgb.Dataset(
        rows, rows[:, 1] % 2, categorical_feature=[1, 2, 3], params={"min_data_per_group": 1, "verbosity": -1}
    )
    lgb.train({"verbosity": -1, "min_data_in_leaf": 2}, data, 2).save_model(tmp_path / "m.txt")
    (tmp_path / "lists.json").write_text('{"Column_1": ["a", "b", "c", "d", "e"]}')
    build = ("build", tmp_path / "m.txt", "-o", tmp_path / "b", "--name", "m", "--categories", tmp_path / "lists.json")
    assert "(give them with --categories): Column_2, Column_3\n" in run(capsys, *build)[1]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["build", "absent.txt", "-o", "{out}", "--name", "m"], 1, "does not exist"),
        (["build", "{model}", "-o", "{out}", "--name", "a b"], 2, "name"),
        (["build", "{model}", "-o", "{out}", "--name", "m", "--classes", "a,b,c"], 2, "2 classes"),
        (["build", "{model}", "-o", "{out}", "--name", "m", "--classes", "a,a"], 2, "twice"),
        (["build", "{model}", "-o", "{out}", "--name", "m", "--classes", "a,"], 2, "empty"),
        (["build", "{model}", "-o", "{out}", "--name", "m", "--sample", "absent"], 2, "absent"),
        (["build", "{model}", "-o", "{out}", "--name", "m", "--categories", "absent"], 2, "absent"),
        (["build", "", "-o", "{out}", "--name", "m"], 2, "the path is empty"),
        (["build", "{model}", "-o", "", "--name", "m"], 2, "the path is empty"),
        (["demo", "-o", ""], 2, "the path is empty"),
        (["build", "{model}", "-o", "{out}", "--name", ".."], 2, "name"),
        (["build", "{model}"], 2, "--out"),
        (["inspect", "{out}"], 3, "is not a directory"),
        (["verify", "{out}"], 3, "is not a directory"),
        (["predict", "{bundle}", "absent.csv"], 2, "absent.csv"),
        (["predict", "{bundle}", "rows.xls"], 2, "not .xls"),
        (["predict", "{bundle}", "rows.csv", "-o", ""], 2, "the path is empty"),
        (["no-such-command"], 2, "no-such-command"),
    ],
)
def test_what_goes_wrong_is_one_line_and_a_status(capsys, arguments, status, message, model_file, bundle, tmp_path):
    paths = {"out": tmp_path / "out", "model": model_file, "bundle": bundle}
    got, _, error = run(capsys, *[argument.format(**paths) for argument in arguments])
    assert got == status
    assert message in error
    assert "Traceback" not in error
    assert not any(tmp_path.iterdir())


def test_inspect_for_people_and_for_programs(capsys, bundle):
    status, stdout, _ = run(capsys, "inspect", bundle)
    assert status == 0
    for text in ("churn", "['stays', 'leaves']", "categorical", "east", "curl localhost:8080/predict"):
        assert text in stdout
    status, stdout, _ = run(capsys, "inspect", bundle, "--json")
    document = json.loads(stdout)
    assert document["manifest"]["name"] == "churn"
    assert [f["kind"] for f in document["features"]] == ["numeric", "boolean", "categorical"]
    assert mlrf.load(bundle).predict([document["example"]["features"]]).shape == (1,)


def test_verify_replays_the_golden_rows_and_finds_what_is_off(capsys, bundle, tmp_path):
    status, stdout, error = run(capsys, "verify", bundle)
    assert (status, error) == (0, ""), "progress bars are for terminals"
    assert "golden rows predicted as in training by" in stdout
    copied = tmp_path / "b"
    subprocess.run(["cp", "-r", bundle, copied], check=True)
    content = bytearray((copied / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (copied / "model.onnx").write_bytes(content)
    status, _, error = run(capsys, "verify", copied)
    assert status == 3
    assert "model.onnx was altered" in error


def test_verify_checks_who_signed_before_what_is_predicted(capsys, bundle, tmp_path):
    copied = tmp_path / "b"
    subprocess.run(["cp", "-r", bundle, copied], check=True)
    key, public = make_pair(tmp_path)
    _, foreign = make_pair(tmp_path, "foreign")
    signed(copied, key, built_by="run 12", sources=[copied / "schema.json"])
    status, stdout, error = run(capsys, "verify", copied, "--identity", public)
    assert (status, error) == (0, "")
    for expected in ("signed with key", "built by run 12", "from schema.json, sha256 ", "lightgbm 4.", "golden rows"):
        assert expected in stdout
    status, stdout, error = run(capsys, "verify", copied, "--identity", foreign)
    assert (status, stdout, "is signed with another key" in error) == (3, "", True)


def test_verify_refuses_answers_that_differ_from_the_library(capsys, bundle, tmp_path):

    found = read_bundle(bundle)
    golden = read_golden(found.file("golden.parquet"))
    margins = golden.margins.copy()
    margins[7] += 1e-3
    golden = replace(golden, margins=margins)
    files = {name: (bundle / name).read_bytes() for name in found.manifest.files}
    other = write_bundle(
        tmp_path / "b", found.manifest, {**files, "golden.parquet": encode_golden(golden)}, force=False
    )
    status, _, error = run(capsys, "verify", other)
    assert status == 3
    assert "golden row 7" in error


@pytest.mark.parametrize("kind", ["json", "jsonl", "csv", "parquet"])
def test_predict_reads_rows_of_every_kind(capsys, kind, bundle, frame, answers, tmp_path):
    rows = tmp_path / f"rows.{kind}"
    table = frame.assign(shop=frame["shop"].astype(str), extra=1)
    records = json.loads(table.to_json(orient="records"))
    match kind:
        case "json":
            rows.write_text(json.dumps(records))
        case "jsonl":
            rows.write_text("\n".join(json.dumps({"features": {k: r[k] for k in frame}}) for r in records))
        case "csv":
            table.to_csv(rows, index=False)
        case "parquet":
            pq.write_table(pa.Table.from_pandas(table[[*table][::-1]], preserve_index=False), rows)
    status, stdout, _ = run(capsys, "predict", bundle, rows)
    assert status == 0
    printed = [json.loads(line) for line in stdout.splitlines()]
    np.testing.assert_allclose([t["prediction"] for t in printed], answers, rtol=1e-14)
    assert {t["label"] for t in printed} == {"stays", "leaves"}
    out = tmp_path / "answers.jsonl"
    assert run(capsys, "predict", bundle, rows, "-o", out)[:2] == (0, "")
    assert out.read_text() == stdout


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.csv", "price,open,shop\n1,true,east\nx,true,east\n", ["row 1", "price", '"x"']),
        ("r.csv", "price,open,shop\n1,true,west\n", ["row 0", "shop", '"west"']),
        ("r.csv", "price,open,shop\n1,maybe,east\n", ["row 0", "open", '"maybe"']),
        ("r.csv", "price,open\n1,true\n", ["shop"]),
        ("r.csv", "price,open,shop\n1_0.5,true,east\n", ["row 0", "price", '"1_0.5"']),
        ("r.csv", "price,open,shop\n١,true,east\n", ["row 0", "price"]),
        ("r.csv", "price,open,shop,shop\n1,true,east,east\n", ["two columns 'shop'"]),
        ("r.csv", "price,open,shop,x,x\n1,true,east,1,2\n", ["two columns 'x'"]),
        ("r.csv", "price,open,shop\ntrue,true,east\n1,true,east\n", ["row 0", "price", '"true"']),
        ("r.csv", "price,open,shop\n1,true\n", ["row 0", "2 cells"]),
        ("r.json", '[{"price": 1, "open": 2, "shop": "east"}]', ["row 0", "open"]),
        ("r.json", "{", ["JSON array nor JSON lines"]),
        ("r.json", "[" * 100_000, ["JSON array nor JSON lines"]),
        ("r.json", "[3]", ["row 0"]),
        ("r.parquet", "x", ["not a Parquet"]),
    ],
)
def test_rows_that_cannot_be_answered_name_row_column_and_value(capsys, name, content, message, bundle, tmp_path):
    (tmp_path / name).write_text(content)
    status, out, error = run(capsys, "predict", bundle, tmp_path / name)
    assert (status, out) == (1, "")
    for part in message:
        assert part in error
    assert "Traceback" not in error


def test_a_cell_may_hold_any_line_break(capsys, tmp_path):
    shops = ["a\nb", "a\r\nb", "a\u2028b", "a\x0bb", "a\x85b"]
    schema = Schema((Feature("shop", Kind.CATEGORICAL, tuple(shops)), Feature("price")))
    with (tmp_path / "r.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([["shop", "price"], *([shop, index] for index, shop in enumerate(shops))])
    rows = read_file(tmp_path / "r.csv", schema)
    assert rows == [{"shop": shop, "price": float(index)} for index, shop in enumerate(shops)]


def test_unknown_categories_may_be_read_as_missing(capsys, bundle, tmp_path):
    (tmp_path / "r.csv").write_text("price,open,shop\n1,true,west\n")
    assert run(capsys, "predict", bundle, tmp_path / "r.csv", "--unknown-categories", "missing")[0] == 0
    assert run(capsys, "predict", bundle, tmp_path / "r.csv", "--unknown-categories", "guess")[0] == 2


def test_the_exit_table():
    kinds = (BundleError, ConfigError, OutputExistsError, SampleError, ModelUnreadableError, ParityError, MlrfError)
    assert [exit_status(kind("")) for kind in kinds] == [3, 2, 2, 2, 1, 1, 1]
    assert EXIT_STATUS[-1][0] is MlrfError


def test_help_teaches(capsys):
    status, stdout, _ = run(capsys, "--help")
    assert status == 0
    for command in ("build", "inspect", "verify", "predict", "serve", "demo", "Exit status"):
        assert command in stdout
    for command in ("build", "inspect", "verify", "predict"):
        stdout = run(capsys, command, "--help")[1]
        assert "xample" in stdout
        assert stdout.count("mlrf " + command) > 1  # the usage line, and at least one to copy
    assert mlrf.__version__ in run(capsys, "--version")[1]


def test_the_help_of_build_names_every_library(capsys):
    stdout = run(capsys, "build", "--help")[1]
    assert all(library.name in stdout for library in LIBRARIES)


def test_the_report_of_a_build_names_the_library_of_the_model():
    proven_by = ("lightgbm", "xgboost", "catboost", "onnxruntime", "ydf", "treelite", "scikit-learn")
    assert [_origin(distribution) for distribution in proven_by] == [
        "a LightGBM model",
        "an XGBoost model",
        "a CatBoost model",
        "an ONNX file",
        "a YDF model",
        "a treelite model",
        "a scikit-learn model",
    ]


def test_serve_is_handed_over_without_typer_and_rich():
    script = (
        "import sys; from mlrf.cli import main\n"
        "try: main(['serve', '--help'])\n"
        "except SystemExit: pytest = None\n"
        "assert 'mlrf.cli.serve' in sys.modules; assert not {'typer', 'rich', 'pyarrow', 'onnx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


@pytest.mark.parametrize("arguments", [["--version"], ["serve", "a", "--print-config"]])
def test_a_full_disk_on_standard_output_is_one_sentence(arguments):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mlrf", *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr.startswith("mlrf: standard output cannot be written: ")
    assert len(done.stderr.splitlines()) == 1


def test_closed_pipe_reader_gives_no_traceback(bundle):
    command = f"{sys.executable} -m mlrf inspect {bundle} --json | head -c 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=False)
    assert done.stdout == b"{"
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


def test_build_warns_of_features_named_like_members_of_requests(capsys, tmp_path):
    rows = np.random.default_rng(0).normal(size=(80, 2))
    data = lgb.Dataset(rows, rows[:, 1], feature_name=["price", "index"], params={"verbosity": -1})
    lgb.train({"verbosity": -1, "min_data_in_leaf": 2}, data, 2).save_model(tmp_path / "m.txt")
    stdout = run(capsys, "build", tmp_path / "m.txt", "-o", tmp_path / "b", "--name", "m")[1]
    assert 'warning: names that are members of requests: index; send rows of this model as {"features": {…}}' in stdout


def test_build_accepts_defaults_of_optional_features(capsys, tmp_path):
    rows = np.random.default_rng(0).normal(size=(80, 2))
    data = lgb.Dataset(rows, rows[:, 1], feature_name=["price", "age"], params={"verbosity": -1})
    booster = lgb.train({"verbosity": -1, "min_data_in_leaf": 2}, data, 2)
    booster.save_model(tmp_path / "m.txt")
    (tmp_path / "defaults.json").write_text('{"age": 0.5}')
    build = ("build", tmp_path / "m.txt", "--name", "m", "--defaults", tmp_path / "defaults.json", "-o")
    assert run(capsys, *build, tmp_path / "b")[0] == 0
    schema = json.loads((tmp_path / "b" / "schema.json").read_text())
    assert (schema["required"], schema["properties"]["age"]["default"]) == (["price"], 0.5)
    model = mlrf.load(tmp_path / "b")
    expected = booster.predict(np.array([[1.5, 0.5]])).tolist()
    assert model.predict([{"price": 1.5}]).tolist() == expected
    assert model.predict([{"price": np.float64(1.5)}]).tolist() == expected
    assert model.predict(pd.DataFrame({"price": [1.5]})).tolist() == expected
    for wrong, named in (
        ('{"prise": 1}', "prise"),
        ('{"age": "old"}', "age"),
        ("[1]", "defaults"),
        ('{"age": [1]}', "array"),
    ):
        (tmp_path / "defaults.json").write_text(wrong)
        status, _, error = run(capsys, *build, tmp_path / "c")
        assert (status, named in error, (tmp_path / "c").exists()) == (2, True, False), error


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("margins", "predicts golden rows differently in a batch and one at a time"),
        ("contributions_many", "the contributions of golden rows differ from their margins by"),
    ],
)
def test_verify_compares_batches_and_contributions(capsys, monkeypatch, bundle, method, message):
    size = read_golden(bundle / "golden.parquet").rows.nbytes

    class Faulty(TreeEngine):
        """Wrong for a table of all golden rows alone."""

    def faulty(self, table, *rest):
        found = np.array(getattr(TreeEngine, method)(self, table, *rest))
        if memoryview(table).nbytes == size:
            found[0] += 1.0
        return found

    setattr(Faulty, method, faulty)
    monkeypatch.setattr(verify, "open_engine", lambda found, _engine=None: Faulty(found.file("forest.bin")))
    status, _, error = run(capsys, "verify", bundle)
    assert (status, message in error) == (3, True), error


@pytest.mark.parametrize(
    ("what", "message"),
    [("golden", "its golden rows do not match its model"), ("base", "the expected margin in forest.bin differs")],
)
def test_verify_compares_the_manifest_with_the_files(capsys, bundle, tmp_path, what, message):
    found = read_bundle(bundle)
    files, manifest = {name: (bundle / name).read_bytes() for name in found.manifest.files}, found.manifest
    if what == "base":
        manifest = msgspec.structs.replace(manifest, base=[manifest.base[0] + 1.0])
    else:
        golden = read_golden(bundle / "golden.parquet")
        files["golden.parquet"] = encode_golden(replace(golden, rows=golden.rows[:, 1:].copy()))
    other = write_bundle(tmp_path / "b", manifest, files, force=False)
    status, _, error = run(capsys, "verify", other)
    assert (status, message in error) == (3, True), error
