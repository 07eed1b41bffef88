"""Two versions of one model served at once: REPOSITORY/NAME, and REPOSITORY/NAME@VERSION under a name of its own."""

from __future__ import annotations

import os
import signal

import pytest

from bundles import ALL_KINDS, write_tree_bundle
from mlrf import load
from mlrf.core.publishing import publish
from raw_http import Client
from running import eventually, serving

REQUEST = {"features": ALL_KINDS.example()}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    return [write_tree_bundle(folder / str(seed), seed=seed, key={"id": "integer"}) for seed in (7, 8, 9)]


@pytest.fixture
def repository(bundles, tmp_path):
    for path in bundles[:2]:
        publish(path, tmp_path / "models")
    return tmp_path / "models"


def answers(server, names):
    return [server.ask("POST", f"/models/{name}/predict", REQUEST).json["prediction"] for name in names]


@pytest.mark.parametrize("pinned_first", [False, True])
def test_a_version_is_served_beside_the_current_one(bundles, repository, tmp_path, pinned_first):
    truth = [float(load(path).predict([REQUEST["features"]])[0]) for path in bundles]
    given = [repository, repository / "sample@1"]
    options = [
        "--admin",
        f"unix:{tmp_path / 'admin.sock'}",
        "--state-dir",
        str(tmp_path / "state"),
        "--default",
        "sample",
    ]
    with serving(*given[:: -1 if pinned_first else 1], options=options) as server:
        assert {each["name"] for each in server.ask("GET", "/models").json["models"]} == {"sample", "sample@1"}
        assert answers(server, ["sample", "sample@1", "sample%401"]) == [truth[1], truth[0], truth[0]]
        with Client(tmp_path / "admin.sock") as admin:
            rows = {"rows": [{"key": {"id": 1}, "features": REQUEST["features"], "as_of": None}]}
            assert admin.ask("POST", "/admin/models/sample@1/features", rows).status == 200
        found = server.ask("POST", "/models/sample@1/predict", {"key": {"id": 1}})
        assert found.json["prediction"] == truth[0]
        found = server.ask("POST", "/models/sample/predict", {"key": {"id": 1}})
        assert found.json["prediction"] == truth[1], "versions of one schema read the same rows"
        # A new current version leaves the other one as it is, also for a worker that starts later.
        publish(bundles[2], repository)
        with Client(tmp_path / "admin.sock") as admin:
            admin.socket.settimeout(30)
            assert admin.ask("POST", "/admin/models/sample/load", b"").status == 200
        assert answers(server, ["sample", "sample@1"]) == [truth[2], truth[0]]
        with Client(tmp_path / "admin.sock") as admin:
            admin.socket.settimeout(30)
            assert admin.ask("POST", "/admin/models/sample@1/load", b"").status == 200
        (worker,) = server.workers()
        os.kill(worker, signal.SIGKILL)
        eventually(lambda: server.workers() not in ([], [worker]), what="another worker")
        eventually(lambda: server.ask("GET", "/readyz").status == 200, what="its answers")
        assert answers(server, ["sample", "sample@1"]) == [truth[2], truth[0]]


def test_versions_that_are_both_named_have_their_own_names(bundles, repository, tmp_path):
    with serving(repository / "sample@1", repository / "sample@2") as server:
        assert [each["name"] for each in server.ask("GET", "/models").json["models"]] == ["sample@1", "sample@2"]


def test_a_version_alone_keeps_the_models_name(repository):
    with serving(repository / "sample@1") as server:
        assert [each["name"] for each in server.ask("GET", "/models").json["models"]] == ["sample"]
