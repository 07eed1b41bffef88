"""Row 29: a thousand connections with a burst of a thousand requests each, and /healthz on a new connection."""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import tempfile
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop

from bundles import ALL_KINDS, write_bundle
from raw_http import request
from rows.row_05_overload import HealthProbe
from running import serving
from scoreboard import Bar, Finding, Row

_ASK = request("POST", "/predict", {"features": ALL_KINDS.example()})
_MAX_FILES = 8192
_UNBOUNDED = """
from mlrf.serving.runtime import run_queue
run_queue.TURN_S = 3600.0
run_queue.RunQueue.on_due = lambda self, now_s: None
run_queue.RunQueue.slice_s = lambda self, n: 0.002
"""
"""An event loop without a limit on the length of an iteration."""


@dataclass(frozen=True)
class Scale:
    """The number of connections and of requests on each, and the bars for a new connection."""

    connections: int
    requests: int
    seconds: float
    p99_ms: float
    max_ms: float


_FULL = Scale(1000, 1000, 20.0, 50, 250)
_BRIEF = Scale(200, 100, 2.0, 2000, 5000)


class _Burst(asyncio.Protocol):
    """Sends a burst, reads its answers, and sends the next."""

    def __init__(self, content: bytes, n: int) -> None:
        self.content, self.n_open, self.n = content, 0, n
        self.n_answered = self.n_lost = 0

    def connection_made(self, transport):
        self.transport = transport
        self.send()

    def send(self):
        self.n_open = self.n
        self.transport.write(self.content)

    def data_received(self, data):
        # An answer split within its first bytes is counted late or not at all: the next burst is then sent a little early.
        n = data.count(b"HTTP/1.1 ")
        self.n_answered += n
        self.n_open -= n
        if self.n_open <= 1:
            self.send()

    def connection_lost(self, _fault):
        self.n_lost += 1


async def _burst(port: int, scale: Scale, pipe: Connection) -> None:
    loop = asyncio.get_running_loop()
    content = _ASK * scale.requests
    bursts = [_Burst(content, scale.requests) for _ in range(scale.connections)]
    for each in bursts:
        await loop.create_connection(lambda each=each: each, "127.0.0.1", port)
    pipe.send("going")
    await asyncio.sleep(scale.seconds)
    pipe.send((sum(each.n_answered for each in bursts), sum(each.n_lost for each in bursts)))


def _load(port: int, scale: Scale, pipe: Connection) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit = _MAX_FILES if hard == resource.RLIM_INFINITY else min(_MAX_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_burst(port, scale, pipe))


def _found(scale: Scale, broken_by: str = "") -> Finding:
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        path = write_bundle(Path(folder) / "b")
        with serving(path, workers=2, options=["--cache", "0"], broken_by=broken_by) as server:
            server.booted(2)
            load_result, pipe = context.Pipe(duplex=False)
            load = context.Process(target=_load, args=(server.port, scale, pipe))
            load.start()
            assert load_result.recv() == "going"
            health = HealthProbe(server)
            answered, lost = load_result.recv()
            waits = health.seconds()
            load.join(10)
            load.kill()
    return Finding.of(
        Bar("answered", answered, 1, at_least=True),
        Bar("connections lost", lost, 0),
        Bar("/healthz on a new connection: p99 ms", waits[int(len(waits) * 0.99)] * 1e3, scale.p99_ms),
        Bar("max ms", waits[-1] * 1e3, scale.max_ms),
    )


def measure(planted: bool) -> Finding:
    """Request /healthz on new connections during bursts; with the fault, an iteration of the event loop has no time limit."""
    return _found(_FULL, _UNBOUNDED if planted else "")


def brief(planted: bool) -> Finding:
    """Do the same briefly, on a machine that may be busy."""
    if planted:
        return _found(Scale(300, 300, 3.0, 50, 250), _UNBOUNDED)
    return _found(_BRIEF)


ROW = Row(
    29,
    "1,000 connections with bursts of 1,000 requests",
    "/healthz on a new connection p99 < 50 ms, max < 250 ms",
    "iterations of the event loop have no time limit",
    measure,
    brief,
)
