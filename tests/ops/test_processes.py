"""Processes that are killed, frozen or cannot start, and the service's reaction, with the bars of the reliability plan."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from bundles import ALL_KINDS, entry_of, write_bundle, write_tree_bundle
from load import BODY, LOST, PREDICTION, closed_load
from mlrf.core.manifest import LinkEntry
from raw_http import request
from running import Server, command, cpu_s, eventually, is_alive, metrics_of, run_to_its_end, serving

pytestmark = pytest.mark.timing  # bars of a second or less


def events(server, name):
    return [entry for entry in server.log if entry["event"] == name]


def test_second_server_on_the_port_exits_with_2(bundle):
    with serving(bundle) as server:
        status, output, took_s = run_to_its_end([bundle], "--port", str(server.port))
        assert status == 2
        assert f"127.0.0.1:{server.port} is in use" in output
        assert "Traceback" not in output
        assert took_s < 5
        status, output, _ = run_to_its_end([bundle], "--port", str(server.port), "--host", "0.0.0.0")
        assert (status, "is in use" in output) == (2, True)
        for _ in range(20):
            assert server.ask("POST", "/predict", BODY).json["prediction"] == PREDICTION


def test_a_port_may_be_used_again_as_soon_as_its_server_ended(bundle):
    with serving(bundle) as server:
        port = server.port
        with server.client() as client:
            assert client.ask("GET", "/healthz").status == 200
            server.process.terminate()
            assert server.wait() == 0
    with serving(bundle, options=["--port", str(port)]) as server:
        assert server.port == port


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


def test_a_worker_that_cannot_boot_never_ends_the_others(bundle):
    with serving(bundle, workers=2) as server:
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


@pytest.mark.parametrize("workers", [1, 3])
def test_service_exits_3_when_no_worker_can_start(tmp_path, workers):
    bad = write_bundle(tmp_path / "bad", model=b"this is not an ONNX model")
    status, output, _ = run_to_its_end([bad], "--port", "0", "--workers", str(workers))
    assert status == 3, output
    assert "worker cannot start" in output
    assert "model.onnx" in output
    assert "Traceback" not in output, output


def test_model_shape_unlike_the_manifest_exits_with_3(tmp_path):
    from bundles import stumps  # noqa: PLC0415

    bad = write_bundle(tmp_path / "bad", model=stumps(3, 1))
    status, output, _ = run_to_its_end([bad], "--port", "0", "--workers", "1")
    assert status == 3, output
    assert "3 features" in output


@pytest.mark.parametrize("file", ["model.onnx", "schema.json", "manifest.json"])
def test_a_flipped_bit_ends_with_3_and_the_files_name(bundle, file):
    content = bytearray((bundle / file).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / file).write_bytes(content)
    status, output, _ = run_to_its_end([bundle], "--port", "0")
    assert status == 3, output
    assert file in output or file == "manifest.json"
    assert "Traceback" not in output


def test_wrong_arguments_end_with_2_and_a_sentence(bundle, tmp_path):
    twin = write_bundle(tmp_path / "twin", name="twin")
    for bundles, options, word in [
        ([], [], "BUNDLE"),
        ([bundle], ["--workers", "0"], "--workers"),
        ([bundle], ["--default", "nobody"], "--default"),
        ([bundle, bundle], [], "sample"),
        ([bundle, twin], ["--host", "192.0.2.1"], "192.0.2.1"),
    ]:
        status, output, _ = run_to_its_end(bundles, *options)
        assert (status, word in output) == (2, True), output
        assert "Traceback" not in output


def test_a_missing_bundle_ends_with_3_and_says_how_to_make_one(tmp_path):
    status, output, _ = run_to_its_end([tmp_path / "nowhere"])
    assert status == 3
    assert "mlrf build" in output


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


@pytest.mark.parametrize("host", ["localhost", "0.0.0.0", "::1"])
def test_other_addresses_are_listened_on(bundle, host):
    if host == "::1" and not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    with serving_at(host, bundle) as server:
        assert (f"[{host}]" if ":" in host else host.replace("localhost", "127.0.0.1")) in next(
            entry["url"] for entry in server.log if entry["event"] == "listening"
        )


@contextlib.contextmanager
def serving_at(host, bundle):
    """A server on another address than the client's, identified by its log only."""
    with subprocess.Popen(
        command([bundle], "--port", "0", "--host", host, "--workers", "1"), stderr=subprocess.PIPE
    ) as process:
        server = Server(process)
        try:
            server.find_address()
            with socket.create_connection((host, server.port), timeout=5) as client:
                client.sendall(request("GET", "/healthz", headers=["Connection: close"]))
                assert client.recv(100).startswith(b"HTTP/1.1 200")
            yield server
        finally:
            process.terminate()
            server.wait()


def _has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


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


def test_arbiter_and_server_import_no_heavy_libraries(bundle):
    with serving(bundle) as server:
        (worker,) = server.workers()
        arbiter_maps = Path(f"/proc/{server.process.pid}/maps").read_text()
        worker_maps = Path(f"/proc/{worker}/maps").read_text()
        for library in ("numpy", "onnxruntime", "pyarrow", "pandas", "lmdb"):
            assert f"/{library}/" not in arbiter_maps
        assert "/onnxruntime/" in worker_maps
        for library in ("pyarrow", "pandas", "lightgbm", "/onnx/"):
            assert library not in worker_maps
        assert len(list(Path(f"/proc/{server.process.pid}/task").iterdir())) == 1, "a fork with threads is unsafe"


def test_an_idle_server_costs_next_to_nothing(bundle):
    with serving(bundle, workers=2) as server:
        processes = [server.process.pid, *server.booted(2)]
        before = sum(map(cpu_s, processes))
        time.sleep(1.5)
        assert sum(map(cpu_s, processes)) - before < 0.1


def test_read_only_bundle_behind_a_symlink_is_served(tmp_path):
    real = write_bundle(tmp_path / "real", link=LinkEntry("exp"))
    (tmp_path / "current").symlink_to(real)
    for file in real.iterdir():
        file.chmod(0o444)
    real.chmod(0o555)
    try:
        with serving(tmp_path / "current") as server:
            assert server.ask("POST", "/predict", {"features": ALL_KINDS.example()}).status == 200
            assert entry_of(real / "model.onnx").size_bytes > 0
    finally:
        real.chmod(0o755)
