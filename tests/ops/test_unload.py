"""A model taken out of service while requests are answered: by all workers, until it is loaded again, with its memory freed."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from bundles import ALL_KINDS, NUMBERS, write_stump_bundle, write_tree_bundle
from mlrf.core.bundle import read_bundle
from mlrf.core.publishing import publish
from mlrf.core.repository import model_directories
from raw_http import Client, request
from running import eventually, is_alive, serving

BODY = {"features": ALL_KINDS.example()}
SAMPLE = "/models/sample/predict"


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Two versions of one model."""
    folder = tmp_path_factory.mktemp("unload")
    return [write_tree_bundle(folder / str(seed), seed=seed) for seed in (7, 8)]


@pytest.fixture
def repository(bundles, tmp_path):
    publish(bundles[0], tmp_path / "models")
    return tmp_path / "models"


@pytest.fixture
def other(tmp_path):
    """A bundle in a directory of its own."""
    return write_stump_bundle(tmp_path / "other", name="other", schema=NUMBERS)


@pytest.fixture
def admin(tmp_path):
    return tmp_path / "admin.sock"


def ask_admin(path, act, name="sample", body=b""):
    with Client(path) as client:
        client.socket.settimeout(30)
        return client.ask("POST", f"/admin/models/{name}/{act}", body)


def codes_of(server, path=SAMPLE, n=12):
    """The result on new connections: the code of a refusal, or the version that answers."""
    answers = [server.ask("POST", path, BODY) for _ in range(n)]
    return {answer.json["version"] if answer.status == 200 else answer.code for answer in answers}


def index(server):
    return {each["name"]: (each["state"], each["reason"]) for each in server.ask("POST", "/v2/repository/index").json}


def kill_one_by_one(server, n=2):
    for pid in server.workers():
        os.kill(pid, signal.SIGKILL)
        eventually(lambda p=pid: not is_alive(p))
    server.booted(n)


def test_every_worker_lets_it_go_and_the_server_answers_on(repository, other, bundles, admin):
    version = read_bundle(bundles[0]).short_version
    with serving(repository, other, workers=2, options=["--admin", f"unix:{admin}"]) as server:
        server.booted(2)
        with server.client() as kept, server.client() as too:
            for client in (kept, too):
                assert client.ask("POST", SAMPLE, BODY).status == 200
            answer = ask_admin(admin, "unload")
            assert (answer.status, answer.json) == (200, {"model": "sample", "version": None})
            for client in (kept, too):
                refused = client.ask("POST", SAMPLE, BODY)
                assert (refused.status, refused.code) == (404, "MODEL_UNLOADED")
        assert "load it again" in refused.json["error"]
        # Also where it is the default model, and by the protocol.
        assert (
            codes_of(server)
            == codes_of(server, "/predict")
            == codes_of(server, "/v2/models/sample/infer")
            == {"MODEL_UNLOADED"}
        )
        assert server.ask("GET", "/v2/models/sample/ready").status == 404
        assert server.ask("GET", "/v2/models/other/ready").status == 200
        assert server.ask("POST", "/models/other/predict", {"features": [1, 2, 3]}).status == 200
        assert index(server) == {"other": ("READY", ""), "sample": ("UNAVAILABLE", "unloaded")}
        assert server.ask("POST", "/v2/repository/index", {"ready": True}).json[0]["name"] == "other"
        assert [model["name"] for model in server.ask("GET", "/models").json["models"]] == ["other"]
        for path in ("/readyz", "/v2/health/ready", "/openapi.json", "/docs"):
            assert server.ask("GET", path).status == 200
        figures = server.metrics()
        assert not [name for name in figures if name.startswith("mlrf_bundle_info;model=sample")]
        assert (figures["mlrf_unloads_total"], figures["mlrf_reloads_total;outcome=refused"]) == (1, 0)
        with Client(admin) as client:
            assert client.ask("GET", "/admin/models").json["unloaded"] == ["sample"]
            assert client.ask("GET", "/admin/models/sample/features").code == "MODEL_UNLOADED"
        assert ask_admin(admin, "unload").status == 200
        assert server.metrics()["mlrf_unloads_total"] == 1, "nothing was left to let go"
        assert ask_admin(admin, "load").json["version"] == version
        assert codes_of(server) == codes_of(server, "/predict") == {version}
        assert index(server)["sample"] == ("READY", "")
        assert server.metrics()["mlrf_reloads_total;outcome=done"] == 1
        assert [entry["event"] for entry in server.log if entry["event"] in ("unloaded", "reloaded")] == [
            "unloaded",
            "reloaded",
        ]
        assert server.troubles == []


def test_no_client_is_dropped_during_store_outages(repository, other, bundles, admin):
    """Requests both models continuously: a loaded model always answers, an unloaded one says so, and nothing else happens."""
    stopped, faults, seen = threading.Event(), [], {"/models/other/predict": Counter(), SAMPLE: Counter()}

    def ask(path, body, taken):
        content = request("POST", path, body)
        with server.client() as client:
            while not stopped.is_set():
                try:
                    client.send(content)
                    answer = client.answer()
                except (OSError, EOFError) as error:
                    faults.append((path, repr(error)))
                    return
                seen[path][answer.status] += 1
                if answer.status not in taken or (answer.status == 404 and answer.code != "MODEL_UNLOADED"):
                    faults.append((path, answer.status, answer.body[:200]))

    with serving(repository, other, workers=2, options=["--admin", f"unix:{admin}"]) as server:
        server.booted(2)
        asking = [
            threading.Thread(target=ask, args=("/models/other/predict", {"features": [1, 2, 3]}, {200}), daemon=True),
            threading.Thread(target=ask, args=(SAMPLE, BODY, {200, 404}), daemon=True),
        ]
        for thread in asking:
            thread.start()
        for _ in range(5):
            assert ask_admin(admin, "unload").status == 200
            before = seen[SAMPLE][404]
            eventually(lambda n=before: seen[SAMPLE][404] > n + 20, what="answers without it")
            assert ask_admin(admin, "load").status == 200
            before = seen[SAMPLE][200]
            eventually(lambda n=before: seen[SAMPLE][200] > n + 20, what="answers with it")
        stopped.set()
        for thread in asking:
            thread.join(10)
            assert not thread.is_alive()
        assert faults == []
        assert server.troubles == []
        assert server.metrics()["mlrf_unloads_total"] == server.metrics()["mlrf_reloads_total;outcome=done"] == 5


def test_nothing_but_a_load_brings_it_back(repository, bundles, admin):
    with serving(repository, workers=2, options=["--admin", f"unix:{admin}"]) as server:
        born = server.booted(2)
        assert ask_admin(admin, "unload").status == 200
        assert server.ask("GET", "/readyz").status == 200, "a server without a model is ready to be asked for one"
        kill_one_by_one(server)
        assert codes_of(server) == {"MODEL_UNLOADED"}, "after a crash of all"
        publish(bundles[1], repository)
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: [e for e in server.log if e["event"] == "settings in force"], what="new workers")
        server.booted(2)
        assert not set(server.workers()) & set(born)
        # The pointer is looked at once a second.
        time.sleep(1.2)
        assert codes_of(server) == {"MODEL_UNLOADED"}, "after SIGHUP, and after the pointer moved"
        assert index(server) == {"sample": ("UNAVAILABLE", "unloaded")}
        assert ask_admin(admin, "load").json["number"] == 2
        kill_one_by_one(server)
        assert codes_of(server) == {read_bundle(bundles[1]).short_version}


def test_workers_start_without_an_unloaded_version_on_disk(repository, bundles, other, admin):
    publish(bundles[1], repository)
    with serving(repository, other, workers=2, options=["--admin", f"unix:{admin}"]) as server:
        server.booted(2)
        assert ask_admin(admin, "load", body={"version": 1}).status == 200
        assert ask_admin(admin, "unload").status == 200
        backup = repository.parent / "backup"
        (repository / "sample").rename(backup)
        kill_one_by_one(server)
        assert index(server) == {"other": ("READY", ""), "sample": ("UNAVAILABLE", "unloaded")}
        refused = ask_admin(admin, "load")
        assert (refused.status, refused.code) == (409, "RELOAD_REFUSED")
        assert "no version has been published; publish one with `mlrf publish`" in refused.json["error"]
        backup.rename(repository / "sample")
        assert ask_admin(admin, "load").json["number"] == 2


def test_a_damaged_version_stays_out_and_says_why(repository, admin):
    with serving(repository, workers=2, options=["--admin", f"unix:{admin}"]) as server:
        server.booted(2)
        assert ask_admin(admin, "unload").status == 200
        forest = repository / "sample/1/forest.bin"
        whole = forest.read_bytes()
        forest.chmod(0o644)
        forest.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        refused = ask_admin(admin, "load")
        assert (refused.status, refused.code) == (409, "RELOAD_REFUSED")
        assert "forest.bin was altered" in refused.json["error"]
        assert codes_of(server) == {"MODEL_UNLOADED"}
        assert index(server) == {"sample": ("UNAVAILABLE", "unloaded")}
        forest.write_bytes(whole)
        assert ask_admin(admin, "load").status == 200


def test_another_schema_is_refused_as_if_it_were_served(repository, tmp_path, admin):
    with serving(repository, workers=2, options=["--admin", f"unix:{admin}"]) as server:
        server.booted(2)
        assert ask_admin(admin, "unload").status == 200
        publish(write_stump_bundle(tmp_path / "numbers", schema=NUMBERS), repository, allow_schema_change=True)
        kill_one_by_one(server)
        assert ask_admin(admin, "load").code == "SCHEMA_CHANGED"
        assert ask_admin(admin, "load", body={"allow_schema_change": True}).json["number"] == 2


def links_of(pid):
    """What a process has open."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(entry.readlink()).removesuffix(" (deleted)"))
    return found


def mapped_by(server):
    """Pinned bundle files in memory that the server's processes have open or mapped."""
    found = []
    for pid in (server.process.pid, *server.workers()):
        found += links_of(pid)
        found += [line.split()[5] for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if "memfd:" in line]
    return {name for name in found if "memfd:mlrf-" in name}


def test_bundle_directory_is_reloaded(tmp_path, admin):
    path, backup = tmp_path / "one", tmp_path / "backup"
    truth = {}
    for seed in (7, 8):
        write_tree_bundle(backup, seed=seed)
        with serving(backup) as server:
            truth[seed] = server.ask("POST", "/predict", BODY).json["prediction"]
        backup.rename(tmp_path / str(seed))
    (tmp_path / "7").rename(path)
    with serving(path, workers=2, options=["--admin", f"unix:{admin}"]) as server:
        server.booted(2)

        def answers():
            return {server.ask("POST", "/predict", BODY).json.get("prediction") for _ in range(8)}

        assert mapped_by(server) == {"/memfd:mlrf-sample-forest.bin"}
        assert ask_admin(admin, "load", body={"version": ""}).code == "RELOAD_REFUSED"
        assert ask_admin(admin, "unload").status == 200
        eventually(lambda: not mapped_by(server), what="its memory back")
        kill_one_by_one(server)
        path.rename(backup)
        assert "is not a directory" in ask_admin(admin, "load").json["error"]
        write_stump_bundle(path, name="another", schema=NUMBERS)
        assert "'another'" in ask_admin(admin, "load").json["error"]
        shutil.rmtree(path)
        shutil.copytree(backup, path)
        (path / "forest.bin").chmod(0o644)
        (path / "forest.bin").write_bytes((backup / "forest.bin").read_bytes()[:-1] + b"\x7f")
        assert "forest.bin was altered" in ask_admin(admin, "load").json["error"]
        assert codes_of(server) == {"MODEL_UNLOADED"}
        assert not mapped_by(server)
        shutil.rmtree(path)
        (tmp_path / "8").rename(path)
        assert ask_admin(admin, "load").json["version"] == read_bundle(path).short_version
        assert answers() == {truth[8]}
        shutil.rmtree(path)
        kill_one_by_one(server)
        assert answers() == {truth[8]}, "held in memory since it was loaded"
        # And without an unloading before, as a version of a repository is.
        backup.rename(path)
        assert ask_admin(admin, "load").status == 200
        shutil.rmtree(path)
        assert answers() == {truth[7]}
        kill_one_by_one(server)
        assert answers() == {truth[7]}
        names = {"forest.bin", "golden.bin", "manifest.json", "schema.json"}
        eventually(
            lambda: mapped_by(server) == {f"/memfd:mlrf-sample-{name}" for name in names}, what="one copy of each"
        )
        assert n_mapped(server) == len(names), "that of the version before is gone"


def n_mapped(server):
    """How many descriptors of such memory the arbiter has; workers have none."""
    per_process = [
        sum("memfd:mlrf-" in link for link in links_of(pid)) for pid in (server.process.pid, *server.workers())
    ]
    assert not any(per_process[1:])
    return per_process[0]


def mapped(pid):
    return sum("forest.bin" in line for line in Path(f"/proc/{pid}/maps").read_text().splitlines())


def test_request_in_flight_is_answered_then_memory_freed(repository, admin):
    with serving(repository, workers=1, options=["--admin", f"unix:{admin}"]) as server:
        (worker,) = server.booted(1)
        assert mapped(worker) == 1
        instances = {"instances": [BODY] * 100, "explain": True}
        whole = request("POST", "/predict/batch", instances)
        # What unzips to this many bytes is read in the worker's thread.
        long = gzip.compress(json.dumps(instances).encode() + b" " * (1 << 17))
        last = request("POST", "/predict/batch", long, ["Content-Encoding: gzip"])
        with server.client() as client:
            client.send(whole * 20 + last[:-9])
            assert client.answer().status == 200, "they are under way"
            assert ask_admin(admin, "unload").status == 200
            # What was asked whole before is answered; the head of the last one found its model while that was served.
            answers = [client.answer() for _ in range(19)]
            client.send(last[-9:] + whole)
            answers.append(client.answer())
            assert {answer.status for answer in answers} == {200}
            assert client.answer().code == "MODEL_UNLOADED"
        # Not by the collection of cycles that follows after a minute.
        eventually(lambda: mapped(worker) == 0, 40.0, what="no mapped model")
        for _ in range(2):
            assert ask_admin(admin, "load").status == 200
            assert mapped(worker) == 1
            assert ask_admin(admin, "unload").status == 200
            eventually(lambda: mapped(worker) == 0, what="no mapped model")
        assert json.loads(server.ask("POST", "/v2/repository/index").body)[0]["state"] == "UNAVAILABLE"


def test_unknown_names_are_not_found(repository, admin):
    with serving(repository, options=["--admin", f"unix:{admin}"]):
        for act in ("load", "unload"):
            answer = ask_admin(admin, act, "nothing")
            assert (answer.status, answer.code) == (404, "MODEL_NOT_FOUND")
            assert "sample" in answer.json["error"]
        assert ask_admin(admin, "unload", body={"version": 1}).code == "INVALID_REQUEST"
        assert model_directories(repository)[0].name == "sample"
