"""Servers of models in stores: every fault of a store leaves right answers, and recovery is followed within a poll."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from math import inf
from pathlib import Path

import pytest

from bundles import NUMBERS, write_tree_bundle
from client_environment import needs_mlflow
from faulty_proxy import FAULTS
from mlrf.cli import main
from mlrf.core.bundle import read_bundle
from mlrf.core.publishing import publish
from mlrf.model import load
from running import children_of, eventually, run_to_its_end, serving
from store_outages import HARDLY_DOWN, REQUEST, Asking, drill
from store_servers import BUCKET, S3_VARIABLES, SECRET, file_server, registry_program, s3_client, s3_server

POLL_S = 0.5
POLL = ("--store-poll", str(POLL_S))
needs_registry = pytest.mark.skipif(registry_program() is None, reason="docker-registry is not installed")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    return [write_tree_bundle(folder / str(seed), seed=seed) for seed in (7, 8, 9)]


@pytest.fixture(scope="module")
def truth(bundles):
    return {read_bundle(path).short_version: float(load(path).predict([REQUEST["features"]])[0]) for path in bundles}


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def state(tmp_path):
    return ("--state-dir", str(tmp_path / "state"))


@pytest.fixture
def s3(tmp_path, monkeypatch):
    with s3_server(tmp_path) as url:
        for name, value in {**S3_VARIABLES, "AWS_ENDPOINT_URL": url}.items():
            monkeypatch.setenv(name, value)
        yield url


def short(path):
    return read_bundle(path).short_version


def answered_by(server):
    return server.ask("POST", "/predict", REQUEST).json["version"]


def is_up(server):
    return server.metrics()["mlrf_model_store_up"]


@pytest.mark.parametrize(
    ("kind", "faults"),
    [
        ("https", ["stopped", "corrupt"]),
        pytest.param("oci", ["half-written"], marks=needs_registry),
        pytest.param("https", FAULTS, marks=pytest.mark.slow),
        pytest.param("s3", FAULTS, marks=pytest.mark.slow),
        pytest.param("oci", FAULTS, marks=[pytest.mark.slow, needs_registry]),
    ],
)
def test_an_outage_gives_no_wrong_answer_and_no_restart(kind, faults, tmp_path):
    check_outages(kind, faults, tmp_path)


@needs_mlflow
@pytest.mark.slow
def test_an_outage_of_mlflow_changes_no_answer(tmp_path):
    check_outages("mlflow", FAULTS, tmp_path)


def check_outages(kind, faults, tmp_path):
    seen = drill(kind, faults, tmp_path)
    assert [each.fault for each in seen if each.right_after_s < inf] == list(faults)
    for each in seen:
        print(f"{kind} {each.fault}: right {each.right_after_s:.2f} s after recovery, {each.answers} answers")
        assert (each.wrong, each.restarts, each.answers > 0) == ([], [], True), each.fault
        # A look that the fault met half-way fails with another sentence than those after it, and both are logged.
        followed = [event for event, _ in itertools.groupby(each.events) if event.startswith("store ")]
        assert followed == ["store not followed", "store followed again"] or each.fault in HARDLY_DOWN


@pytest.mark.slow
def test_a_version_that_fails_its_proof_is_not_served(home, state, bundles, truth):
    publish(bundles[0], home)
    with file_server(home) as store, serving(Path(store.url), options=(*state, *POLL)) as server:
        other_schema = write_tree_bundle(home.parent / "other", schema=NUMBERS, seed=8)
        publish(other_schema, home, allow_schema_change=True)
        eventually(lambda: any(each["event"] == "reload refused" for each in server.log), what="a refusal")
        assert (answered_by(server), is_up(server)) == (short(bundles[0]), 1)


def test_a_start_without_the_store_serves_the_cached_version(home, state, bundles):
    publish(bundles[0], home)
    with file_server(home) as store:
        address = Path(store.url)
        with serving(address, options=(*state, *POLL)):
            pass
        store.fault = "stopped"
        with serving(address, options=(*state, *POLL)) as server:
            assert server.is_ready()
            assert answered_by(server) == short(bundles[0])
            eventually(lambda: is_up(server) == 0, what="the store reported as down")
            publish(bundles[1], home)
            store.fault = ""
            eventually(lambda: answered_by(server) == short(bundles[1]), what="the new version")


def test_an_empty_cache_and_no_store_end_the_start(home, state):
    with file_server(home) as store:
        address = Path(store.url)
    status, output, took_s = run_to_its_end([address], "--port", "0", *state, *POLL, "--store-timeout", "1.5")
    assert (status, "--store-timeout" in output, "refused" in output.lower()) == (3, True, True), output
    assert took_s > 1.5


@pytest.mark.slow
def test_a_store_that_comes_late_is_waited_for(home, state, bundles):
    publish(bundles[0], home)
    with file_server(home) as store:
        store.fault = "refused"
        threading.Timer(1.0, setattr, (store, "fault", "")).start()
        with serving(Path(store.url), options=(*state, *POLL)) as server:
            assert answered_by(server) == short(bundles[0])


def test_models_in_s3_are_published_served_and_replaced(s3, state, bundles, truth, capsys, monkeypatch):
    address = f"s3://{BUCKET}/team/models"
    assert main(["publish", str(bundles[0]), address]) == 0
    with serving(Path(address), workers=2, options=(*state, *POLL)) as server:
        server.booted(2)
        assert answered_by(server) == short(bundles[0])
        with Asking(server, truth) as asking:
            assert main(["publish", str(bundles[1]), address]) == 0
            eventually(lambda: answered_by(server) == short(bundles[1]), what="the published version")
            damaged = f"team/models/sample/{3}"
            assert main(["publish", str(bundles[2]), address]) == 0
            eventually(lambda: answered_by(server) == short(bundles[2]), what="the third version")
            client = s3_client(s3)
            client.delete_object(Bucket=BUCKET, Key=f"{damaged}/forest.bin")
            assert main(["publish", str(bundles[0]), address]) == 0
            eventually(lambda: answered_by(server) == short(bundles[0]), what="the first version again")
        assert asking.wrong == []
        fetched = [each for each in server.log if each["event"] == "version fetched"]
        assert [each["version"] for each in fetched] == [1, 2, 3, 1]
        assert {each["store"] for each in fetched} == {address}
        [model] = server.ask("GET", "/models").json["models"]
        assert model["digest"] == read_bundle(bundles[0]).version
        assert SECRET not in "\n".join(server.lines)
        _check_environment(server)
    capsys.readouterr()
    assert main(["versions", f"{address}/sample"]) == 0
    assert re.sub(r" +[0-9a-f]{12}", "", capsys.readouterr().out).split() == ["1", "current", "2", "3"]


def _check_environment(server):
    """Only the fetcher has the credentials: not the first process, not a worker."""
    holders = {}
    for pid in (server.process.pid, *children_of(server.process.pid)):
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        holders.setdefault(SECRET.encode() in environment, []).append(b"store_fetcher" in command)
    assert holders[True] == [True]
    assert len(holders[False]) == 3
    assert not any(holders[False])


@pytest.mark.slow
def test_an_s3_store_that_hangs_is_followed_again(s3, state, bundles):
    address = f"s3://{BUCKET}/models"
    assert main(["publish", str(bundles[0]), address]) == 0
    with serving(Path(address), options=(*state, *POLL)) as server:
        [store] = [
            pid for pid in children_of(os.getpid()) if b"moto.server" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        os.kill(store, signal.SIGSTOP)
        try:
            eventually(lambda: is_up(server) == 0, what="the store reported as down")
            assert (server.is_ready(), answered_by(server)) == (True, short(bundles[0]))
        finally:
            os.kill(store, signal.SIGCONT)
        assert main(["publish", str(bundles[1]), address]) == 0
        eventually(lambda: answered_by(server) == short(bundles[1]), what="the published version")


@pytest.mark.slow
def test_publishers_to_s3_do_not_overwrite_each_other(s3, bundles, capsys):
    address = f"s3://{BUCKET}/models"
    commands = [
        subprocess.Popen([sys.executable, "-m", "mlrf", "publish", str(each), address], stderr=subprocess.PIPE)
        for each in bundles
    ]
    outcomes = [(each.communicate()[1].decode(), each.returncode) for each in commands]
    assert all(status == 0 or "meanwhile" in error for error, status in outcomes), outcomes
    assert main(["publish", str(bundles[0]), address]) == 0
    client = s3_client(s3)
    keys = [each["Key"] for each in client.list_objects_v2(Bucket=BUCKET)["Contents"]]
    for number in (1, 2, 3):
        assert f"models/sample/{number}/manifest.json" in keys


@pytest.mark.slow
def test_an_interrupted_publication_to_s3_can_be_completed(s3, state, bundles, monkeypatch):
    address = f"s3://{BUCKET}/models"
    assert main(["publish", str(bundles[0]), address]) == 0
    client = s3_client(s3)
    manifest = (bundles[1] / "manifest.json").read_bytes()
    client.put_object(Bucket=BUCKET, Key="models/sample/2/manifest.json", Body=manifest)
    with serving(Path(address), options=(*state, *POLL)) as server:
        assert answered_by(server) == short(bundles[0])
        assert main(["publish", str(bundles[1]), address]) == 0
        eventually(lambda: answered_by(server) == short(bundles[1]), what="the completed version")


@pytest.mark.slow
def test_an_incompatible_version_is_not_published_to_s3(s3, bundles, tmp_path, capsys):
    address = f"s3://{BUCKET}/models"
    assert main(["publish", str(bundles[0]), address]) == 0
    other = write_tree_bundle(tmp_path / "other", schema=NUMBERS)
    assert main(["publish", str(other), address]) == 1
    assert "--allow-schema-change" in capsys.readouterr().err
    assert main(["publish", str(bundles[0]), f"{address}/sample"]) == 1
    assert main(["publish", str(bundles[0]), "https://host.example/models"]) == 1


@pytest.mark.slow
def test_a_fetcher_that_dies_is_restarted_and_reported(home, state, bundles):
    publish(bundles[0], home)
    with file_server(home) as store, serving(Path(store.url), options=(*state, *POLL)) as server:
        keeper = next(pid for pid in children_of(server.process.pid) if _is_fetcher(pid))
        [child] = children_of(keeper)
        os.kill(child, signal.SIGKILL)
        publish(bundles[1], home)
        eventually(lambda: answered_by(server) == short(bundles[1]), what="the new version, by a new fetcher")
        assert any(each["event"] == "store fetcher ended" for each in server.log)
        os.kill(keeper, signal.SIGKILL)
        eventually(lambda: is_up(server) == 0, what="the store reported as down")
        assert answered_by(server) == short(bundles[1])


def _is_fetcher(pid):
    return b"store_fetcher" in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_no_fetcher_outlives_its_server(home, state, bundles):
    publish(bundles[0], home)
    with file_server(home) as store, serving(Path(store.url), options=(*state, *POLL)) as server:
        keeper = next(pid for pid in children_of(server.process.pid) if _is_fetcher(pid))
        [child] = children_of(keeper)
        server.process.kill()
        eventually(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in (keeper, child)), what="their end")


def test_settings_are_printed_without_fetching(home, state, bundles, capsys):
    publish(bundles[0], home)
    with file_server(home) as store:
        assert main(["serve", store.url, "--print-config", *state]) == 0
        assert f'bundles = ["{store.url}"]' in capsys.readouterr().out
        assert store.requests == 0
    shutil.rmtree(home)
