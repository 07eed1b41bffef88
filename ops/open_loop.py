"""An open-loop load, which sends requests when they are due, and a closed-loop load to compare it with."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import re
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import uvloop

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_DEPTH = 256
_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)\r\n")


@dataclass
class LoadResult:
    """The result of a load: latencies in seconds by status, counted from when each request was due."""

    by_status: dict[int, list[float]] = field(default_factory=dict)
    n_sent: int = 0
    n_lost: int = 0
    """Requests on connections that ended without an answer."""
    n_unsent: int = 0
    """Requests that were due while every connection waited for an answer."""
    without_retry_after: int = 0
    seconds: float = 0.0
    """From the first request to the last answer."""
    left_s: float = 0.0
    """Processor time that the load left to the server: both share the machine."""

    def n(self, status: int) -> int:
        return len(self.by_status.get(status, ()))

    def p99_s(self, status: int = 200) -> float:
        waits = sorted(self.by_status[status])
        return waits[int(len(waits) * 0.99)]

    def per_s(self, status: int = 200) -> float:
        return self.n(status) / self.seconds

    def per_left_s(self, status: int = 200) -> float:
        """Answers per second of the processor time that the load left to the server."""
        return self.n(status) / self.left_s


@dataclass
class Flooded:
    """The result of a flood: answers by status."""

    by_status: Counter[int] = field(default_factory=Counter)
    n_sent: int = 0
    n_lost: int = 0
    n_unsent: int = 0
    """Requests that were due while their connection had the greatest number in flight."""
    without_retry_after: int = 0
    seconds: float = 0.0
    left_s: float = 0.0
    """As of `LoadResult`."""

    def per_left_s(self, status: int = 200) -> float:
        return self.by_status[status] / self.left_s


class _Client(asyncio.Protocol):
    def __init__(self, load_result: LoadResult, free: list[_Client], opened: list[_Client], again) -> None:
        self.load_result, self.free, self.again = load_result, free, again
        opened.append(self)
        self.ended = asyncio.get_running_loop().create_future()
        self.due_s: list[float] = []
        self.buffer = b""
        self.refused = False

    def connection_made(self, transport):
        self.transport = transport
        self.free.append(self)

    def ask(self, contents: Sequence[bytes], due_s: float) -> None:
        self.due_s.append(due_s)
        self.transport.write(contents[self.load_result.n_sent % len(contents)])
        self.load_result.n_sent += 1

    def data_received(self, data):
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[: end + 2]
            stop = end + 4 + int(_LENGTH.search(head)[1])
            if len(self.buffer) < stop:
                return
            self.buffer = self.buffer[stop:]
            status = int(head[9:12])
            self.load_result.by_status.setdefault(status, []).append(time.perf_counter() - self.due_s.pop(0))
            if status == 503 and b"\r\nRetry-After: " not in head:
                self.load_result.without_retry_after += 1
            self.refused = status == 503
            self.again(self)

    def connection_lost(self, _fault):
        self.load_result.n_lost += len(self.due_s)
        self.due_s.clear()
        if self in self.free:
            self.free.remove(self)
        self.ended.set_result(None)


def closed_loop(port: int, contents: Sequence[bytes], n_connections: int, seconds: float) -> LoadResult:
    """Send the next of `contents` on each connection as soon as the previous one is answered."""
    return _run(_closed, port, contents, n_connections, seconds)


def open_loop(port: int, contents: Sequence[bytes], rate: float, seconds: float, n_connections: int) -> LoadResult:
    """Send requests at a rate (per second), each on a connection with no request in flight."""
    return _run(_open, port, contents, rate, seconds, n_connections)


def flood(port: int, content: bytes, rate: float, seconds: float, n_connections: int) -> Flooded:
    """Send requests at a rate without waiting for answers, on connections with many requests in flight."""
    return _run(_flood, port, content, rate, seconds, n_connections)


def _run(load, *arguments) -> LoadResult:
    """Run a load in a separate process, so that other measurements of this one do not wait for it."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as apart:
        return apart.submit(_run_here, load, *arguments).result()


def _run_here(load, *arguments):
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        load_result = runner.run(load(*arguments))
        elapsed_s, spent_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    # The share that was left, over the time in which requests were sent and answered.
    load_result.left_s = load_result.seconds * (len(os.sched_getaffinity(0)) - spent_s / elapsed_s)
    return load_result


async def _connected(port, load_result, n, again=None):
    loop, free, opened = asyncio.get_running_loop(), [], []
    for _ in range(n):
        await loop.create_connection(
            lambda: _Client(load_result, free, opened, again or free.append), "127.0.0.1", port
        )
    return free, opened


async def _settle(load_result, opened, began_s):
    """Wait for the remaining answers, and close."""
    until = time.perf_counter() + 15.0
    while time.perf_counter() < until and any(asker.due_s for asker in opened):
        await asyncio.sleep(0.01)
    load_result.seconds = time.perf_counter() - began_s
    for asker in opened:
        asker.transport.close()
    await asyncio.wait([asker.ended for asker in opened], timeout=5)
    return load_result


async def _closed(port, contents, n, seconds):
    load_result, going = LoadResult(), True

    def ask(asker):
        if going and not asker.transport.is_closing():
            asker.ask(contents, time.perf_counter())

    def again(asker):
        # A client that was refused tries again a little later.
        asyncio.get_running_loop().call_later(0.02 if asker.refused else 0.0, ask, asker)

    free, opened = await _connected(port, load_result, n, again)
    began_s = time.perf_counter()
    for asker in list(free):
        ask(asker)
    await asyncio.sleep(seconds)
    going = False
    return await _settle(load_result, opened, began_s)


async def _open(port, contents, rate, seconds, n):
    load_result = LoadResult()
    free, opened = await _connected(port, load_result, n)
    began_s = time.perf_counter()
    n_due = 0
    while (elapsed_s := time.perf_counter() - began_s) < seconds:
        while n_due < elapsed_s * rate:
            due_s = began_s + n_due / rate
            n_due += 1
            if free:
                free.pop(0).ask(contents, due_s)
            else:
                load_result.n_unsent += 1
        await asyncio.sleep(0.001)
    return await _settle(load_result, opened, began_s)


class _Pipeline(asyncio.Protocol):
    """A connection with up to `_DEPTH` requests in flight, which counts their answers.

    The depth bounds the data in the buffers: a client without a limit would read for seconds at a time, send
    nothing meanwhile, and rightly be closed as one that sends its requests too slowly.
    """

    def __init__(self, flooded: Flooded) -> None:
        self.flooded = flooded
        self.n_waiting = 0
        self.buffer = b""

    def connection_made(self, transport):
        self.transport = transport

    def ask(self, content: bytes, n: int) -> None:
        n_sent = min(n, _DEPTH - self.n_waiting) if not self.transport.is_closing() else 0
        self.flooded.n_unsent += n - n_sent
        if n_sent:
            self.n_waiting += n_sent
            self.flooded.n_sent += n_sent
            self.transport.write(content * n_sent)

    def data_received(self, data):
        # Complete lines: a status line is in one of these pieces, and the rest is kept for the next read.
        data = self.buffer + data
        end = data.rfind(b"\r\n") + 2
        lines, self.buffer = data[:end], data[end:]
        found = Counter(map(int, _STATUS.findall(lines)))
        self.n_waiting -= found.total()
        self.flooded.by_status.update(found)
        self.flooded.without_retry_after += found[503] - lines.count(b"Retry-After: ")

    def connection_lost(self, _fault):
        self.flooded.n_lost += self.n_waiting
        self.n_waiting = 0


async def _flood(port, content, rate, seconds, n):
    flooded = Flooded()
    loop = asyncio.get_running_loop()
    pipelines = [(await loop.create_connection(lambda: _Pipeline(flooded), "127.0.0.1", port))[1] for _ in range(n)]
    began_s = time.perf_counter()
    n_requested = 0
    while (elapsed_s := time.perf_counter() - began_s) < seconds:
        n_due = int(elapsed_s * rate / n) - n_requested
        n_requested += n_due
        for pipeline in pipelines:
            pipeline.ask(content, n_due)
        await asyncio.sleep(0.001)
    flooded.seconds = time.perf_counter() - began_s
    until = time.perf_counter() + 15.0
    while time.perf_counter() < until and any(pipeline.n_waiting for pipeline in pipelines):
        await asyncio.sleep(0.01)
    for pipeline in pipelines:
        pipeline.transport.close()
    await asyncio.sleep(0.05)
    return flooded
