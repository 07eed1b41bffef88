"""Ways to stop a server: signals, draining, and the death of its first process."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from bundles import write_tree_bundle
from load import BODY, PREDICTION, closed_load
from raw_http import request
from running import eventually, is_alive, serving

pytestmark = pytest.mark.timing  # bars of a second or less


def events(server, name):
    return [entry for entry in server.log if entry["event"] == name]


def test_sigterm_under_load_loses_nothing_that_was_accepted(bundle):
    with serving(bundle, workers=2) as server:
        server.booted(2)
        with closed_load(server.port, 50, pause_s=0.02) as load:
            eventually(lambda: load.statuses.total() > 500, what="some load")
            server.process.terminate()
            began = time.monotonic()
            assert server.wait() == 0
            took_s = time.monotonic() - began
            report = load.end()
        # After the end of the server, new connections are refused.
        assert report.errors.keys() <= {"connection refused"}
        assert took_s < 10
        assert server.troubles == []


def test_sigterm_answers_queued_connections(bundle):
    with serving(bundle, workers=2) as server:
        workers = server.booted(2)
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        with contextlib.ExitStack() as opened:
            waiting = [opened.enter_context(server.client()) for _ in range(40)]
            for client in waiting:
                client.send(request("POST", "/predict", BODY))
            server.process.terminate()
            for worker in workers:
                os.kill(worker, signal.SIGCONT)
            answers = [client.answer() for client in waiting]
        assert {a.status for a in answers} == {200}
        assert server.wait() == 0


def test_worker_hanging_at_exit_is_killed_and_logged(bundle):
    with serving(bundle, workers=2, options=["--drain-timeout", "0"]) as server:
        frozen, _ = server.booted(2)
        os.kill(frozen, signal.SIGSTOP)
        server.process.terminate()
        assert server.wait() == 0
        assert not is_alive(frozen)
        logged = [(each["event"], each["worker_pid"], each["at_exit"]) for each in server.troubles]
        assert logged == [("worker not responding", frozen, True)]


def test_draining_worker_notifies_clients_and_finishes(bundle):
    with serving(bundle) as server, server.client() as busy, server.client() as idle:
        idle.ask("GET", "/healthz")
        whole = request("POST", "/predict", BODY)
        busy.send(whole[:-5])
        # The answer to a further request shows that the worker has read the earlier ones.
        idle.ask("GET", "/healthz")
        server.process.terminate()
        eventually(lambda: not _accepts(server.port), 5, "the end of accepting")
        answer = idle.ask("GET", "/readyz")
        assert (answer.status, answer.headers["connection"]) == (503, "close")
        assert answer.headers["retry-after"] == "1"
        busy.send(whole[-5:])
        answer = busy.answer()
        assert (answer.json["prediction"], answer.headers["connection"]) == (PREDICTION, "close")
        assert server.wait() == 0


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_sigterm_while_workers_start_is_obeyed(bundle):
    """A worker that is forked while the signal is pending must not miss it."""
    for delay_s in (0.0, 0.01, 0.03, 0.1):
        with serving(bundle, workers=2) as server:
            for worker in server.booted(2):
                os.kill(worker, signal.SIGKILL)
            eventually(lambda n=len(server.log): len(events(server, "worker ended")) == 2, 5, "the end of both")
            time.sleep(delay_s)
            server.process.terminate()
            began = time.monotonic()
            assert server.wait() == 0
            assert time.monotonic() - began < 4


def test_endless_request_does_not_delay_exit_past_the_limit(bundle):
    with serving(bundle, options=["--drain-timeout", "1"]) as server, server.client() as client:
        client.send(b"POST /predict HTTP/1.1\r\n")
        server.is_ready()
        server.process.terminate()
        began = time.monotonic()
        assert server.wait() == 0
        assert time.monotonic() - began < 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_other_ways_to_stop_end_at_once_with_0(bundle, number):
    with serving(bundle, workers=2) as server, server.client() as client:
        client.ask("GET", "/healthz")
        server.process.send_signal(number)
        began = time.monotonic()
        assert server.wait() == 0
        assert time.monotonic() - began < 3


def test_signals_that_would_change_the_workers_are_ignored(bundle):
    with serving(bundle) as server:
        before = server.workers()
        for number in (signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR2, signal.SIGUSR1, signal.SIGWINCH):
            server.process.send_signal(number)
        eventually(lambda: len(events(server, "signal ignored")) >= 4, 5, "the log of ignored signals")
        assert server.is_ready()
        assert server.workers() == before


def test_workers_end_by_themselves_when_the_arbiter_is_killed(bundle):
    with serving(bundle, workers=2) as server:
        workers = server.booted(2)
        server.process.kill()
        eventually(lambda: not any(map(is_alive, workers)), 8, "the end of the workers")
        assert not _accepts(server.port)


def test_nothing_temporary_is_left_when_the_arbiter_is_killed(tmp_path, monkeypatch):
    path = write_tree_bundle(tmp_path / "b", key={"id": "integer"})
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    memory = Path("/dev/shm")  # noqa: S108
    shared = set(memory.iterdir())
    options = ["--grpc-port", "0", "--state-dir", str(tmp_path / "state")]
    with serving(path, workers=2, options=options) as server:
        workers = server.booted(2)
        server.process.kill()
        eventually(lambda: not any(map(is_alive, workers)), 8, "the end of the workers")
        assert list(temporary.iterdir()) == []
        left = set(memory.iterdir()) - shared
        assert [path for path in left if "mlrf" in path.name or "gunicorn" in path.name] == []
