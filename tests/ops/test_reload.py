"""Reloads while requests are answered: all workers switch or none, and nothing is stale afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bundles import ALL_KINDS, NUMBERS, entry_of, write_manifest, write_stump_bundle, write_tree_bundle
from mlrf.core.bundle import read_bundle
from mlrf.core.publishing import publish, rollback
from mlrf.model import load
from mlrf.serving.processes.reload_messages import WAKE
from raw_http import Client, request
from running import eventually, is_alive, is_pending, serving, stop

BODY = {"features": ALL_KINDS.example()}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Two versions of one model, and what each answers."""
    folder = tmp_path_factory.mktemp("reload")
    return [write_tree_bundle(folder / str(seed), seed=seed) for seed in (7, 8)]


@pytest.fixture(scope="module")
def truth(bundles):
    return {read_bundle(path).short_version: float(load(path).predict([BODY["features"]])[0]) for path in bundles}


@pytest.fixture
def repository(bundles, tmp_path):
    publish(bundles[0], tmp_path / "models")
    return tmp_path / "models"


@pytest.fixture
def admin(tmp_path):
    return tmp_path / "admin.sock"


def ask_admin(path, body=b"", method="POST", route="/admin/models/sample/load"):
    with Client(path) as client:
        return client.ask(method, route, body)


def versions_of(server, n=12):
    """The versions that new connections are answered by."""
    return {server.ask("POST", "/predict", BODY).json["version"] for _ in range(n)}


def short(path):
    return read_bundle(path).short_version


class Asking(threading.Thread):
    """Sends requests continuously on one connection, and compares every answer with the version that it names."""

    def __init__(self, server, truth):
        super().__init__(daemon=True)
        self.server, self.truth = server, truth
        self.stopped = threading.Event()
        self.faults: list[str] = []
        self.seen: list[str] = []
        self.times: list[float] = []

    def run(self):
        content = request("POST", "/predict", BODY)
        while not self.stopped.is_set():
            with self.server.client() as client:
                for _ in range(200):
                    sent = time.monotonic()
                    try:
                        client.send(content)
                        answer = client.answer()
                    except (OSError, EOFError) as error:
                        self.faults.append(repr(error))
                        break
                    document = answer.json
                    if answer.status != 200 or self.truth.get(document["version"]) != document["prediction"]:
                        self.faults.append(f"{answer.status} {answer.body[:200]!r}")
                    self.seen.append(document.get("version"))
                    self.times.append(sent)
                    if self.stopped.wait(0.001):
                        break

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.join()


def test_a_published_version_is_taken_into_service_without_a_gap(repository, bundles, truth, admin):
    old, new = map(short, bundles)
    with serving(repository, workers=2, options=["--admin", f"unix:{admin}"]) as server:
        server.booted(2)
        assert versions_of(server) == {old}
        with Asking(server, truth) as one, Asking(server, truth) as two:
            eventually(lambda: len(one.seen) > 50 and len(two.seen) > 50, what="some load")
            assert server.metrics()["mlrf_last_reload_timestamp_seconds"] == 0
            began = time.time() - 0.01
            publish(bundles[1], repository)
            answer = ask_admin(admin)
            acknowledged = time.monotonic()
            assert (answer.status, answer.json["version"], answer.json["number"]) == (200, new, 2)
            eventually(lambda: len(one.seen) > 300 and len(two.seen) > 300, what="more load")
        for asking in (one, two):
            assert asking.faults == []
            late = [v for v, sent in zip(asking.seen, asking.times, strict=True) if sent > acknowledged]
            assert set(late) == {new}, "nothing stale after the acknowledgement"
            assert asking.seen == sorted(asking.seen, key=[old, new].index), "and nothing goes back"
        # Two if the server followed the pointer before the request to load it came.
        assert server.metrics()["mlrf_reloads_total;outcome=done"] in (1, 2)
        assert began < server.metrics()["mlrf_last_reload_timestamp_seconds"] < time.time()
        assert server.metrics()[f"mlrf_bundle_info;model=sample;version={new}"] == 1
        # A worker started now serves the current version.
        for pid in server.workers():
            os.kill(pid, signal.SIGKILL)
            eventually(lambda p=pid: not is_alive(p))
        server.booted(2)
        assert versions_of(server) == {new}
        rollback_and_ask(server, repository, admin, old)


def rollback_and_ask(server, repository, admin, old):
    from mlrf.core.repository import model_directories  # noqa: PLC0415

    rollback(model_directories(repository)[0])
    assert ask_admin(admin).json["version"] == old
    assert versions_of(server) == {old}


def test_the_pointer_is_watched(repository, bundles):
    with serving(repository / "sample", workers=2) as server:
        server.booted(2)
        publish(bundles[1], repository)
        eventually(lambda: server.metrics()["mlrf_reloads_total;outcome=done"] == 1, what="a reload")
        assert versions_of(server) == {short(bundles[1])}
        eventually(lambda: [e for e in server.log if e["event"] == "reloaded"], what="a line in the log")


def test_refused_version_is_retried_when_published_again(repository, bundles):
    old, new = map(short, bundles)
    with serving(repository, workers=2) as server:
        server.booted(2)
        late = repository / "sample/2/forest.bin"
        shutil.copytree(bundles[1], late.parent)
        late.rename(late.with_name("forest.part"))
        pointer = {"number": 2, "digest": read_bundle(bundles[1]).version, "before": [1]}
        (repository / "sample/current.new").write_text(json.dumps(pointer))
        (repository / "sample/current.new").rename(repository / "sample/current.json")
        eventually(lambda: server.metrics()["mlrf_reloads_total;outcome=refused"] == 1, what="a refusal")
        assert versions_of(server) == {old}
        late.with_name("forest.part").rename(late)
        _, version = publish(bundles[1], repository)
        assert version.number == 2
        eventually(lambda: server.metrics()["mlrf_reloads_total;outcome=done"] == 1, what="a reload")
        assert versions_of(server) == {new}


def damaged(repository, how):
    """A damaged second version that the pointer already names."""
    model_directory = repository / "sample"
    folder = model_directory / "2"
    how(folder)
    (model_directory / "current.json").unlink()
    raw = (folder / "manifest.json").read_bytes()
    import hashlib  # noqa: PLC0415

    pointer = {"number": 2, "digest": hashlib.sha256(raw).hexdigest(), "before": [1]}
    (model_directory / "current.new").write_text(json.dumps(pointer))
    (model_directory / "current.new").rename(model_directory / "current.json")


def flipped(folder):
    content = bytearray((folder / "forest.bin").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "forest.bin").chmod(0o644)
    (folder / "forest.bin").write_bytes(content)


def extra(folder):
    (folder / "extra").write_text("")


def missing(folder):
    (folder / "forest.bin").unlink()


def other_golden(folder):
    path = folder / "golden.bin"
    content = bytearray(path.read_bytes())
    content[-3] ^= 8
    path.chmod(0o644)
    path.write_bytes(content)
    relist(folder, "golden.bin")


def relist(folder, name):
    document = json.loads((folder / "manifest.json").read_text())
    entry = entry_of(folder / name)
    document["files"][name] = {"sha256": entry.sha256, "size_bytes": entry.size_bytes}
    (folder / "manifest.json").chmod(0o644)
    write_manifest(folder, document)


def other_schema(folder):
    shutil.rmtree(folder)
    write_stump_bundle(folder, schema=NUMBERS)


def other_model(folder):
    shutil.rmtree(folder)
    write_stump_bundle(folder, name="another")


@pytest.mark.parametrize(
    ("how", "message", "code"),
    [
        (flipped, "forest.bin was altered", "RELOAD_REFUSED"),
        (extra, "extra is in the directory", "RELOAD_REFUSED"),
        (missing, "forest.bin is missing", "RELOAD_REFUSED"),
        (other_golden, "golden row", "RELOAD_REFUSED"),
        (other_schema, "'price' is gone", "SCHEMA_CHANGED"),
        (other_model, "contains the model 'another'", "RELOAD_REFUSED"),
    ],
)
def test_invalid_version_is_refused_and_the_old_one_serves(served, tmp_path, how, message, code):
    server, repository, admin, old = served
    shutil.rmtree(repository / "sample/2", ignore_errors=True)
    shutil.copytree(repository / "sample/1", repository / "sample/2")
    refused = server.metrics()["mlrf_reloads_total;outcome=refused"]
    damaged(repository, how)
    answer = ask_admin(admin)
    assert (answer.status, answer.code) == (409, code)
    assert message in answer.json["error"]
    assert server.metrics()["mlrf_reloads_total;outcome=refused"] > refused
    assert versions_of(server) == {old}
    logged = [entry["reason"] for entry in server.log if entry["event"] == "reload refused"]
    assert any(message in reason for reason in logged)


@pytest.fixture(scope="module")
def served(tmp_path_factory, bundles):
    folder = tmp_path_factory.mktemp("served")
    publish(bundles[0], folder / "models")
    admin = folder / "admin.sock"
    with serving(folder / "models", workers=2, options=["--admin", f"unix:{admin}"]) as server:
        server.booted(2)
        yield server, folder / "models", admin, short(bundles[0])


def test_changed_schema_is_accepted_when_allowed(repository, tmp_path, admin):
    publish(write_stump_bundle(tmp_path / "other", schema=NUMBERS), repository, allow_schema_change=True)
    rollback_one(repository)
    with serving(repository, workers=2, options=["--admin", f"unix:{admin}"]) as server:
        server.booted(2)
        assert ask_admin(admin, {"version": 2}).code == "SCHEMA_CHANGED"
        assert ask_admin(admin, {"version": 2, "allow_schema_change": True}).status == 200
        assert server.ask("POST", "/predict", {"features": [1, 2, 3]}).status == 200
        assert [f["name"] for f in server.ask("GET", "/models").json["models"][0]["features"]] == ["x0", "x1", "x2"]


def rollback_one(repository):
    from mlrf.core.repository import model_directories  # noqa: PLC0415

    rollback(model_directories(repository)[0])


def test_invalid_options_are_refused_with_a_reason(served):
    _, _, admin, _ = served
    assert ask_admin(admin, {"version": 99}).code == "RELOAD_REFUSED"
    assert ask_admin(admin, {"version": "../1"}).code == "RELOAD_REFUSED"
    assert ask_admin(admin, {"versions": 1}).status == 422
    assert ask_admin(admin, b"{").status == 422
    assert ask_admin(admin, route="/admin/models/none/load").status == 404
    assert ask_admin(admin, {"version": 1}).status == 200


def test_a_worker_that_hangs_ends_the_attempt_and_not_the_server(repository, bundles, admin):
    publish(bundles[1], repository)
    with serving(repository, workers=2, options=["--admin", f"unix:{admin}", "--reload-timeout", "1"]) as server:
        workers = server.booted(2)
        stop(workers[1])
        try:
            answer = ask_admin(admin, {"version": 1})
            assert (answer.status, answer.code) == (409, "RELOAD_REFUSED")
            assert "within 1 s" in answer.json["error"]
        finally:
            os.kill(workers[1], signal.SIGCONT)
        assert versions_of(server) == {short(bundles[1])}
        # A busy machine may take longer than a second, and is asked again.
        eventually(lambda: ask_admin(admin, {"version": 1}).status == 200, what="the other version")
        assert versions_of(server) == {short(bundles[0])}
        assert server.workers() == workers


def test_a_worker_killed_while_it_prepares_ends_the_attempt(repository, bundles, admin):
    publish(bundles[1], repository)
    with (
        serving(repository, workers=2, options=["--admin", f"unix:{admin}", "--reload-timeout", "300"]) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        stopped = server.booted(2)[1]
        stop(stopped)
        load = pool.submit(ask_admin, admin, {"version": 1})
        eventually(lambda: is_pending(stopped, WAKE), what="the attempt")
        os.kill(stopped, signal.SIGKILL)
        answer = load.result()
        assert answer.status == 409
        assert "died while it prepared" in answer.json["error"]
        server.booted(2)
        assert versions_of(server) == {short(bundles[1])}


def test_bundle_directory_has_no_other_versions(bundles, admin):
    with serving(bundles[0], options=["--admin", f"unix:{admin}"]):
        assert ask_admin(admin).json["version"] == short(bundles[0])
        answer = ask_admin(admin, {"version": 2})
        assert answer.code == "RELOAD_REFUSED"
        assert "mlrf publish" in answer.json["error"]


def test_repository_models_are_reloaded_one_at_a_time(repository, bundles, tmp_path, admin):
    publish(write_stump_bundle(tmp_path / "numbers", name="numbers", schema=NUMBERS), repository)
    with serving(repository, workers=2, options=["--admin", f"unix:{admin}", "--default", "numbers"]) as server:
        server.booted(2)
        publish(bundles[1], repository)
        assert ask_admin(admin).status == 200
        assert server.ask("POST", "/predict", {"features": [1, 2, 3]}).json["model"] == "numbers"
        answer = server.ask("POST", "/models/sample/predict", BODY)
        assert answer.json["version"] == short(bundles[1])
        listed = ask_admin(admin, method="GET", route="/admin/models").json
        assert {m["name"]: m["version"] for m in listed["models"]}["sample"] == short(bundles[1])


def n_files(pid):
    """Open files that are not sockets: connections come and go."""
    found = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += not str(entry.readlink()).startswith("socket:")
    return found


def mapped(pid, name="forest.bin"):
    return sum(name in line for line in Path(f"/proc/{pid}/maps").read_text().splitlines())


def test_the_old_version_is_let_go(repository, bundles, admin):
    with serving(repository, workers=1, options=["--admin", f"unix:{admin}"]) as server:
        (worker,) = server.booted(1)
        publish(bundles[1], repository)
        descriptors = None
        for number in (2, 1, 2):
            assert ask_admin(admin, {"version": number}).status == 200
            eventually(lambda: mapped(worker) == 1, what="one mapped model")
            found = n_files(worker)
            descriptors = descriptors or found
            assert found <= descriptors
        assert len(os.listdir(f"/proc/{worker}/task")) <= 6


def test_request_in_flight_keeps_its_version(repository, bundles, truth, admin):
    with serving(repository, workers=1, options=["--admin", f"unix:{admin}"]) as server:
        publish(bundles[1], repository)
        many = {"instances": [BODY] * 100, "explain": True}
        whole = request("POST", "/predict/batch", many)
        with server.client() as client:
            client.ask("GET", "/healthz")
            client.send(whole * 20 + whole[:-9])
            assert ask_admin(admin).status == 200
            client.send(whole[-9:] + whole)
            answers = [client.answer().json for _ in range(22)]
        for answer in answers:
            assert set(answer["predictions"]) == {truth[answer["version"]]}
        assert answers[-1]["version"] == short(bundles[1])


def test_a_worker_that_leaves_answers_nothing_stale_either(repository, bundles, admin):
    publish(bundles[1], repository)
    with serving(repository, workers=2, options=["--admin", f"unix:{admin}"]) as server:

        def has_a_leaving_worker_answered():
            """A busy machine may take longer for the switch than a worker that leaves keeps idle connections."""
            assert ask_admin(admin, {"version": 1}).status == 200
            leaving, _ = server.booted(2)
            with contextlib.ExitStack() as opened:
                clients = [opened.enter_context(server.client()) for _ in range(16)]
                for client in clients:
                    client.ask("GET", "/healthz")
                os.kill(leaving, signal.SIGTERM)
                assert ask_admin(admin, {"version": 2}).status == 200
                answers = [answer for client in clients if (answer := answer_unless_closed(client))]
            assert {answer.json["version"] for answer in answers} == {short(bundles[1])}
            return "close" in {answer.headers.get("connection") for answer in answers}

        eventually(has_a_leaving_worker_answered, what="an answer of a worker that leaves")


def answer_unless_closed(client):
    with contextlib.suppress(EOFError, ConnectionError):
        return client.ask("POST", "/predict", BODY)
    return None
