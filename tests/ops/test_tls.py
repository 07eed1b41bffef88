"""TLS and keys while workers come and go."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from bundles import write_tree_bundle
from certificates import TlsClient, make_certificate, n_booted, trusting
from running import Server, eventually, is_pending, serving, stop


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_tree_bundle(tmp_path_factory.mktemp("tls") / "b", name="b")


@pytest.fixture
def folder(tmp_path):
    for name in ("first", "second"):
        make_certificate(tmp_path, name)
    _put(tmp_path, "first")
    return tmp_path


@contextlib.contextmanager
def serving_tls(path, folder, *more):
    options = ["--tls-cert", str(folder / "cert.pem"), "--tls-key", str(folder / "cert.key"), "--log-level", "debug"]
    with serving(path, workers=2, options=[*options, *more], is_ready=lambda server: n_booted(server) == 2) as server:
        yield server


def health(server, folder, name="first"):
    with TlsClient(server.port, trusting(folder, name)) as client:
        return client.ask("GET", "/healthz").status


def events(server, name):
    return [entry for entry in server.log if entry["event"] == name]


def test_workers_are_replaced_while_key_files_are_invalid(path, folder):
    keys = folder / "keys.txt"
    keys.write_text("id " + "0" * 64 + " predict me\n")
    with serving_tls(path, folder, "--keys", str(keys)) as server:
        # Later workers start with the last valid state, not with that of the server's start.
        _put(folder, "second")
        by_arbiter = server.process.pid
        eventually(
            lambda: [e for e in events(server, "certificates reloaded") if e["pid"] == by_arbiter],
            what="the second certificate",
        )
        (folder / "cert.key").unlink()
        keys.write_text("nonsense\n")
        eventually(
            lambda: events(server, "certificates not read") and events(server, "keys not read"), what="complaints"
        )
        for pid in server.workers():
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: n_booted(server) == 4, what="new workers")
        assert {health(server, folder, "second") for _ in range(6)} == {200}
        _put(folder, "first")
        eventually(lambda: _shows(server, folder, "first"), what="the certificate that is sound again")


def _put(folder, name) -> None:
    for kind in ("pem", "key"):
        (folder / f"cert.{kind}").write_bytes((folder / f"{name}.{kind}").read_bytes())


def _shows(server: Server, folder, name) -> bool:
    with contextlib.suppress(OSError, EOFError):
        return health(server, folder, name) == 200
    return False


def test_queued_tls_clients_are_served_at_exit(path, folder):
    with contextlib.ExitStack() as opened, serving_tls(path, folder) as server:
        workers = server.workers()
        for pid in workers:
            stop(pid)
        try:
            for number in range(20):
                other = opened.enter_context(socket.create_connection(("127.0.0.1", server.port)))
                if number % 2:
                    # No handshake at all; the others send nothing.
                    other.sendall(b"GET / HTTP/1.1\r\n\r\n")
            pool = opened.enter_context(ThreadPoolExecutor(8))
            answers = [pool.submit(health, server, folder) for _ in range(8)]
            eventually(lambda: _waiting(server.port) == 28, what="a queue")
            server.process.send_signal(signal.SIGTERM)
            eventually(
                lambda: all(is_pending(pid, signal.SIGTERM) for pid in workers), what="the signal at the workers"
            )
        finally:
            for pid in workers:
                os.kill(pid, signal.SIGCONT)
        assert [answer.result() for answer in answers] == [200] * 8
        assert server.wait() == 0
    assert not [entry for entry in server.log if entry["event"] == "arbiter" and "Exception" in entry["message"]]


def _waiting(port: int) -> int:
    """How many connections to a port are established."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "01" for row in rows)
