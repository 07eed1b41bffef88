"""Processes that are killed, frozen or cannot start, and the service's reaction, with the bars of the reliability plan."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import signal
import time
from pathlib import Path

import pytest

from load import BODY, LOST, PREDICTION, closed_load
from raw_http import request
from running import cpu_s, eventually, is_alive, metrics_of, serving

pytestmark = pytest.mark.timing  # bars of a second or less


def events(server, name):
    return [entry for entry in server.log if entry["event"] == name]


def test_killed_worker_loses_only_its_requests_in_flight(bundle):
    n = 8
    with serving(bundle, workers=2) as server:
        first = server.booted(2)
        with closed_load(server.port, n) as load:
            eventually(lambda: load.statuses.total() > 200, what="some load")
            os.kill(first[0], signal.SIGKILL)
            killed = time.monotonic()
            eventually(lambda: len(set(server.workers()) - set(first)) == 1, 2, "a replacement")
            replacement_s = time.monotonic() - killed
            eventually(lambda: server.metrics()["mlrf_workers_ready"] == 2, 3, "a ready replacement")
            ready_s = time.monotonic() - killed
            at = load.statuses.total()
            eventually(lambda: load.statuses.total() > at + 200, what="load afterwards")
            report = load.end()
        assert replacement_s < 1
        assert ready_s < 2.5
        assert report.errors.keys() <= LOST
        assert report.error_count <= n, "at most the requests in flight on the killed worker"
        assert server.is_ready()
        assert events(server, "request failed") == []


def test_queued_connections_of_a_killed_worker_are_answered(bundle):
    """The replacement inherits the listener with its queue."""
    with serving(bundle) as server:
        (worker,) = server.workers()
        os.kill(worker, signal.SIGSTOP)
        with contextlib.ExitStack() as opened:
            waiting = [opened.enter_context(server.client()) for _ in range(40)]
            for client in waiting:
                client.send(request("POST", "/predict", BODY))
            os.kill(worker, signal.SIGKILL)
            answers = [client.answer().json["prediction"] for client in waiting]
        assert answers == [PREDICTION] * 40


def test_ten_crashes_do_not_end_the_service_and_back_off(bundle):
    with serving(bundle, workers=2) as server:
        steady, victim = server.booted(2)
        delays = []
        for _ in range(4):
            os.kill(victim, signal.SIGKILL)
            eventually(lambda n=len(delays): len(events(server, "worker ended")) > n, 5, "the end of a worker")
            delays.append(events(server, "worker ended")[-1]["delay_s"])
            victim = eventually(lambda: next((p for p in server.workers() if p != steady), None), 6, "a replacement")
        assert delays == [0, 0.5, 1, 2]
        assert server.process.poll() is None
        assert steady in server.workers()


def test_dead_worker_is_neither_ready_nor_has_connections(bundle):
    with serving(bundle, workers=2) as server, contextlib.ExitStack() as opened:
        steady, victim = server.booted(2)
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: len(events(server, "worker ended")) == 1, 5, "the end of a worker")
        server.booted(2)
        victim = next(pid for pid in server.workers() if pid != steady)
        clients = [opened.enter_context(server.client()) for _ in range(24)]
        for client in clients:
            client.ask("GET", "/healthz")
        # The second death in a short time is not replaced at once: meanwhile one worker is ready.
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: len(events(server, "worker ended")) == 2, 5, "the end of another")
        survivors = [client for client in clients if _lives(client)]
        found = metrics_of(survivors[0].ask("GET", "/metrics"))
        assert found["mlrf_workers_ready"] == 1
        assert found["mlrf_open_connections"] == len(survivors) < len(clients)


def _lives(client) -> bool:
    with contextlib.suppress(OSError, EOFError):
        return client.ask("GET", "/healthz").status == 200
    return False


def test_a_worker_that_cannot_boot_never_ends_the_others(onnx_bundle):
    with serving(onnx_bundle, workers=2) as server:
        steady, victim = server.booted(2)
        arbiter = server.process.pid
        free = resource.prlimit(arbiter, resource.RLIMIT_AS)
        # Memory for the arbiter and a fork of it, but not for an engine.
        resource.prlimit(arbiter, resource.RLIMIT_AS, (_virtual_bytes(arbiter) + (24 << 20), free[1]))
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: len(events(server, "worker cannot start")) >= 3, 10, "several attempts")
        assert server.process.poll() is None
        assert server.workers()[0] == steady
        assert events(server, "worker cannot start")[0]["reason"]
        assert any(_answers(server) for _ in range(20))
        resource.prlimit(arbiter, resource.RLIMIT_AS, free)
        server.booted(2)


def _virtual_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


def _answers(server) -> bool:
    """Whether a connection reaches the live worker; others wait in the queue of the stopped one."""
    with contextlib.suppress(TimeoutError), server.client() as client:
        client.socket.settimeout(0.3)
        return client.ask("GET", "/healthz").status == 200
    return False


def test_stopped_worker_is_replaced_without_loss(bundle):
    with serving(bundle, workers=2) as server:
        first = server.booted(2)
        with closed_load(server.port, 20) as load:
            eventually(lambda: load.statuses.total() > 200, what="some load")
            os.kill(first[0], signal.SIGTERM)
            eventually(lambda: not is_alive(first[0]), 6, "the end of the worker")
            server.booted(2)
            at = load.statuses.total()
            eventually(lambda: load.statuses.total() > at + 200, what="load afterwards")
            report = load.end()
        assert report.errors == {}


def test_running_out_of_descriptors_does_not_stop_accepting(bundle):
    with serving(bundle) as server:
        (worker,) = server.booted(1)
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (40, 40))
        with contextlib.ExitStack() as opened:
            for _ in range(80):
                opened.enter_context(server.client())
            assert server.process.poll() is None
        # Until the worker has released the connections just closed, it resets new ones.
        eventually(server.is_ready, 5, "an answer")
        assert server.ask("POST", "/predict", BODY).json["prediction"] == PREDICTION
        assert server.workers() == [worker]


def test_a_frozen_worker_is_replaced(bundle):
    timeout_s = 2
    with serving(bundle, workers=2, options=["--worker-timeout", str(timeout_s)]) as server:
        first = server.booted(2)
        os.kill(first[0], signal.SIGSTOP)
        frozen = time.monotonic()
        eventually(
            lambda: first[0] not in server.workers() and len(server.workers()) == 2, timeout_s + 2, "a replacement"
        )
        assert time.monotonic() - frozen < timeout_s + 2
        eventually(lambda: not is_alive(first[0]), 2, "the end of the frozen worker")
        eventually(server.is_ready, 3, "an answer")


def test_connections_spread_over_the_workers(bundle):
    with serving(bundle, workers=2) as server:
        workers = server.booted(2)
        with contextlib.ExitStack() as opened:
            clients = [opened.enter_context(server.client()) for _ in range(64)]
            for client in clients:
                assert client.ask("GET", "/healthz").status == 200
            counts = [_connections_of(worker, server.port) for worker in workers]
        assert sum(counts) == 64
        assert min(counts) >= 0.2 * 64, counts


def _connections_of(pid: int, port: int) -> int:
    """How many established connections to a port a process holds."""
    sockets = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(f":{port:04X}") and fields[3] == "01":
            sockets.add(f"socket:[{fields[9]}]")
    count = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            count += str(descriptor.readlink()) in sockets
    return count


def test_totals_never_fall_and_add_up_across_a_replacement(bundle):
    totals = (
        "mlrf_requests_total",
        "mlrf_instances_total",
        "mlrf_connections_total",
        "mlrf_worker_starts_total",
        "mlrf_request_duration",
    )
    with serving(bundle, workers=2) as server:
        first = server.booted(2)
        seen = [server.metrics()]
        with closed_load(server.port, 4) as load:
            eventually(lambda: load.statuses.total() > 100, what="some load")
            os.kill(first[1], signal.SIGKILL)

            def is_replaced():
                seen.append(server.metrics())
                return seen[-1]["mlrf_worker_starts_total"] == 3 and seen[-1]["mlrf_workers_ready"] == 2

            eventually(is_replaced, 5, "a replacement")
            report = load.end()
        last = server.metrics()
        assert (last["mlrf_workers"], last["mlrf_worker_failures_total"]) == (2, 1)
        seen.append(last)
        for before, after in itertools.pairwise(seen):
            fallen = {name for name in before if name.startswith(totals) and after.get(name, 0) < before[name]}
            assert not fallen
        answered = last["mlrf_requests_total;route=/predict;status=200"]
        # A request whose answer was written when its worker was killed may have been counted and not read, or the reverse.
        assert abs(answered - report.ok) <= report.error_count
        # The rest came from the cache of answers.
        assert 0 < last["mlrf_instances_total"] <= answered
        assert last["mlrf_request_duration_seconds_count;route=/predict"] == answered


def test_counts_of_a_load_are_exact(bundle):
    with serving(bundle, workers=2) as server:
        server.booted(2)
        with closed_load(server.port, 8, pause_s=0) as load:
            eventually(lambda: load.statuses.total() > 1000, what="some load")
            report = load.end()
        found = server.metrics()
        assert found["mlrf_requests_total;route=/predict;status=200"] == report.ok
        assert found["mlrf_request_duration_seconds_bucket;le=+Inf;route=/predict"] == report.ok
        assert 0 < found["mlrf_request_duration_seconds_sum;route=/predict"] < 60
        eventually(lambda: server.metrics()["mlrf_open_connections"] == 1, 5, "no connection but this one")


def test_random_paths_make_no_new_series(bundle):
    with serving(bundle) as server:
        server.ask("GET", "/warm-up")
        before = set(server.metrics())
        with server.client() as client:
            for i in range(300):
                client.ask("GET", f"/models/{i}/{i}/predict?{i}")
        assert {name for name in set(server.metrics()) - before if "/metrics" not in name} == set()


def test_an_idle_server_costs_next_to_nothing(bundle):
    with serving(bundle, workers=2) as server:
        processes = [server.process.pid, *server.booted(2)]
        before = sum(map(cpu_s, processes))
        time.sleep(1.5)
        assert sum(map(cpu_s, processes)) - before < 0.1
