"""An open-loop load driver: requests are due at a fixed rate, independently of the server.

Latency is counted from the moment a request was DUE, not from when a connection was free to send it: a server that
stalls for a second adds that second to every request that was due meanwhile, as its callers would experience it.
A driver that waits for answers before it sends the next request (a closed loop) hides exactly that.

    pacemaker thread ──► requests due ──► idle connections ──► counts of answers, latencies and errors

Nothing is retried: a request whose connection breaks is an error.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import Callable

import msgspec

from mlrf.core.errors import ConfigError
from mlrf.demo.load_connection import CONNECTION_LOST, Connection, Response
from mlrf.demo.load_report import LoadReport, percentile
from mlrf.demo.pacing import Pacer

_CONNECT_TIMEOUT_S = 5.0
_RECONNECT_PAUSE_S = 0.05
OnSecond = Callable[[int, int], None]
Judge = Callable[[int, float, Response], str | None]
"""Returns the error of a response from the request's number, the seconds since it was due, and the response."""


class OpenLoop:
    """One run: the requests that are due, the idle connections, and the counts. Create it in an event loop."""

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
            raise ConfigError(
                f"{self._host}:{self._port} does not accept {connections} connections: {reason}"
            ) from error

    async def run(self, limit_s: float, on_second: OnSecond | None = None) -> LoadReport:
        """Send what is due for at most `limit_s`, and return the report."""
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
        """Send the next request on an idle connection."""
        if self._over:
            connection.abort()
            return
        self._open.add(connection)
        self._idle.append(connection)
        self._send_due()

    def answered(self, number: int, due_at: float, response: Response) -> None:
        """Count a response, successful or not."""
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
        """Replace a connection that ended."""
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
        # The last request is due one interval before the end, so the achieved rate must not count a shorter time.
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
    """Return the error of a response: a status other than 200, or a body that is not JSON."""
    if response.status != 200:  # noqa: PLR2004  the one status that a prediction comes with
        return f"status {response.status}"
    try:
        msgspec.json.decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "not JSON"
    return None


def standard_judge(_number: int, _elapsed_s: float, response: Response) -> str | None:
    """Judge a response by itself, as `fault_of` does."""
    return fault_of(response)
