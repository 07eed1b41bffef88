"""Row 22: a thousand clients that send their heads or bodies a byte at a time, or never read."""

from __future__ import annotations

import contextlib
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bundles import ALL_KINDS, write_bundle
from raw_http import Client, request
from running import Server, eventually, serving
from scoreboard import Bar, Finding, Row

_BODY = {"features": ALL_KINDS.example()}
_DRIP_S, _SHARES = 0.5, 10
"""Each client sends a byte every half second, a tenth of the clients at a time, as slow clients are not synchronised."""
_MOST_FILES = 8192
_BEGINNINGS = {
    "heads": b"POST /predict HTTP/1.1\r\nHost: a",
    "bodies": b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{",
    "readers": request("GET", "/openapi.json") * 400,
}


@dataclass(frozen=True)
class Scale:
    """The number of slow clients, for how long the other clients are measured, and the bars."""

    clients: int
    seconds: float
    options: tuple[str, ...]
    p99: float
    closed_s: float


_FULL = Scale(1000, 5.0, (), 2, 10)
_BRIEF = Scale(
    100, 0.3, ("--header-timeout", "0.5", "--request-timeout", "0.5", "--write-timeout", "0.5"), 1000, 8
)  # fmt: skip
_NO_LIMITS = ("--header-timeout", "60", "--request-timeout", "60", "--write-timeout", "60")


def _drip(slow: Sequence[Client]) -> None:
    for client in slow:
        with contextlib.suppress(OSError):
            client.socket.send(b"x")


def _p99_of_others(server: Server, seconds: float, dripping: Sequence[Client] = ()) -> float:
    waits, until = [], time.monotonic() + seconds
    dripped, n_dripped = time.monotonic(), 0
    with server.client() as one, server.client() as two:
        while time.monotonic() < until:
            for client in (one, two):
                began = time.perf_counter()
                assert client.ask("POST", "/predict", _BODY).status == 200
                waits.append(time.perf_counter() - began)
            if time.monotonic() - dripped > _DRIP_S / _SHARES:
                _drip(dripping[n_dripped % _SHARES :: _SHARES])
                dripped, n_dripped = time.monotonic(), n_dripped + 1
    return sorted(waits)[int(len(waits) * 0.99)]


def _n_answered(server: Server) -> float:
    return server.metrics()["mlrf_requests_total;route=/openapi.json;status=200"]


def _way(path: Path, way: str, scale: Scale) -> list[Bar]:
    with serving(path, workers=2, options=scale.options) as server, contextlib.ExitStack() as opened:
        server.booted(2)
        alone_s = _p99_of_others(server, scale.seconds)
        slow = []
        began = time.monotonic()
        for _ in range(scale.clients):
            client = opened.enter_context(Client(server.port, receive_bytes=2048 if way == "readers" else None))
            client.socket.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.socket.send(_BEGINNINGS[way])
            slow.append(client)
        dripping = () if way == "readers" else slow
        # Measure slow clients, not the many answers that fill their buffers first.
        eventually(lambda: _n_answered(server) == (time.sleep(0.1), _n_answered(server))[1], 20, "full buffers")
        last_s = time.monotonic()
        with_slow_s = _p99_of_others(server, scale.seconds, dripping)
        limit_s = last_s + 2 * scale.closed_s
        while (left := server.metrics()["mlrf_open_connections"]) > 1 and time.monotonic() < limit_s:
            _drip(dripping)
            time.sleep(0.1)
        closed_s = time.monotonic() - last_s
        troubles = len(server.troubles)
    return [
        Bar(f"{way}: others' p99 x", with_slow_s / alone_s, scale.p99),
        Bar("closed after s", closed_s, scale.closed_s),
        Bar("(opening them took s)", last_s - began, 20),
        Bar("left", left - 1, 0),
        Bar("troubles", troubles, 0),
    ]


def _found(scale: Scale) -> Finding:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_MOST_FILES, hard), hard))
    with tempfile.TemporaryDirectory() as folder:
        path = write_bundle(Path(folder) / "b")
        return Finding.of(*(bar for way in _BEGINNINGS for bar in _way(path, way, scale)))


def measure(planted: bool) -> Finding:
    """Run the slow clients; with the fault, the server's limits are a minute."""
    return _found(Scale(100, 1.0, _NO_LIMITS, 2, 10)) if planted else _found(_FULL)


def brief(planted: bool) -> Finding:
    """Do the same with fewer clients."""
    return _found(Scale(20, 0.3, _NO_LIMITS, 1000, 1) if planted else _BRIEF)


ROW = Row(
    22,
    "1,000 slow heads, slow bodies, slow readers",
    "others' p99 < 2x; closed <= 10 s",
    "limits of a minute",
    measure,
    brief,
)
