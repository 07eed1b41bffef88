"""The checks of a start before it serves: golden rows, with the engine that will serve."""

from __future__ import annotations

import hashlib
import json
import shutil
import time

import pytest

from bundles import ALL_KINDS, write_bundle, write_tree_bundle
from looping_model import endless, replaced
from mlrf.core.bundle import read_bundle
from mlrf.core.publishing import publish
from mlrf.core.repository import POINTER, ModelDirectory
from running import eventually, run_to_its_end, serving

BODY = {"features": ALL_KINDS.example()}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Three versions of one model."""
    folder = tmp_path_factory.mktemp("versions")
    return [write_tree_bundle(folder / str(seed), seed=seed) for seed in (7, 8, 9)]


def another_forest(bundle, bundles):
    return replaced(bundle, "forest.bin", (bundles[1] / "forest.bin").read_bytes())


def altered(bundle, name):
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    return bundle


BAD = {
    "forest altered": (lambda bundle, _: altered(bundle, "forest.bin"), "forest.bin was altered"),
    "model altered that is not served": (lambda bundle, _: altered(bundle, "model.onnx"), "model.onnx was altered"),
    "schema altered": (lambda bundle, _: altered(bundle, "schema.json"), "schema.json was altered"),
    "another forest": (another_forest, "for golden row 0"),
    "golden rows empty": (
        lambda bundle, _: replaced(bundle, "golden.bin", b""),
        "golden.bin is not a file of golden rows",
    ),
    "golden rows junk": (lambda bundle, _: replaced(bundle, "golden.bin", b"MLRFGOLD"), "cut short"),
    "golden rows absent": (lambda bundle, _: replaced(bundle, "golden.bin", None), "golden.bin"),
}


@pytest.mark.parametrize("damage", BAD)
def test_a_bundle_whose_golden_rows_fail_ends_the_start_with_3(bundles, tmp_path, damage):
    change, reason = BAD[damage]
    bundle = change(shutil.copytree(bundles[0], tmp_path / "bundle"), bundles)
    status, output, _ = run_to_its_end([bundle], "--port", "0")
    assert (status, len(output.splitlines())) == (3, 1), output
    assert reason in output
    assert str(bundle) in output
    assert "/proc/" not in output


def test_a_model_that_never_answers_ends_the_start_with_3(tmp_path):
    bundle = write_bundle(tmp_path / "bundle")
    replaced(bundle, "model.onnx", endless(len(ALL_KINDS.features)))
    began = time.monotonic()
    status, output, _ = run_to_its_end([bundle], "--port", "0", "--reload-timeout", "1", limit_s=60)
    assert (status, len(output.splitlines())) == (3, 1), output
    assert "took longer than 1 s" in output
    assert time.monotonic() - began > 1


@pytest.fixture
def repository(bundles, tmp_path):
    """Two models; `sample` has three versions, of which the second and third are bad, and points to the third."""
    home = tmp_path / "models"
    for bundle in bundles:
        directory, _ = publish(bundle, home)
    publish(write_tree_bundle(tmp_path / "other", name="other"), home)
    point_to(directory, 2, another_forest)
    point_to(directory, 3, lambda bundle, _: replaced(bundle, "golden.bin", b""), bundles)
    return home


def point_to(directory: ModelDirectory, number, change=None, bundles=None):
    """Damage a version after it was published, and have the pointer name what it is now."""
    path = directory.path / str(number)
    if change is another_forest:
        change = lambda bundle, _: replaced(  # noqa: E731
            bundle, "forest.bin", (directory.path / "1/forest.bin").read_bytes()
        )
    if change is not None:
        change(path, bundles)
    digest = hashlib.sha256((path / "manifest.json").read_bytes()).hexdigest()
    pointer = directory.path / POINTER
    pointer.unlink()
    pointer.write_text(json.dumps({"number": number, "digest": digest, "before": []}))


def test_repository_falls_back_to_newest_valid_version(repository, bundles, tmp_path):
    with serving(repository, workers=2, options=["--default", "sample"]) as server:
        server.booted(2)
        first = read_bundle(bundles[0])
        assert {server.ask("POST", "/predict", BODY).json["version"] for _ in range(8)} == {first.short_version}
        listed = server.ask("GET", "/models").json["refused"]
        assert [(each["name"], each["number"], each["serving"]) for each in listed] == [("sample", 3, 1)]
        refused = hashlib.sha256((repository / "sample/3/manifest.json").read_bytes()).hexdigest()[:12]
        assert server.metrics()[f"mlrf_refused_version_info;model=sample;version={refused}"] == 1
        lines = [entry for entry in server.log if entry["event"] == "version refused"]
        assert [(line["model"], line["version"], line["serving"]) for line in lines] == [("sample", 3, 1)]
        assert not [entry for entry in server.log if entry["event"] == "reload refused"]
        publish(write_tree_bundle(tmp_path / "sound", seed=10), repository)
        eventually(lambda: not server.ask("GET", "/models").json["refused"], what="the sound version")
        assert not [name for name in server.metrics() if name.startswith("mlrf_refused_version_info;")]


def test_model_without_valid_version_gets_503(repository, tmp_path):
    replaced(repository / "sample/1", "golden.bin", b"")
    with serving(repository, options=["--default", "other"]) as server:
        server.booted(1)
        assert server.ask("POST", "/predict", BODY).status == 200
        for path in ("/models/sample/predict", "/v2/models/sample/infer"):
            answer = server.ask("POST", path, BODY)
            assert (answer.status, answer.code) == (503, "NOT_READY")
        assert server.ask("GET", "/models").json["refused"][0]["serving"] is None
        states = server.ask("POST", "/v2/repository/index").json
        assert [(each["name"], each["reason"]) for each in states if each["state"] != "READY"] == [
            ("sample", "refused")
        ]
        publish(write_tree_bundle(tmp_path / "sound", seed=10), repository)
        eventually(lambda: server.ask("POST", "/models/sample/predict", BODY).status == 200, what="the sound version")


def test_unreadable_model_does_not_stop_the_others(repository, tmp_path):
    (repository / "sample" / POINTER).unlink()
    (repository / "sample" / POINTER).write_text("junk")
    with serving(repository) as server:
        assert server.ask("POST", "/models/other/predict", BODY).status == 200
        assert server.ask("POST", "/models/sample/predict", BODY).code == "NOT_READY"


def test_start_can_be_strict_about_damaged_models(repository):
    status, output, _ = run_to_its_end([repository], "--port", "0", "--on-bad-model", "exit")
    assert (status, len(output.splitlines())) == (3, 1), output
    assert "golden.bin" in output


def test_repository_without_valid_model_exits_with_3(repository):
    replaced(repository / "sample/1", "golden.bin", b"")
    status, output, _ = run_to_its_end([repository / "sample"], "--port", "0")
    assert status == 3, output
    assert "golden.bin" in output


@pytest.mark.slow
def test_reload_of_a_hanging_model_is_refused(tmp_path):
    sound = write_bundle(tmp_path / "sound")
    directory, _ = publish(sound, tmp_path / "models")
    with serving(tmp_path / "models", options=["--reload-timeout", "15"]) as server:
        workers = server.booted(1)
        publish(replaced(shutil.copytree(sound, tmp_path / "bad"), "model.onnx", endless(7)), tmp_path / "models")
        eventually(lambda: server.metrics()["mlrf_reloads_total;outcome=refused"] == 1, what="the refusal")
        extra = shutil.copytree(sound, tmp_path / "extra")
        document = json.loads((extra / "manifest.json").read_text())
        (extra / "manifest.json").write_text(json.dumps(document | {"notes": ["another version"]}))
        publish(extra, tmp_path / "models")
        eventually(lambda: server.metrics()["mlrf_reloads_total;outcome=done"] == 1, what="the sound version")
        assert server.workers() == workers
        assert directory.pointer().number == 3
