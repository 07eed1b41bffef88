"""Supervision beyond a single crash: crash loops, recycling, reloaded settings, service managers, running as PID 1."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from bundles import ALL_KINDS, write_bundle
from load import BODY, PREDICTION, closed_load
from mlrf.serving.processes.accept import covered_by
from mlrf.serving.processes.worker_slots import BOOT_TRIES, Slot, boot_failure_status
from running import Server, children_of, command, eventually, free_port, is_alive, serving

pytestmark = pytest.mark.timing  # bars of a second or less


def events(server, name):
    return [entry for entry in server.log if entry["event"] == name]


def test_other_slot_accepts_for_a_crash_looping_one(bundle):
    with serving(bundle, workers=2) as server:
        steady, victim = server.booted(2)
        for number in range(1, 4):
            os.kill(victim, signal.SIGKILL)
            eventually(lambda n=number: len(events(server, "worker ended")) == n, 5, "the end of a worker")
            if number < 3:
                victim = eventually(lambda: next((p for p in server.workers() if p != steady), None), 6, "another")
        # A second without a worker in that slot, which gets half of the connections.
        assert events(server, "worker ended")[-1]["delay_s"] == 1
        began = time.monotonic()
        with contextlib.ExitStack() as opened:
            for _ in range(40):
                client = opened.enter_context(server.client())
                assert client.ask("POST", "/predict", BODY).json["prediction"] == PREDICTION
        assert time.monotonic() - began < 0.9


@pytest.mark.parametrize(
    ("slot", "ready", "covered"),
    [(0, {0, 1}, set()), (0, {0}, {1, 2}), (1, {0}, set()), (0, {0, 2}, set()), (2, {0, 2}, {1}), (1, {1, 2}, {0})],
)
def test_every_orphan_has_one_guardian(slot, ready, covered):
    assert covered_by(slot, ready, 3 if ready | covered != {0, 1} else 2) == covered


def test_workers_are_recycled_in_turn_and_nothing_is_lost(bundle):
    options = ["--max-requests", "400", "--max-requests-jitter", "200"]
    with serving(bundle, workers=2, options=options) as server:
        first = server.booted(2)
        with closed_load(server.port, 8, pause_s=0.002) as load:
            eventually(lambda: not set(first) & set(server.workers()), 30, "the end of the first two workers")
            report = load.end()
        assert report.errors == {}
        assert len(events(server, "worker recycled")) >= 2
        assert events(server, "worker ended") == []


def test_settings_are_read_again_and_no_request_is_lost(bundle, tmp_path):
    file = tmp_path / "mlrf.toml"
    file.write_text("max_batch = 1\nworkers = 2\n")
    many = {"instances": [BODY, BODY]}
    with serving(bundle, workers=2, options=["--config", str(file)]) as server:
        first = server.booted(2)
        assert server.ask("POST", "/predict/batch", many).code == "BATCH_TOO_LARGE"
        file.write_text('max_batch = 2\nbacklog = 7\nlog_level = "debug"\n')
        with closed_load(server.port, 8) as load:
            eventually(lambda: load.statuses.total() > 100, what="some load")
            server.process.send_signal(signal.SIGHUP)
            eventually(lambda: events(server, "settings in force"), 20, "new workers")
            report = load.end()
        assert report.errors == {}
        assert not set(first) & set(server.workers())
        assert events(server, "settings need a restart")[0]["options"] == ["--backlog"]
        assert events(server, "settings read")[0]["options"] == ["--max-batch", "--log-level"]
        assert server.ask("POST", "/predict/batch", many).status == 200
        file.write_text("max_batch = 'many'\n")
        second = server.workers()
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: events(server, "settings not read"), 5, "a refusal")
        assert server.workers() == second
        assert server.ask("POST", "/predict/batch", many).status == 200


def test_lack_of_descriptors_for_a_worker_ends_no_service(bundle):
    with serving(bundle, workers=2) as server:
        victim, steady = server.booted(2)
        arbiter = server.process.pid
        soft, hard = resource.prlimit(arbiter, resource.RLIMIT_NOFILE)
        resource.prlimit(arbiter, resource.RLIMIT_NOFILE, (4, hard))
        os.kill(victim, signal.SIGKILL)
        event = eventually(lambda: events(server, "worker not started"), 5, "word of it")[0]
        assert "Too many open files" in event["reason"]
        for _ in range(4):
            assert server.ask("POST", "/predict", BODY).json["prediction"] == PREDICTION
        assert server.workers() == [steady]
        resource.prlimit(arbiter, resource.RLIMIT_NOFILE, (soft, hard))
        assert steady in server.booted(2)


_HUNG_UP_AT_THE_START = """
import os, signal
from mlrf.serving.processes import run_server
bind = run_server.bind_listeners
def hung_up(*where):
    os.kill(os.getpid(), signal.SIGHUP)
    return bind(*where)
run_server.bind_listeners = hung_up
"""


def test_sighup_during_start_is_handled_afterwards(bundle):
    with serving(bundle, broken_by=_HUNG_UP_AT_THE_START) as server:
        eventually(lambda: events(server, "settings in force"), what="settings read again")
        assert server.ask("POST", "/predict", BODY).status == 200


@contextlib.contextmanager
def managed(bundle, *options, prefix=(), environment=None, descriptors=(), broken_by=""):
    """A server that is not started by `serving`."""
    process = subprocess.Popen(
        [*prefix, *command([bundle], "--workers", "2", *options, broken_by=broken_by)],
        stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=os.environ | (environment or {}), pass_fds=descriptors,
    )  # fmt: skip
    server = Server(process)
    try:
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        server.wait()


def test_service_manager_is_notified_when_a_worker_answers(bundle, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(15)
        with managed(bundle, "--port", "0", environment={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as server:
            first = manager.recv(200)
            server.find_address()
            assert first.startswith(b"READY=1")
            assert server.ask("POST", "/predict", BODY).status == 200
            server.process.send_signal(signal.SIGHUP)
            assert manager.recv(200).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            assert manager.recv(200).startswith(b"READY=1")
            server.process.terminate()
            assert manager.recv(200) == b"STOPPING=1"
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.recv(200)


def test_service_that_never_answers_is_not_reported_ready(tmp_path):
    bad = write_bundle(tmp_path / "bad", model=b"no model")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        with managed(bad, "--port", "0", environment={"NOTIFY_SOCKET": str(tmp_path / "notify")}) as server:
            assert server.wait() == 3
        manager.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                assert manager.recv(200) == b"STOPPING=1"


_HAND_OVER = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ |= {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': '1'}; os.execv(sys.argv[2], sys.argv[2:])"


@pytest.mark.parametrize("listens", [True, False])
def test_a_socket_that_the_service_manager_opened_is_served(bundle, listens):
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as plain:
        handed = listener if listens else plain
        prefix = [sys.executable, "-c", _HAND_OVER, str(handed.fileno())]
        with managed(bundle, prefix=prefix, descriptors=[handed.fileno()]) as server:
            if not listens:
                assert server.wait() == 2
                assert "LISTEN_FDS" in " ".join(server.lines)
                return
            server.find_address()
            assert server.port == listener.getsockname()[1]
            server.booted(2)
            for worker in server.workers():
                os.kill(worker, signal.SIGKILL)
            assert server.ask("POST", "/predict", BODY).json["prediction"] == PREDICTION
            server.process.terminate()
            assert server.wait() == 0
        with socket.create_connection(listener.getsockname(), timeout=5):
            pass  # still open: the manager's next service finds who waits there


def test_public_socket_activation_listener_is_warned_about(bundle):
    with socket.create_server(("0.0.0.0", 0)) as listener:
        prefix = [sys.executable, "-c", _HAND_OVER, str(listener.fileno())]
        with managed(bundle, prefix=prefix, descriptors=[listener.fileno()]) as server:
            server.find_address()
            assert "0.0.0.0" in events(server, "reachable without a key")[0]["reason"]


def test_no_longer_keyed_model_is_a_reported_change(bundle, tmp_path):
    (tmp_path / "keys").write_text("id " + "0" * 64 + " predict me\n")
    file = tmp_path / "mlrf.toml"
    file.write_text(f'host = "0.0.0.0"\nkeys = "{tmp_path / "keys"}"\n')
    with serving(bundle, options=["--config", str(file)]) as server:
        assert not events(server, "reachable without a key")
        file.write_text('host = "0.0.0.0"\n')
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: events(server, "reachable without a key"), what="the warning")


_CRASHING_WORKERS = """
import os, signal
from mlrf.serving.processes import worker
worker.share_one_arena = lambda: os.kill(os.getpid(), signal.SIGSEGV)
"""


def test_workers_killed_before_first_answer_end_the_service(bundle):
    """Exits without a reason, like a crash in native code."""
    with managed(bundle, "--port", "0", broken_by=_CRASHING_WORKERS) as server:
        assert server.wait() == 1
        assert BOOT_TRIES <= len(events(server, "worker ended")) <= 2 * BOOT_TRIES + 2
        assert "no worker could start" in " ".join(server.lines)


def test_a_service_is_hopeless_when_every_slot_is():
    slots = [Slot(listener=None), Slot(listener=None)]
    assert boot_failure_status(slots) == 0
    slots[0].exit_code = 3
    slots[1].failures = BOOT_TRIES - 1
    assert boot_failure_status(slots) == 0
    slots[1].failures = BOOT_TRIES
    assert boot_failure_status(slots) == 3
    slots[0].exit_code, slots[0].failures = 0, BOOT_TRIES
    assert boot_failure_status(slots) == 1


def test_paused_machine_loses_no_worker(bundle):
    with serving(bundle, workers=2, options=["--worker-timeout", "1"]) as server:
        workers = server.booted(2)
        everybody = [*workers, server.process.pid]
        for pid in everybody:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(2.6)
        for pid in reversed(everybody):
            os.kill(pid, signal.SIGCONT)
        eventually(server.is_ready, 5, "an answer")
        time.sleep(0.5)
        assert server.workers() == workers
        assert events(server, "worker not responding") == []


def test_it_serves_where_standard_streams_are_closed(bundle):
    port = free_port()
    closed = "import os, sys; os.closerange(0, 3); os.execv(sys.argv[1], sys.argv[1:])"
    with managed(bundle, "--port", str(port), prefix=[sys.executable, "-c", closed]) as server:
        server.port = port
        eventually(server.is_ready, 10, "an answer")
        assert {os.readlink(f"/proc/{server.process.pid}/fd/{n}") for n in range(3)} == {os.devnull}
        server.process.terminate()
        assert server.wait() == 0


def test_as_the_first_process_it_reaps_obeys_and_ends(bundle, tmp_path):
    unshare = shutil.which("unshare")
    able = (
        unshare
        and subprocess.run([unshare, "--pid", "--fork", "true"], capture_output=True, check=False).returncode == 0
    )
    if not able:
        pytest.skip("no right to make a process namespace")
    with managed(bundle, "--port", "0", prefix=[unshare, "--pid", "--fork", "--kill-child=SIGKILL"]) as server:
        server.find_address()
        (first,) = children_of(server.process.pid)
        eventually(server.is_ready, 10, "an answer")
        # Its parent gone, a process of this namespace is the first one's to reap.
        enter = ["nsenter", "--target", str(first), "--pid"]
        subprocess.run([*enter, "sh", "-c", "sleep 0.2 & exec true"], check=True)
        eventually(lambda: len(children_of(first)) == 2, 5, "no zombie")
        assert server.ask("POST", "/predict", {"features": ALL_KINDS.example()}).status == 200
        os.kill(first, signal.SIGTERM)
        eventually(lambda: not is_alive(first), 8, "the end of the first process")
        assert server.wait() == 0
