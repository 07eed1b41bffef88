"""Row 30: thousands of TLS handshakes that never end, connections beyond the limit, and /healthz on a new connection."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bundles import write_bundle
from certificates import make_certificate, n_booted
from rows.row_05_overload import HealthProbe
from running import Server, serving
from scoreboard import Bar, Finding, Row

_MAX_FILES = 16384
_FLOOD = """
import resource, socket, sys
limits = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
port, n, first = int(sys.argv[1]), int(sys.argv[2]), bytes.fromhex(sys.argv[3])
opened = []
for _ in range(n):
    try:
        opened.append(socket.create_connection(("127.0.0.1", port), 5))
        opened[-1].send(first)
    except OSError:
        pass
print("open", flush=True)
sys.stdin.read()
"""
_UNFINISHED = "160301020001"
"""The first bytes of a handshake."""
_ONE_A_TURN = """
from mlrf.serving.processes import accept
from mlrf.serving.http.connection import Connection
accept.ACCEPTS_A_TURN = 1
Connection.connection_made_as_it_was = Connection.connection_made
def connection_made(self, transport):
    self.connection_made_as_it_was(transport)
    if self._is_over_limit:
        self.refuse_connection()
Connection.connection_made = connection_made
"""
"""A connection beyond the limit is refused before its request is read."""


@dataclass(frozen=True)
class Scale:
    """The number of handshakes, of allowed and of opened connections, and the longest wait of a new one."""

    handshakes: int
    allowed: int
    come: int
    max_ms: float


_FULL = Scale(4000, 200, 2000, 250)
_BRIEF = Scale(200, 20, 200, 5000)


@contextlib.contextmanager
def _flood(port: int, n: int, first: str) -> Iterator[None]:
    """Open connections one after the other and keep them; continue in the background."""
    command = [sys.executable, "-c", _FLOOD, str(port), str(n), first]
    flood = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield
        assert flood.stdout is not None
        assert flood.stdout.readline() == "open\n"
        time.sleep(1.0)
    finally:
        flood.communicate()


def _health_ms(server: Server, n: int, first: str, *options: str) -> float:
    with _flood(server.port, n, first):
        health = HealthProbe(server, "--new", *options)
    return health.seconds()[-1] * 1e3


def _is_ready(server: Server) -> bool:
    return n_booted(server) == 2


def _found(scale: Scale, broken_by: str = "") -> Finding:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (_MAX_FILES if hard == resource.RLIM_INFINITY else min(_MAX_FILES, hard), hard)
    )
    with tempfile.TemporaryDirectory() as folder:
        path = write_bundle(Path(folder) / "b")
        cert, key = make_certificate(Path(folder), "one")
        tls = ["--tls-cert", str(cert), "--tls-key", str(key), "--log-level", "debug"]
        with serving(path, workers=2, options=tls, is_ready=_is_ready, broken_by=broken_by) as server:
            handshakes_ms = _health_ms(server, scale.handshakes, _UNFINISHED, "--tls")
        limit = ["--max-connections", str(scale.allowed)]
        with serving(path, workers=2, options=limit, broken_by=broken_by) as server:
            server.booted(2)
            over_limit_ms = _health_ms(server, scale.come, b"GET /predict HTTP/1.1\r\n".hex())
    return Finding.of(
        Bar("unfinished handshakes: /healthz on a new connection, max ms", handshakes_ms, scale.max_ms),
        Bar("beyond --max-connections: max ms", over_limit_ms, scale.max_ms),
    )


def measure(planted: bool) -> Finding:
    """Request /healthz during both floods; with the fault, one connection per iteration is accepted, and those beyond the limit are refused."""
    return _found(_FULL, _ONE_A_TURN if planted else "")


def brief(planted: bool) -> Finding:
    """Do the same with fewer, on a machine that may be busy."""
    return _found(_BRIEF, _ONE_A_TURN if planted else "")


ROW = Row(
    30,
    "4,000 handshakes that never end; 10 times --max-connections",
    "/healthz on a new connection < 250 ms",
    "connections beyond the limit are refused before their request is read",
    measure,
    brief,
)
