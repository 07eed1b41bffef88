"""mlrf where neither onnxruntime nor onnx is installed: trees as ever, everything that needs them refused by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest

import mlrf
from bundles import ALL_KINDS, write_bundle, write_tree_bundle
from mlrf.core.bundle import read_bundle
from mlrf.core.publishing import publish
from running import run_to_its_end, serving

REMEDY = "pip install 'mlrf[onnx]'"
HIDDEN = ("onnx", "onnxruntime")
RUN_EACH = """
import contextlib, io, json, sys
from mlrf.cli import main

found = []
for arguments in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(arguments)
    found.append((status, out.getvalue() + err.getvalue()))
print(json.dumps(found))
"""


@pytest.fixture(autouse=True)
def _hidden(tmp_path, monkeypatch):
    """Hide the packages from every process that a test starts."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(f"import sys\nfor name in {HIDDEN!r}: sys.modules[name] = None\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A LightGBM file, and rows for it."""
    folder = tmp_path_factory.mktemp("model")
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 3))
    booster = lgb.train({"verbosity": -1}, lgb.Dataset(rows, rows[:, 0]), num_boost_round=3)
    booster.save_model(folder / "model.txt")
    np.savetxt(folder / "rows.csv", rows[:5], delimiter=",", header="Column_0,Column_1,Column_2", comments="")
    return folder


def run_each(*commands: list[str]) -> list[list]:
    """The exit status and output of each command, all in one process."""
    done = subprocess.run(
        [sys.executable, "-c", RUN_EACH, json.dumps([[str(part) for part in each] for each in commands])],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return json.loads(done.stdout)


def test_a_forest_is_built_and_used_without_them(model, tmp_path):
    with_both = mlrf.build(model / "model.txt", tmp_path / "both", name="m")
    lean, rows = tmp_path / "lean", model / "rows.csv"
    built, *others = run_each(
        ["build", model / "model.txt", "-o", lean, "--name", "m"],
        ["verify", lean],
        ["verify", with_both],
        ["inspect", with_both],
        ["predict", with_both, rows],
        ["explain", with_both, rows, "--row", "0"],
        ["bench", with_both, "--rows", "100"],
        ["diff", lean, with_both],
    )
    assert built[0] == 0, built
    assert (
        "model.onnx is left out: onnx and onnxruntime not installed at the build (pip install 'mlrf[build]')"
        in built[1]
    )
    assert [status for status, _ in others] == [0] * 7, others
    unchecked, checked = others[:2]
    assert REMEDY not in unchecked[1]
    assert f"model.onnx were not checked, because onnxruntime is not installed: {REMEDY}" in checked[1]
    files = [set(read_bundle(each).manifest.files) for each in (lean, with_both)]
    assert files[1] - files[0] == {"model.onnx"}
    assert (lean / "forest.bin").read_bytes() == (with_both / "forest.bin").read_bytes()
    table = np.loadtxt(rows, delimiter=",", skiprows=1)
    assert np.array_equal(mlrf.load(lean).predict(table), mlrf.load(with_both).predict(table))


def test_commands_refuse_an_onnx_model_with_the_remedy(tmp_path):
    bundle = write_bundle(tmp_path / "stumps", schema=ALL_KINDS, name="stumps")
    (tmp_path / "rows.jsonl").write_text("")
    commands = [
        ["verify", bundle],
        ["inspect", bundle],
        ["predict", bundle, tmp_path / "rows.jsonl"],
        ["explain", bundle, tmp_path / "rows.jsonl"],
        ["bench", bundle],
        ["diff", bundle, bundle],
        ["publish", bundle, tmp_path / "models"],
        ["score", bundle, tmp_path / "rows.parquet", "-o", tmp_path / "scored"],
        ["serve", bundle, "--port", "0"],
    ]
    for arguments, (status, output) in zip(commands, run_each(*commands), strict=True):
        assert status == 2, (arguments, output)
        assert f"the package onnxruntime is not installed: {REMEDY}" in output, (arguments, output)
    [(status, output)] = run_each(["build", bundle / "model.onnx", "-o", tmp_path / "x", "--name", "x"])
    assert (status, "building from an ONNX file needs onnx and onnxruntime: pip install 'mlrf[build]'" in output) == (
        2,
        True,
    )


def test_the_requested_engine_is_refused_by_its_option(tmp_path):
    bundle = write_tree_bundle(tmp_path / "trees")
    status, output, _ = run_to_its_end([bundle], "--engine", "onnxruntime", "--port", "0")
    assert (status, f"--engine onnxruntime: needs `{REMEDY}`" in output) == (2, True), output


def test_a_repository_serves_its_trees_and_names_what_it_cannot(tmp_path):
    publish(write_tree_bundle(tmp_path / "trees", name="trees"), tmp_path / "models")
    publish(write_bundle(tmp_path / "stumps", schema=ALL_KINDS, name="stumps"), tmp_path / "models")
    with serving(tmp_path / "models") as server:
        body = {"features": ALL_KINDS.example()}
        assert server.ask("POST", "/models/trees/predict", body).status == 200
        assert server.ask("POST", "/models/stumps/predict", body).status == 503
        assert any(REMEDY in str(entry) for entry in server.log), server.log
        maps = "".join(Path(f"/proc/{pid}/maps").read_text() for pid in server.workers())
        assert "/onnx" not in maps
        assert "_kernel" in maps
