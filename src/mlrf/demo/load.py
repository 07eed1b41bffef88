"""An open-loop load driver: requests are due at a fixed rate, whatever the server does.

Latency is counted from the moment a request was DUE, not from when a connection was free to send it: a server that
stalls for a second is charged with that second by every request that was due meanwhile, as its callers would charge it.
A driver that waits for answers before it sends on (a closed loop) hides exactly that.

    pacemaker thread ──► requests due ──► idle connections ──► tally of answers, latencies and errors

Nothing is retried: a request whose connection breaks is an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import cast

import msgspec
import uvloop

from mlrf.core.errors import ConfigError
from mlrf.demo.connection import CONNECTION_LOST, Connection, Response
from mlrf.demo.load_report import LoadReport, percentile
from mlrf.demo.pacing import Pacer

__all__ = ["Judge", "LoadReport", "OpenLoop", "Response", "drive", "drive_and_wait", "fault_of"]

MAX_REQUESTS = 2_000_000
MAX_DURATION_S = 3_600.0
MAX_CONNECTIONS = 10_000

_CONNECT_TIMEOUT_S = 5.0
_RECONNECT_PAUSE_S = 0.05
_INTERRUPT_GRAIN_S = 0.2

OnSecond = Callable[[int, int], None]
Judge = Callable[[int, float, Response], str | None]
"""From the number of a request, the seconds since it was due, and the response, to what is wrong with it."""


async def drive(
    host: str,
    port: int,
    path: str,
    bodies: Sequence[bytes],
    *,
    rate: float,
    duration_s: float,
    connections: int,
    drain_s: float = 5.0,
    on_second: OnSecond | None = None,
    judge: Judge | None = None,
) -> LoadReport:
    """POST `bodies` in turn to `path`, `rate` a second for `duration_s`, and wait `drain_s` at most for the last answers.

    `on_second` is called about once a second with the numbers of requests settled and due in all. `judge` decides
    what is an error: by default each status but 200, and a body that is not JSON. Raises ConfigError
    when an option is out of bounds, or when the connections cannot be opened before the clock starts.
    """
    due = _planned(rate, duration_s, connections, bodies, path)
    load = OpenLoop(host, port, _requests(host, port, path, bodies), rate, due, judge or _standard)
    collecting = gc.isenabled()
    # A full collection over the heap of a training process takes tens of milliseconds, all of which would be charged to
    # the server. What the driver allocates is bounded by the number of requests.
    gc.disable()
    try:
        await load.open(connections)
        return await load.run(duration_s + drain_s, on_second)
    finally:
        load.close()
        if collecting:
            gc.enable()


def drive_and_wait(
    host: str,
    port: int,
    path: str,
    bodies: Sequence[bytes],
    *,
    rate: float,
    duration_s: float,
    connections: int,
    drain_s: float = 5.0,
    on_second: OnSecond | None = None,
) -> LoadReport:
    """`drive`, for callers without an event loop; `on_second` is called from another thread.

    The loop runs in a thread of its own, so that Ctrl-C, or a signal handler of the caller's that raises, interrupts the
    waiting: in the loop's own thread it would be raised inside whatever callback runs, and be logged and lost there.
    """
    begun = threading.Event()
    cancel: Callable[[], object] = bool

    async def cancellable() -> LoadReport:
        nonlocal cancel
        loop, task = asyncio.get_running_loop(), cast("asyncio.Task[LoadReport]", asyncio.current_task())
        cancel = functools.partial(loop.call_soon_threadsafe, task.cancel)
        begun.set()
        return await drive(
            host,
            port,
            path,
            bodies,
            rate=rate,
            duration_s=duration_s,
            connections=connections,
            drain_s=drain_s,
            on_second=on_second,
        )

    with ThreadPoolExecutor(1, "load") as thread:
        driving = thread.submit(lambda: uvloop.run(cancellable()))
        try:
            while not driving.done():
                # In short waits: a signal that another thread of the process received does not cut a long one short.
                wait([driving], _INTERRUPT_GRAIN_S)
            return driving.result()
        except BaseException:
            if not driving.done():
                begun.wait()
                with contextlib.suppress(RuntimeError):  # it ended meanwhile, and its loop is closed
                    cancel()
            raise


class OpenLoop:
    """One run: the requests that are due, the connections that are idle, and the tally. To be made in an event loop."""

    def __init__(self, host: str, port: int, requests: list[bytes], rate: float, due: int, judge: Judge) -> None:
        self._host, self._port, self._requests, self._rate, self._due = host, port, requests, rate, due
        self._judge = judge
        self._loop = asyncio.get_running_loop()
        self._open: set[Connection] = set()
        self._idle: deque[Connection] = deque()
        self._reconnecting: set[asyncio.Task[None]] = set()
        self._pacemaker: Pacer | None = None
        self._started_at = math.inf  # nothing is due before the clock starts
        self._finished = asyncio.Event()
        self._over = False
        self._sent = 0  # requests go out in the order in which they are due
        self._settled = 0
        self._ok = 0
        self._latencies_s: list[float] = []
        self._lags_s: list[float] = []
        self.errors: Counter[str] = Counter()
        self._reconnects = 0

    async def open(self, connections: int) -> None:
        """Open the connections; ConfigError when the server does not accept them."""
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                for _ in range(connections):
                    await self._connect()
        except (OSError, TimeoutError) as error:
            reason = str(error) or "timed out"
            raise ConfigError(f"{self._host}:{self._port} does not take {connections} connections: {reason}") from error

    async def run(self, limit_s: float, on_second: OnSecond | None = None) -> LoadReport:
        """Send what is due for `limit_s` at most, and return the report."""
        self._started_at = time.perf_counter()
        self._pacemaker = Pacer(self._loop, self._send_due, started_at=self._started_at, rate=self._rate, due=self._due)
        self._pacemaker.start()
        while (left_s := self._started_at + limit_s - time.perf_counter()) > 0:
            try:
                await asyncio.wait_for(self._finished.wait(), min(1.0, left_s))
                break
            except TimeoutError:
                if on_second:
                    on_second(self._settled, self._due)
        return self._report(time.perf_counter())

    def stop(self) -> None:
        """Send no more requests; `run` returns when those sent are answered."""
        self._due = self._sent
        if self._settled == self._due:
            self._finished.set()

    def close(self) -> None:
        """Close every connection."""
        self._over = True
        if self._pacemaker:
            self._pacemaker.stop()
        for task in self._reconnecting:
            task.cancel()
        for connection in tuple(self._open):
            connection.abort()

    def free(self, connection: Connection) -> None:
        """Give an idle connection the next request."""
        if self._over:
            connection.abort()
            return
        self._open.add(connection)
        self._idle.append(connection)
        self._send_due()

    def answered(self, number: int, due_at: float, response: Response) -> None:
        """Count a response, good or not."""
        elapsed_s = time.perf_counter() - due_at
        self._latencies_s.append(elapsed_s)
        fault = self._judge(number, elapsed_s, response)
        if fault is None:
            self._ok += 1
        else:
            self.errors[fault] += 1
        self._settle()

    def failed(self, due_at: float | None, fault: str) -> None:
        """Count a fault, and the request that it ended."""
        self.errors[fault] += 1
        if due_at is None:
            return
        if fault != CONNECTION_LOST:
            self._latencies_s.append(time.perf_counter() - due_at)
        self._settle()

    def _settle(self) -> None:
        self._settled += 1
        if self._settled == self._due:
            self._finished.set()

    def lost(self, connection: Connection) -> None:
        """Open another connection in place of one that ended."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if not self._over:
            task = self._loop.create_task(self._reconnect())
            self._reconnecting.add(task)
            task.add_done_callback(self._reconnecting.discard)

    def _send_due(self) -> None:
        now = time.perf_counter()
        if now < self._started_at:
            return
        due_by_now = min(self._due, int((now - self._started_at) * self._rate) + 1)
        while self._sent < due_by_now and self._idle:
            connection = self._idle.popleft()
            due_at = self._started_at + self._sent / self._rate
            # A request that waited for a connection waited for the server; only the rest is the driver's own delay.
            self._lags_s.append(now - max(due_at, connection.idle_since))
            request = self._requests[self._sent % len(self._requests)]
            self._sent += 1
            connection.send(request, self._sent - 1, due_at)

    async def _connect(self) -> None:
        await self._loop.create_connection(lambda: Connection(self), self._host, self._port)

    async def _reconnect(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                    await self._connect()
            except (OSError, TimeoutError):
                self.errors["connection refused"] += 1
                await asyncio.sleep(_RECONNECT_PAUSE_S)
            else:
                self._reconnects += 1
                return

    def _report(self, ended_at: float) -> LoadReport:
        waits_s = [ended_at - connection.due_at for connection in self._open if connection.due_at is not None]
        waits_s += [ended_at - (self._started_at + number / self._rate) for number in range(self._sent, self._due)]
        errors = dict(self.errors)
        if waits_s:
            errors["unanswered"] = len(waits_s)
        latencies_ms = sorted(1e3 * seconds for seconds in self._latencies_s + waits_s)
        # The last request is due one beat before the end: a server that answers it at once has not beaten the clock.
        elapsed_s = max(ended_at - self._started_at, self._due / self._rate)
        return LoadReport(
            due=self._due,
            ok=self._ok,
            errors=errors,
            reconnects=self._reconnects,
            requested_rate=self._rate,
            rate_achieved=self._ok / elapsed_s,
            elapsed_s=elapsed_s,
            p50_ms=percentile(latencies_ms, 50),
            p95_ms=percentile(latencies_ms, 95),
            p99_ms=percentile(latencies_ms, 99),
            max_ms=percentile(latencies_ms, 100),
            driver_lag_p99_ms=percentile(sorted(1e3 * seconds for seconds in self._lags_s), 99),
        )


def fault_of(response: Response) -> str | None:
    """Return what is wrong with a response: another status than 200, or a body that is not JSON."""
    if response.status != 200:  # noqa: PLR2004  the one status that a prediction comes with
        return f"status {response.status}"
    try:
        msgspec.json.decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "not JSON"
    return None


def _standard(_number: int, _elapsed_s: float, response: Response) -> str | None:
    return fault_of(response)


def _requests(host: str, port: int, path: str, bodies: Sequence[bytes]) -> list[bytes]:
    head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\nContent-Length: "
    return [b"%s%d\r\n\r\n%s" % (head.encode("ascii"), len(body), body) for body in bodies]


def _planned(rate: float, duration_s: float, connections: int, bodies: Sequence[bytes], path: str) -> int:
    if not 0 < rate < math.inf:
        raise ConfigError(f"rate must be a number of requests a second above 0, not {rate}")
    if not 0 < duration_s <= MAX_DURATION_S:
        raise ConfigError(f"duration_s must be above 0 and at most {MAX_DURATION_S:.0f}, not {duration_s}")
    if not 1 <= connections <= MAX_CONNECTIONS:
        raise ConfigError(f"connections must be from 1 to {MAX_CONNECTIONS}, not {connections}")
    if not bodies:
        raise ConfigError("bodies is empty: a load needs at least one request body")
    if not path.startswith("/") or not path.isascii() or any(character.isspace() for character in path):
        raise ConfigError(f"path must begin with / and hold neither spaces nor anything but ASCII, not {path!r}")
    due = max(1, round(rate * duration_s))
    if due > MAX_REQUESTS:
        raise ConfigError(f"{due} requests are more than one load may send ({MAX_REQUESTS}): lower rate or duration_s")
    return due
