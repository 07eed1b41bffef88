"""Answers computed off the event loop: correct, in order, and without delaying others."""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
import time

import numpy as np
import pytest

import mlrf
from bundles import write_tree_bundle
from mlrf.core.feature import Feature
from mlrf.core.manifest import LinkEntry
from mlrf.core.schema import Schema
from raw_http import chunked, request
from running import eventually, serving

pytestmark = pytest.mark.timing  # latencies while a long answer is made

SCHEMA = Schema(tuple(Feature(f"x{i}", example=0.5) for i in range(30)))
N_LONG = 10_000
"""Instances that take half a second or more."""
EXTREME = [1e6] + [0.5] * 29


def rows(n):
    return np.random.default_rng(1).normal(size=(n, 30)).round(3)


def batch_of(n, explain=2):
    return {"instances": [{"features": row} for row in rows(n).tolist()], "explain": explain}


LONG = request("POST", "/predict/batch", batch_of(N_LONG))
SHORT = request("POST", "/predict/batch", batch_of(100))
EACH_ITS_OWN = ["--cache", "0"]
"""Without a cache every request is work of its own, also where the same is asked by others at the time."""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deferred")
    return write_tree_bundle(folder / "b", schema=SCHEMA, n_trees=400, max_leaves=64, link=LinkEntry("exp"))


@pytest.fixture(scope="module")
def model(path):
    return mlrf.load(path)


@pytest.fixture(scope="module")
def running(path):
    with serving(path, options=["--max-batch", str(N_LONG)]) as server:
        yield server


@pytest.fixture
def server(running):
    pids = running.workers()
    yield running
    eventually(running.is_ready)
    assert running.workers() == pids
    assert running.troubles == []


def test_a_batch_of_a_hundred_explained_rows_is_right(server, model):
    answer = server.ask("POST", "/predict/batch", batch_of(100, explain=True)).json
    explained = model.explain(rows(100))
    assert answer["predictions"] == model.predict(rows(100)).tolist()
    for found, phis in zip(answer["explanations"], explained.values, strict=True):
        assert list(found["contributions"].values()) == phis.tolist()
        assert found["base"] == explained.base


def test_pipelined_requests_keep_their_order(server, model):
    (first, second) = rows(2).tolist()
    with server.client() as client:
        client.send(
            request("POST", "/predict", {"features": first})
            + request("POST", "/predict/batch", batch_of(500), ["X-Request-ID: long"])
            + request("POST", "/predict", {"features": second})
            + request("HEAD", "/healthz")
            + request("POST", "/predict/batch", batch_of(300), ["X-Request-ID: next"])
            + request("GET", "/nowhere")
        )
        # And more, while the first long one is being made, the last of it in pieces.
        late = request("POST", "/explain", {"features": first})
        client.send(request("GET", "/healthz") + late[:40])
        time.sleep(0.005)
        client.send(late[40:])
        assert client.answer().json["prediction"] == model.predict(rows(1))[0]
        long = client.answer()
        assert (long.headers["x-request-id"], len(long.json["explanations"])) == ("long", 500)
        assert client.answer().json["prediction"] == model.predict(rows(2))[1]
        assert client.answer(to_head=True).status == 200
        following = client.answer()
        assert (following.headers["x-request-id"], len(following.json["explanations"])) == ("next", 300)
        assert client.answer().code == "ROUTE_NOT_FOUND"
        assert client.answer().json == {"status": "alive"}
        assert client.answer().json["explanation"]["base"] == model.explain(rows(1)).base


def test_a_body_in_chunks_is_deferred_too(server):
    body = request("POST", "/predict/batch", batch_of(200)).partition(b"\r\n\r\n")[2]
    with server.client() as client:
        client.send(
            request("POST", "/predict/batch", b"", ["Transfer-Encoding: chunked"]) + chunked(body, [1000, 5000])
        )
        client.send(request("GET", "/healthz"))
        assert len(client.answer().json["predictions"]) == 200
        assert client.answer().status == 200


def test_other_connections_are_answered_during_work(server):
    with server.client() as patient, server.client() as other:
        other.ask("GET", "/healthz")
        patient.send(LONG)
        patient.socket.setblocking(False)
        # Until the whole body was read and decoded: that much is done in the loop.
        time.sleep(0.1)
        elapsed = []
        while not _has_come(patient):
            began = time.monotonic()
            assert other.ask("GET", "/healthz").status == 200
            elapsed.append(time.monotonic() - began)
            time.sleep(0.002)
        patient.socket.settimeout(10)
        assert len(patient.answer().json["predictions"]) == N_LONG
    assert len(elapsed) >= 10
    assert np.median(elapsed) < 0.01
    assert max(elapsed) < 0.1


def _has_come(client) -> bool:
    with contextlib.suppress(BlockingIOError):
        return client.socket.recv(1, socket.MSG_PEEK) != b""
    return False


@pytest.mark.parametrize("abruptly", [False, True])
def test_disconnecting_client_harms_no_other(server, abruptly):
    with server.client() as other:
        before = server.metrics()["mlrf_open_connections"]
        for _ in range(3):
            client = server.client()
            client.send(SHORT + SHORT)
            if abruptly:
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.socket.close()
        assert other.ask("GET", "/healthz").status == 200
        other.send(SHORT)
        assert len(other.answer().json["predictions"]) == 100
        eventually(lambda: server.metrics()["mlrf_open_connections"] <= before, 5, "the connections gone")


def test_fault_off_the_event_loop_is_answered(server):
    body = batch_of(200)
    body["instances"][150] = {"features": {**dict.fromkeys(SCHEMA.names, 0.5), "y": 1}}
    assert server.ask("POST", "/predict/batch", body).json["details"]["index"] == 150


def test_a_result_that_is_not_finite_is_an_answer(tmp_path, path):
    steep = write_tree_bundle(
        tmp_path / "steep", schema=SCHEMA, n_trees=400, max_leaves=64, link=LinkEntry("exp"), leaf_scale=1000.0
    )
    with serving(steep) as server, server.client() as client:
        client.send(request("POST", "/predict/batch", batch_of(100)) + request("GET", "/healthz"))
        answer = client.answer()
        assert (answer.status, answer.code) == (422, "NON_FINITE_RESULT")
        assert "index" in answer.json["details"]
        assert client.answer().status == 200


def test_long_waits_are_refused_with_retry_after(path):
    n_refused = 12
    with (
        serving(path, options=["--max-batch", str(2 * N_LONG), "--max-wait", "0.2", *EACH_ITS_OWN]) as server,
        contextlib.ExitStack() as opened,
    ):
        clients = [opened.enter_context(server.client()) for _ in range(1 + n_refused)]
        for client in clients:
            # What such work takes is learnt from work that is done.
            client.socket.settimeout(60)
            client.send(SHORT)
            assert client.answer().status == 200
        clients[0].send(request("POST", "/predict/batch", batch_of(2 * N_LONG)))
        eventually(lambda: server.metrics()["mlrf_requests_waiting;on=thread"] == 1, what="work in the thread")
        for client in clients[1:]:
            client.send(SHORT + request("GET", "/healthz"))
        refusals = [client.answer() for client in clients[1:]]
        assert {(a.status, a.code, a.headers["retry-after"]) for a in refusals} == {(503, "OVERLOADED", "1")}
        assert all(client.answer().json == {"status": "alive"} for client in clients[1:])
        long = clients[0].answer()
        assert (long.status, len(long.json["predictions"])) == (200, 2 * N_LONG)
        # And when the thread is free again, so is the way.
        clients[-1].send(SHORT)
        assert clients[-1].answer().status == 200
        assert server.troubles == []
        assert server.metrics()["mlrf_requests_total;route=/predict/batch;status=503"] == n_refused


@pytest.mark.parametrize("abruptly", [False, True])
def test_disconnected_client_frees_its_slot(path, abruptly):
    with (
        serving(path, options=["--max-batch", str(2 * N_LONG), "--max-wait", "60", *EACH_ITS_OWN]) as server,
        server.client() as first,
        server.client() as last,
        contextlib.ExitStack() as opened,
    ):
        first.socket.settimeout(60)
        last.socket.settimeout(60)
        assert [c.ask("GET", "/healthz").status for c in (first, last)] == [200, 200]
        before = server.metrics()["mlrf_open_connections"]
        first.send(request("POST", "/predict/batch", batch_of(2 * N_LONG)))
        leaving = [opened.enter_context(server.client()) for _ in range(20)]
        for client in leaving:
            client.send(SHORT)
            if abruptly:
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        eventually(lambda: server.metrics()["mlrf_open_connections"] >= before + len(leaving))
        for client in leaving:
            client.socket.close()
        eventually(lambda: server.metrics()["mlrf_open_connections"] <= before, 5, "the connections gone")
        last.send(SHORT)
        assert last.answer().status == 200
        assert len(first.answer().json["predictions"]) == 2 * N_LONG
        # Work that no client waits for was not done.
        assert server.metrics()["mlrf_requests_total;route=/predict/batch;status=200"] == 2
        assert server.troubles == []


def test_client_that_keeps_sending_uses_bounded_memory(server):
    with server.client() as client:
        client.send(LONG)
        client.socket.settimeout(0.3)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 64 << 20:
                sent += client.socket.send(request("GET", "/healthz") * 1000)
        assert sent < 16 << 20, "the kernel's buffers, and what is read ahead"
        client.socket.settimeout(10)
        assert len(client.answer().json["predictions"]) == N_LONG


def test_request_waiting_for_the_thread_is_neither_idle_nor_late(path):
    options = ["--max-batch", str(N_LONG), "--idle-timeout", "1", "--request-timeout", "1", "--max-wait", "60"]
    follows = request("GET", "/healthz")
    with serving(path, options=options) as server, contextlib.ExitStack() as opened:
        began = time.monotonic()
        clients = []
        for _ in range(8):
            clients.append(opened.enter_context(server.client()))
            clients[-1].send(LONG)
        clients[-1].send(follows[:10])
        assert [len(client.answer().json["predictions"]) for client in clients] == [N_LONG] * 8
        assert time.monotonic() - began > 1.6, "the limits were over for the last"
        clients[-1].send(follows[10:])
        assert clients[-1].answer().status == 200


def test_what_is_being_made_at_sigterm_is_answered(path):
    with serving(path, options=["--max-batch", str(N_LONG)]) as server, server.client() as client:
        client.send(LONG)
        time.sleep(0.15)
        assert not _came_at_once(client)
        server.process.send_signal(signal.SIGTERM)
        answer = client.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert len(answer.json["explanations"]) == N_LONG
        assert client.is_closed()
        assert server.wait() == 0
        assert server.troubles == []


def _came_at_once(client) -> bool:
    client.socket.setblocking(False)
    try:
        return _has_come(client)
    finally:
        client.socket.settimeout(10)


def test_requests_queued_after_the_drain_limit_are_refused(path):
    n_waiting = 12
    with (
        serving(path, options=["--max-batch", str(2 * N_LONG), "--drain-timeout", "1", "--max-wait", "60"]) as server,
        contextlib.ExitStack() as opened,
    ):
        long = request("POST", "/predict/batch", batch_of(2 * N_LONG))
        clients = [opened.enter_context(server.client()) for _ in range(n_waiting)]
        for client in clients:
            assert client.ask("GET", "/healthz").status == 200
            client.send(long)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
        # The drain and what the thread was at, not the work of all who waited.
        assert time.monotonic() - began < 6
        last = clients[-1].answer()
        assert (last.status, last.code, last.headers["connection"]) == (503, "NOT_READY", "close")
        # But for the one whose answer was being made, if that was not done at that very moment.
        assert {entry["event"] for entry in server.troubles} <= {"connections cut at exit"}
