"""Models of a repository as arguments, addresses that are refused, and files of answers by their ending."""

from __future__ import annotations

import csv
import json

import pyarrow.parquet as pq
import pytest

from bundles import NUMBERS, write_tree_bundle
from mlrf.cli import main
from mlrf.core.bundle import read_bundle


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A repository of a model with two versions and of another; rows for both."""
    folder = tmp_path_factory.mktemp("home")
    for seed in (7, 8):
        bundle = write_tree_bundle(folder / str(seed), schema=NUMBERS, seed=seed)
        assert main(["publish", str(bundle), str(folder / "models")]) == 0
    classes = write_tree_bundle(
        folder / "classes", name="classes", schema=NUMBERS, n_outputs=3, task="multiclass", classes=["a", "b", "c"]
    )
    assert main(["publish", str(classes), str(folder / "models")]) == 0
    (folder / "rows.csv").write_text("x0,x1,x2\n0.1,0.2,0.3\n1.0,,2.0\n")
    return folder


def run(capsys, *arguments):
    status = main([str(each) for each in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_every_command_takes_a_model_of_a_repository(capsys, home):
    model, rows = home / "models/sample", home / "rows.csv"
    for command in (
        ["inspect", model, "--json"],
        ["predict", model, rows],
        ["explain", model, rows],
        ["bench", model, "--rows", "100"],
        ["diff", model, model],
    ):
        status, out, error = run(capsys, *command)
        assert (status, bool(out)) == (0, True), (command, error)


def test_a_version_is_named_by_number_or_digest(capsys, home):
    model = home / "models/sample"
    versions = [read_bundle(home / seed).version for seed in ("7", "8")]
    for text, version in (
        ("", versions[1]), ("@1", versions[0]), ("@2", versions[1]), (f"@{versions[0][:12]}", versions[0]),
    ):  # fmt: skip
        status, out, _ = run(capsys, "inspect", f"{model}{text}", "--json")
        assert (status, json.loads(out)["version"]) == (0, version)
    status, _, error = run(capsys, "inspect", f"{model}@9")
    assert (status, "the versions are 1, 2" in error) == (3, True)


def test_versions_are_listed(capsys, home):
    status, out, _ = run(capsys, "versions", home / "models/sample")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == ["1", "2"]
    assert [line.endswith("current") for line in out.splitlines()] == [False, True]
    status, out, _ = run(capsys, "versions", home / "models/sample", "--json")
    assert (status, json.loads(out)["current"]) == (0, 2)


def test_repository_of_several_models_is_not_a_model(capsys, home):
    for command in ("inspect", "versions"):
        status, _, error = run(capsys, command, home / "models")
        assert (status, "name one of" in error) == (2, True)
    status, _, error = run(capsys, "versions", home / "7")
    assert (status, "is not a model of a repository" in error) == (2, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["publish", "BUNDLE", "gs://bucket/models"],
        ["publish", "gs://bucket/sales", "models"],
        ["inspect", "https://host/sales"],
        ["predict", "s3:/bucket/sales", "rows.csv"],
        ["predict", "BUNDLE", "hdfs://host/rows.csv"],
        ["predict", "BUNDLE", "ROWS", "-o", "s3://bucket/out.csv"],
        ["versions", "gs://host/models/sales"],
        ["serve", "abfs://container/models"],
    ],
)
def test_an_address_is_refused_by_its_scheme(capsys, home, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    named = {"BUNDLE": str(home / "7"), "ROWS": str(home / "rows.csv")}
    status, _, error = run(capsys, *[named.get(each, each) for each in arguments])
    assert status == 2
    assert next(each for each in arguments if ":/" in each).partition(":")[0] in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("model", ["sample", "classes"])
def test_answers_are_written_as_the_ending_says(capsys, home, model, tmp_path):
    bundle, rows = home / "models" / model, home / "rows.csv"
    status, out, _ = run(capsys, "predict", bundle, rows)
    lines = [json.loads(line) for line in out.splitlines()]
    predictions = [each["prediction"] for each in lines]
    for ending in (".jsonl", ".csv", ".parquet"):
        assert run(capsys, "predict", bundle, rows, "-o", tmp_path / f"out{ending}")[0] == status == 0
    assert (tmp_path / "out.jsonl").read_text() == out
    table = pq.read_table(tmp_path / "out.parquet").to_pylist()
    with (tmp_path / "out.csv").open(newline="") as file:
        cells = list(csv.DictReader(file))
    if model == "sample":
        assert [row["prediction"] for row in table] == predictions
        assert [float(row["prediction"]) for row in cells] == predictions
    else:
        names = [f"prediction_{label}" for label in "abc"]
        assert [[row[name] for name in names] for row in table] == predictions
        assert [[float(row[name]) for name in names] for row in cells] == predictions
        assert [row["label"] for row in table] == [row["label"] for row in cells] == [line["label"] for line in lines]


def test_unknown_extension_is_refused_before_any_work(capsys, home, tmp_path):
    status, _, error = run(capsys, "predict", home / "7", home / "rows.csv", "-o", tmp_path / "out.xlsx")
    assert (status, ".parquet" in error) == (2, True)
    assert not (tmp_path / "out.xlsx").exists()


@pytest.mark.parametrize("command", ["", "build", "inspect", "features", "versions", "serve"])
def test_h_is_help(capsys, command):
    with_h = [command, "-h"] if command else ["-h"]
    try:
        status = main(with_h)
    except SystemExit as end:  # argparse, of serve
        status = end.code
    assert (status, "Usage" in (out := capsys.readouterr().out) or "usage" in out) == (0, True)
