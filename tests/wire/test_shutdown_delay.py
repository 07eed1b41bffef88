"""`--shutdown-delay`: after SIGTERM a server refuses readiness probes, and goes on answering all other requests for a while."""

from __future__ import annotations

import os
import signal
import time

import pytest

from bundles import write_stump_bundle
from grpc_peer import LIMIT_S, Peer, address_of
from load import BODY, PREDICTION
from running import eventually, serving

LONG = "600"
"""Seconds of a delay that a test does not wait for."""
CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_stump_bundle(tmp_path_factory.mktemp("delay") / "bundle")


def terminated(server):
    """Send SIGTERM, and wait until the server is not ready."""
    server.process.terminate()
    eventually(lambda: server.ask("GET", "/readyz").status == 503, what="a server that is not ready")


def shutdowns(server):
    return [entry["delay_s"] for entry in server.log if entry["event"] == "shutting down"]


def test_requests_are_answered_while_no_readiness_probe_is(path):
    with serving(path, workers=2, options=["--shutdown-delay", LONG]) as server:
        server.booted(2)
        assert server.metrics()["mlrf_shutting_down"] == 0
        with server.client() as kept:
            kept.ask("GET", "/healthz")
            terminated(server)
            assert kept.ask("POST", "/predict", BODY).json["prediction"] == PREDICTION
            assert kept.ask("GET", "/healthz").status == 200
        for probe in ("/readyz", "/v2/health/ready", "/ping"):
            eventually(
                lambda p=probe: all(server.ask("GET", p).status == 503 for _ in range(8)), what=f"503 of {probe}"
            )
        eventually(lambda: server.metrics()["mlrf_shutting_down"] == 1, what="the metric")
        assert server.ask("POST", "/predict", BODY).json["prediction"] == PREDICTION, "new connections are accepted"
        assert server.metrics()["mlrf_workers_ready"] == 2
        assert shutdowns(server) == [600]
        server.process.terminate()
        assert server.wait() == 0, "a second SIGTERM ends the delay"
        assert shutdowns(server) == [600, 0]


def test_grpc_health_is_not_serving_while_calls_are_answered(path):
    with (
        serving(path, options=["--shutdown-delay", LONG, "--grpc-port", "0"]) as server,
        Peer(address_of(server)) as peer,
    ):
        watching = peer.channel.unary_stream(WATCH)(b"", timeout=LIMIT_S)
        assert next(watching) == SERVING
        server.process.terminate()
        assert next(watching) == NOT_SERVING
        assert peer.ask(CHECK) == NOT_SERVING
        late = peer.channel.unary_stream(WATCH)(b"", timeout=LIMIT_S)
        assert next(late) == NOT_SERVING
        assert peer.ask("ServerLive") == SERVING  # `live` is the same field with the same value
        assert peer.ask("ServerReady") == b""
        server.process.terminate()
        assert list(watching) == list(late) == [], "calls end when the server does"
        assert server.wait() == 0


def test_the_delay_ends_by_itself(path):
    with serving(path, options=["--shutdown-delay", "1"]) as server:
        began = time.monotonic()
        terminated(server)
        assert server.wait() == 0
        assert time.monotonic() - began >= 1


def test_worker_started_in_shutdown_delay_answers_unready(path):
    with serving(path, options=["--shutdown-delay", LONG]) as server:
        (first,) = server.workers()
        terminated(server)
        os.kill(first, signal.SIGKILL)
        eventually(lambda: server.workers() not in ([first], []), what="a replacement")
        assert server.ask("GET", "/readyz").status == 503
        assert server.ask("POST", "/predict", BODY).json["prediction"] == PREDICTION
        server.process.terminate()
        assert server.wait() == 0


def test_delay_holds_as_soon_as_a_worker_is_ready(path):
    """A worker may be ready before the arbiter has read its message, as here, where the arbiter is stopped meanwhile."""

    def is_ready(server):
        if server.workers():
            server.process.send_signal(signal.SIGSTOP)
        return server.is_ready()

    with serving(path, options=["--shutdown-delay", LONG], is_ready=is_ready) as server:
        server.process.terminate()
        server.process.send_signal(signal.SIGCONT)
        eventually(lambda: shutdowns(server), what="the shutdown")
        assert shutdowns(server) == [float(LONG)]
        server.process.terminate()
        assert server.wait() == 0


def test_without_a_delay_a_server_stops_at_once(path):
    with serving(path) as server:
        server.process.terminate()
        assert server.wait() == 0
        assert shutdowns(server) == [0]


def test_sigint_during_the_delay_ends_the_server_at_once(path):
    with serving(path, options=["--shutdown-delay", LONG]) as server:
        terminated(server)
        server.process.send_signal(signal.SIGINT)
        assert server.wait() == 0
