"""More than a worker can answer in time: what is refused, how, and what is answered all the same."""

from __future__ import annotations

import contextlib
import gzip
import json
import resource
import time

import pytest

from bundles import write_tree_bundle
from mlrf.core.feature import Feature
from mlrf.core.schema import Schema
from raw_http import Client, chunked, request
from running import cpu_s, eventually, serving

pytestmark = pytest.mark.timing  # latencies under load

SCHEMA = Schema(tuple(Feature(f"x{i}", example=0.5) for i in range(30)))
ROW = [0.25] * 30
N_LONG = 20_000
MIDDLE = {"instances": [{"features": ROW}] * 200, "explain": 2}
ONE = request("POST", "/predict", {"features": ROW})
COUNTED = "mlrf_requests_total;route=/predict/batch;status="


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_tree_bundle(tmp_path_factory.mktemp("overload") / "b", schema=SCHEMA, n_trees=400, max_leaves=64)


@pytest.fixture(scope="module")
def running(path):
    with serving(path, options=["--max-batch", str(N_LONG)]) as server:
        yield server


@pytest.fixture
def server(running):
    yield running
    eventually(running.is_ready)
    assert running.troubles == []


@contextlib.contextmanager
def busy_thread(server):
    """A second or so in which the worker's thread is at work for another client."""
    with server.client() as client:
        client.socket.settimeout(60)
        client.send(request("POST", "/predict/batch", {"instances": [{"features": ROW}] * N_LONG, "explain": 2}))
        eventually(lambda: "mlrf_open_connections" in server.metrics())
        time.sleep(0.05)
        yield
        assert client.answer().status == 200


def test_what_waits_longer_than_its_client_does_is_never_begun(server):
    before = server.metrics()
    with busy_thread(server), server.client() as client:
        answer = client.ask("POST", "/predict/batch", MIDDLE, ["X-Request-Timeout-Ms: 20"])
        assert (answer.status, answer.code) == (504, "DEADLINE_EXCEEDED")
        assert client.ask("GET", "/healthz").status == 200
    after = server.metrics()
    assert after[COUNTED + "504"] == before.get(COUNTED + "504", 0) + 1
    assert client_time_is_enough(server)


def client_time_is_enough(server):
    answer = server.ask("POST", "/predict/batch", MIDDLE, ["X-Request-Timeout-Ms: 9000"])
    return answer.status == 200


def test_request_received_after_its_deadline_is_refused(server):
    stream = request("POST", "/predict", {"features": ROW}, ["X-Request-Timeout-Ms: 50"])
    counted = server.metrics()["mlrf_instances_total"]
    with server.client() as client:
        client.send(stream[:-3])
        time.sleep(0.1)
        client.send(stream[-3:])
        assert client.answer().code == "DEADLINE_EXCEEDED"
        assert server.metrics()["mlrf_instances_total"] == counted
        client.send(stream)
        assert client.answer().status == 200


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "1s", "", "123456789"])
def test_invalid_deadline_is_refused_and_connection_kept(server, value):
    with server.client() as client:
        answer = client.ask("POST", "/predict", {"features": ROW}, [f"X-Request-Timeout-Ms: {value}"])
        assert (answer.status, answer.code) == (400, "MALFORMED_REQUEST")
        assert client.ask("GET", "/healthz").status == 200


def test_busy_thread_refuses_long_bodies_unread(path):
    body = json.dumps(MIDDLE).encode()
    # Without a cache, which would have one work done for all who ask the same.
    options = ["--max-batch", str(N_LONG), "--cache", "0"]
    with serving(path, options=options) as server, contextlib.ExitStack() as opened:
        waiting = [opened.enter_context(server.client()) for _ in range(8)]
        assert server.ask("POST", "/predict/batch", body).status == 200
        opened.enter_context(busy_thread(server))
        for client in waiting:
            client.socket.settimeout(60)
            client.send(request("POST", "/predict/batch", body))
        with server.client() as client:
            eventually(lambda: COUNTED + "503" in server.metrics(), what="a refusal")
            # Only the head, and a byte of the body: the answer does not wait for the rest, which is then read over.
            stream = request("POST", "/predict/batch", body)
            client.send(stream[: -len(body) + 1])
            answer = client.answer()
            assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "OVERLOADED", "1")
            client.send(stream[-len(body) + 1 :] + ONE)
            assert client.answer().status == 200
            client.send(request("POST", "/predict/batch", chunked(body, [500]), ["Transfer-Encoding: chunked"]))
            assert client.answer().status in (200, 503)
            for watching in ("/healthz", "/readyz", "/metrics"):
                assert server.ask("GET", watching).status == 200
        assert {client.answer().status for client in waiting} == {503}
        assert server.troubles == []


def test_pipelined_burst_does_not_delay_other_clients(server):
    n = 4000
    with server.client() as greedy, server.client() as other:
        other.ask("GET", "/healthz")
        greedy.socket.settimeout(30)
        waits = []
        for _ in range(3):
            greedy.send(ONE * (n // 4))
            began = time.monotonic()
            assert other.ask("GET", "/healthz").status == 200
            waits.append(time.monotonic() - began)
        answers = [greedy.answer() for _ in range(3 * (n // 4))]
        assert {a.status for a in answers} == {200}
        assert len({a.json["prediction"] for a in answers}) == 1
    assert min(waits) < 0.02, waits


def test_long_gzip_body_is_inflated_off_the_event_loop(server):
    body = json.dumps({"instances": [{"features": ROW}] * 2000}).encode()
    assert len(body) > 64 << 10
    plain = server.ask("POST", "/predict/batch", body)
    packed = server.ask("POST", "/predict/batch", gzip.compress(body), ["Content-Encoding: gzip"])
    assert packed.status == 200
    assert packed.body == plain.body
    cut = server.ask("POST", "/predict/batch", gzip.compress(body)[:-20], ["Content-Encoding: gzip"])
    assert (cut.status, cut.code) == (400, "MALFORMED_REQUEST")
    wrong = server.ask("POST", "/predict/batch", gzip.compress(b" " * 300_000), ["Content-Encoding: gzip"])
    assert wrong.code == "MALFORMED_REQUEST"


def test_gzip_bomb_is_cheap_even_with_a_false_length(server):
    bomb = gzip.compress(bytes(100 << 20), 9)
    liar = bomb[:-4] + (1000).to_bytes(4, "little")
    (worker,) = server.workers()
    for packed, limit_s in ((bomb, 0.2), (liar, 1.5)):
        before = cpu_s(worker)
        for _ in range(10):
            answer = server.ask("POST", "/predict", packed, ["Content-Encoding: gzip"])
            assert (answer.status, answer.code) == (413, "BODY_TOO_LARGE")
        assert cpu_s(worker) - before < limit_s


def test_a_body_in_a_million_chunks_is_refused_for_it(server):
    with server.client() as client:
        client.send(request("POST", "/predict", b"", ["Transfer-Encoding: chunked"]) + b"1\r\n \r\n" * 3000)
        answer = client.answer()
        assert (answer.status, answer.code) == (400, "MALFORMED_REQUEST")
        assert "chunks" in answer.json["error"]


HEALTH = request("GET", "/healthz")


def test_connections_beyond_the_limit_get_a_refusal(path):
    options = ["--max-connections", "20", "--header-timeout", "60", "--request-timeout", "60"]
    with serving(path, options=options) as server, contextlib.ExitStack() as opened:
        clients = [opened.enter_context(server.client()) for _ in range(20)]
        for client in clients:
            # Under way: none of them is idle, and makes room.
            assert client.ask("GET", "/healthz").status == 200
            client.send(HEALTH[:-3])
        with server.client() as late:
            answer = late.answer()
            assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "OVERLOADED", "1")
            assert late.is_closed()
        with server.client() as probe:
            # There may be too many connections, but what watches a server is answered.
            answer = probe.ask("GET", "/healthz")
            assert (answer.status, answer.headers["connection"]) == (200, "close")
        with server.client() as late:
            answer = late.ask("POST", "/predict", {"features": ROW})
            assert (answer.status, answer.code) == (503, "OVERLOADED")
        idle = [opened.enter_context(server.client()) for _ in range(200)]
        assert server.ask("GET", "/healthz").status == 200
        for client in clients:
            client.send(HEALTH[-3:])
            assert client.answer().status == 200
        for client in (*idle, *clients[:10]):
            client.socket.close()
        eventually(lambda: _answers(server.port), what="a place")


def test_declared_but_unsent_bytes_use_no_budget(path):
    """Together they tell of more than a worker has room for, down to the last bytes of it."""
    declared = [8_388_000] * 15 + [1_000_000] * 8 + [100_000] * 5 + [10_000] * 12 + [1_000] * 20 + [200] * 20
    body = request("POST", "/predict/batch", {"instances": [{"features": ROW}] * 20})
    with serving(path) as server, contextlib.ExitStack() as opened:
        for length in declared:
            slow = opened.enter_context(server.client())
            slow.send(b"POST /predict HTTP/1.1\r\nHost: slow\r\nContent-Length: %d\r\n\r\n{" % length)
        eventually(lambda: server.metrics()["mlrf_open_connections"] > len(declared), what="all of them")
        with server.client() as client:
            client.send(body[:-500])
            time.sleep(0.05)
            client.send(body[-500:])
            assert client.answer().status == 200


def test_idle_connections_make_room_for_those_that_come(path):
    with serving(path, options=["--max-connections", "20"]) as server, contextlib.ExitStack() as opened:
        idle = [opened.enter_context(server.client()) for _ in range(30)]
        time.sleep(2.0)
        for _ in range(30):
            probe = opened.enter_context(server.client())
            assert probe.ask("GET", "/healthz").status == 200
            time.sleep(0.1)
        assert all(client.rest()[:12] in (b"", b"HTTP/1.1 503") for client in idle)
        assert server.metrics()["mlrf_connections_cut_total;reason=idle_evicted"] >= 30


def _answers(port):
    with contextlib.suppress(OSError, EOFError), Client(port) as client:
        return client.ask("GET", "/healthz").status == 200
    return False


def test_a_worker_without_descriptors_does_not_spin_and_recovers(path):
    with serving(path) as server, contextlib.ExitStack() as opened:
        (worker,) = server.workers()
        with server.client() as first:
            assert first.ask("GET", "/healthz").status == 200
            limits = resource.prlimit(worker, resource.RLIMIT_NOFILE)
            resource.prlimit(worker, resource.RLIMIT_NOFILE, (60, limits[1]))
            idle = [opened.enter_context(server.client()) for _ in range(120)]
            before = cpu_s(worker)
            time.sleep(0.5)
            assert cpu_s(worker) - before < 0.25
            assert first.ask("GET", "/healthz").status == 200
            for client in idle:
                client.socket.close()
            eventually(lambda: _answers(server.port), what="a descriptor")
            resource.prlimit(worker, resource.RLIMIT_NOFILE, limits)


def test_an_unfinished_head_ends_before_an_unfinished_body_does(path):
    options = ["--header-timeout", "0.5", "--request-timeout", "3"]
    with serving(path, options=options) as server, server.client() as head, server.client() as body:
        began = time.monotonic()
        head.send(ONE[:20])
        body.send(ONE[:-5])
        answer = head.answer()
        assert (answer.status, "head" in answer.json["error"]) == (408, True)
        assert time.monotonic() - began < 2.5
        body.send(ONE[-5:])
        assert body.answer().status == 200


def test_unread_short_answer_ends_the_connection(path):
    """Shorter than what makes reading pause, longer than the kernel holds for a client that does not read."""
    with serving(path, options=["--write-timeout", "1"]) as server:
        length = len(server.ask("GET", "/openapi.json").body)
        with Client(server.port, receive_bytes=2048) as client:
            client.send(request("GET", "/openapi.json") * (3_000_000 // length))
            eventually(lambda: server.metrics()["mlrf_open_connections"] == 1, 6, "the end of the connection")
