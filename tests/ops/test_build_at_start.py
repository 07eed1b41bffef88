"""`--build-at-start`: a model file in a bundle's place is built and proven by a process of its own, once."""

from __future__ import annotations

import os
import pickle

import lightgbm
import numpy as np
import pytest

from mlrf.cli import main
from mlrf.core.bundle import read_bundle
from mlrf.serving.processes.build_at_start import model_file
from running import run_to_its_end, serving

ROW = {"Column_0": 0.25, "Column_1": 0.5, "Column_2": -1.0}


@pytest.fixture(scope="module")
def booster():
    rows = np.random.default_rng(5).normal(size=(200, 3))
    options = {"objective": "regression", "num_leaves": 5, "verbose": -1, "num_threads": 1}
    return lightgbm.train(options, lightgbm.Dataset(rows, rows[:, 0] * 2 + rows[:, 1]), 5)


@pytest.fixture
def mounted(booster, tmp_path):
    """What KServe mounts of a raw model: a directory with one file."""
    folder = tmp_path / "models"
    folder.mkdir()
    booster.save_model(folder / "model.txt")
    return folder


def options(tmp_path):
    return ["--build-at-start", "--model-name", "sales", "--state-dir", str(tmp_path / "state")]


def events(server):
    return [entry["event"] for entry in server.log]


def test_a_model_file_is_built_once_and_served(booster, mounted, tmp_path):
    expected = booster.predict([list(ROW.values())])[0]
    for event in ("bundle built", "bundle built before"):
        with serving(mounted, options=options(tmp_path)) as server:
            assert server.ask("POST", "/models/sales/predict", {"features": ROW}).json["prediction"] == expected
            assert event in events(server)
    booster.save_model(mounted / "model.txt", num_iteration=3)
    with serving(mounted, options=options(tmp_path)) as server:
        answer = server.ask("POST", "/predict", {"features": ROW}).json["prediction"]
        assert answer == booster.predict([list(ROW.values())], num_iteration=3)[0]
        assert "bundle built" in events(server)


def test_what_a_failed_build_advises_is_an_option_of_the_builder(booster, tmp_path):
    model = tmp_path / "model.pkl"
    model.write_bytes(pickle.dumps(booster))
    status, output, _ = run_to_its_end([model], *options(tmp_path))
    assert status == 3
    assert "allow it with --allow-pickle (an option of `mlrf build`); build it beforehand" in output
    assert main(["build", str(model), "--allow-pickle", "-o", str(tmp_path / "sales"), "--name", "sales"]) == 0
    assert read_bundle(tmp_path / "sales").manifest.name == "sales"


@pytest.mark.slow
def test_damaged_earlier_build_is_built_again(mounted, tmp_path):
    with serving(mounted, options=options(tmp_path)):
        pass
    (built,) = (tmp_path / "state" / "built").glob("*/sales")
    (built / "forest.bin").write_bytes(b"cut")
    with serving(mounted, options=options(tmp_path)) as server:
        assert server.ask("POST", "/predict", {"features": ROW}).status == 200
        assert {"damaged bundle removed", "bundle built"} <= set(events(server))


def test_without_the_training_library_the_start_names_the_job(mounted, tmp_path, monkeypatch):
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text("import sys\nsys.modules['lightgbm'] = None\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
    status, output, _ = run_to_its_end([mounted], *options(tmp_path))
    assert status == 3, output
    assert "lightgbm" in output
    assert "the Job of `mlrf deploy kserve`" in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_a_file_that_is_no_model_is_refused(mounted, tmp_path):
    (mounted / "model.txt").write_text("no model")
    status, output, _ = run_to_its_end([mounted], *options(tmp_path))
    assert (status, "no bundle could be built" in output) == (3, True), output


def test_without_the_option_a_model_file_is_not_built(mounted):
    status, output, _ = run_to_its_end([mounted])
    assert (status, "has no manifest.json" in output) == (3, True), output


def test_a_name_must_be_given(mounted):
    status, output, _ = run_to_its_end([mounted], "--build-at-start")
    assert (status, "--model-name" in output) == (2, True), output


def test_which_file_is_the_model(tmp_path):
    (tmp_path / "one/below").mkdir(parents=True)
    file = tmp_path / "one/below/model.txt"
    file.write_text("x")
    (tmp_path / "one/.hidden").write_text("")
    assert model_file(file) == model_file(tmp_path / "one/below") == model_file(tmp_path / "one") == file
    (tmp_path / "one/second.txt").write_text("x")
    assert model_file(tmp_path / "one") is None
    (tmp_path / "one/below/manifest.json").write_text("{}")
    assert model_file(tmp_path / "one/below") is None
    assert model_file(tmp_path / "absent") is None
