"""A load that does not wait: requests go out when they are due, whatever became of those before; and one that does, to compare."""

from __future__ import annotations

import asyncio
import multiprocessing
import re
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import uvloop

_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)\r\n")


@dataclass
class Heard:
    """What came of a load: latencies in seconds by status, from when each request was due."""

    by_status: dict[int, list[float]] = field(default_factory=dict)
    n_sent: int = 0
    n_lost: int = 0
    """Requests on connections that ended without an answer."""
    n_unsent: int = 0
    """Requests that were due while every connection waited for an answer."""
    without_retry_after: int = 0
    seconds: float = 0.0
    """How long requests were sent."""
    until_answered_s: float = 0.0

    def n(self, status: int) -> int:
        return len(self.by_status.get(status, ()))

    def p99_s(self, status: int = 200) -> float:
        waits = sorted(self.by_status[status])
        return waits[int(len(waits) * 0.99)]

    def per_s(self, status: int = 200) -> float:
        return self.n(status) / self.seconds


class _Asker(asyncio.Protocol):
    def __init__(self, heard: Heard, free: list[_Asker], opened: list[_Asker], again) -> None:
        self.heard, self.free, self.again = heard, free, again
        opened.append(self)
        self.ended = asyncio.get_running_loop().create_future()
        self.due_s: list[float] = []
        self.held = b""
        self.refused = False

    def connection_made(self, transport):
        self.transport = transport
        self.free.append(self)

    def ask(self, content: bytes, due_s: float) -> None:
        self.due_s.append(due_s)
        self.heard.n_sent += 1
        self.transport.write(content)

    def data_received(self, data):
        self.held += data
        while (end := self.held.find(b"\r\n\r\n")) >= 0:
            head = self.held[: end + 2]
            stop = end + 4 + int(_LENGTH.search(head)[1])
            if len(self.held) < stop:
                return
            self.held = self.held[stop:]
            status = int(head[9:12])
            self.heard.by_status.setdefault(status, []).append(time.perf_counter() - self.due_s.pop(0))
            if status == 503 and b"\r\nRetry-After: " not in head:
                self.heard.without_retry_after += 1
            self.refused = status == 503
            self.again(self)

    def connection_lost(self, _fault):
        self.heard.n_lost += len(self.due_s)
        self.due_s.clear()
        if self in self.free:
            self.free.remove(self)
        self.ended.set_result(None)


def closed_loop(port: int, content: bytes, n_connections: int, seconds: float) -> Heard:
    """Ask on each connection again as soon as it is answered."""
    return _run(_closed, port, content, n_connections, seconds)


def open_loop(port: int, content: bytes, rate: float, seconds: float, n_connections: int) -> Heard:
    """Ask at a rate (a second), each request on a connection that waits for no answer."""
    return _run(_open, port, content, rate, seconds, n_connections)


def flood(port: int, content: bytes, rate: float, seconds: float, n_connections: int) -> Heard:
    """Ask at a rate without waiting for answers on any connection: pipelined, as far as the server takes it."""
    return _run(_flood, port, content, rate, seconds, n_connections)


def _run(load, *arguments) -> Heard:
    """Run a load in a process of its own: what else this one measures must not wait for it."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as apart:
        return apart.submit(_run_here, load, *arguments).result()


def _run_here(load, *arguments):
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(load(*arguments))


async def _connected(port, heard, n, again=None):
    loop, free, opened = asyncio.get_running_loop(), [], []
    for _ in range(n):
        await loop.create_connection(lambda: _Asker(heard, free, opened, again or free.append), "127.0.0.1", port)
    return free, opened


async def _settle(heard, opened, began_s, limit_s=15.0):
    """Wait for what is still to come, and close."""
    heard.seconds = time.perf_counter() - began_s
    until = time.perf_counter() + limit_s
    while time.perf_counter() < until and any(asker.due_s for asker in opened):  # noqa: ASYNC110  many may still answer
        await asyncio.sleep(0.01)
    heard.until_answered_s = time.perf_counter() - began_s
    for asker in opened:
        asker.transport.close()
    await asyncio.wait([asker.ended for asker in opened], timeout=5)
    return heard


async def _closed(port, content, n, seconds):
    heard, going = Heard(), True

    def ask(asker):
        if going and not asker.transport.is_closing():
            asker.ask(content, time.perf_counter())

    def again(asker):
        # Who was refused asks a little later.
        asyncio.get_running_loop().call_later(0.02 if asker.refused else 0.0, ask, asker)

    free, opened = await _connected(port, heard, n, again)
    began_s = time.perf_counter()
    for asker in list(free):
        ask(asker)
    await asyncio.sleep(seconds)
    going = False
    return await _settle(heard, opened, began_s)


async def _open(port, content, rate, seconds, n):
    heard = Heard()
    free, opened = await _connected(port, heard, n)
    began_s = time.perf_counter()
    n_due = 0
    while (elapsed_s := time.perf_counter() - began_s) < seconds:
        while n_due < elapsed_s * rate:
            due_s = began_s + n_due / rate
            n_due += 1
            if free:
                free.pop(0).ask(content, due_s)
            else:
                heard.n_unsent += 1
        await asyncio.sleep(0.001)
    return await _settle(heard, opened, began_s)


async def _flood(port, content, rate, seconds, n):
    heard = Heard()
    _, askers = await _connected(port, heard, n, lambda _asker: None)
    began_s = time.perf_counter()
    n_due = 0
    while (elapsed_s := time.perf_counter() - began_s) < seconds:
        for number, asker in enumerate(askers):
            wanted = int(elapsed_s * rate / n) - n_due // n
            if number == 0:
                n_due += wanted * n
                share = wanted
            if share and asker.transport.get_write_buffer_size() < 1 << 20:
                now_s = time.perf_counter()
                asker.due_s.extend([now_s] * share)
                heard.n_sent += share
                asker.transport.write(content * share)
            else:
                heard.n_unsent += share
        await asyncio.sleep(0.002)
    return await _settle(heard, askers, began_s, 60.0)
