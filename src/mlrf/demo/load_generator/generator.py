"""The load generator: sends the requests of a plan over its connections, and counts the answers.

In an open loop, latency is counted from the moment a request was DUE, not from when a connection was free to send it: a server
that stalls for a second adds that second to every request that was due meanwhile, as its callers would experience it.
A closed loop, which waits for answers before it sends the next request, hides exactly that; it measures capacity.

    pacemaker thread ──► requests due ──► idle connections ──► counts of answers, latencies and errors

Nothing is retried: a request whose connection breaks is an error.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from typing import cast

import msgspec

from mlrf.core.errors import ConfigError
from mlrf.demo.load_generator.http_connection import CONNECTION_LOST, Connection, HttpConnection, Owner, Response
from mlrf.demo.load_generator.load_plan import LoadPlan
from mlrf.demo.load_generator.load_report import LoadReport, percentile
from mlrf.demo.load_generator.pacing import Pacer

CONNECTION_REFUSED = "connection refused"
IDLE_CONNECTION_LOST = "idle connection lost"
UNANSWERED = "unanswered"
_CONNECT_TIMEOUT_S = 5.0
_RECONNECT_PAUSE_S = 0.05
OnSecond = Callable[[int, int], None]
Judge = Callable[[int, float, Response], str | None]
"""Returns the error of a response from the request's number, the seconds since it was due, and the response."""
MakeConnection = Callable[[Owner], asyncio.Protocol]


class LoadGenerator:
    """One run of a plan: the requests that are due, the idle connections, and the counts. Create it in an event loop."""

    def __init__(self, plan: LoadPlan, judge: Judge, make_connection: MakeConnection = HttpConnection) -> None:
        self._plan, self._judge, self._make_connection = plan, judge, make_connection
        self._due = plan.due
        self._loop = asyncio.get_running_loop()
        self._open: set[Connection] = set()
        self._idle: deque[Connection] = deque()
        self._connecting: set[asyncio.Task[None]] = set()
        self._pacemaker: Pacer | None = None
        self._started_at = math.inf  # nothing is due before the clock starts
        self._stopped = asyncio.Event()
        self._finished = asyncio.Event()
        self._over = False
        self._sent = 0  # requests go out in the order in which they are due
        self._settled = 0
        self._ok = 0
        self._latencies_s: list[float] = []
        self._lags_s: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.errors: Counter[str] = Counter()
        self._reconnects = 0

    async def open(self) -> None:
        """Open the plan's connections; ConfigError when the server does not accept them."""
        plan = self._plan
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                for _ in range(plan.connections):
                    await self._connect()
        except (OSError, TimeoutError) as error:
            reason = str(error) or "timed out"
            raise ConfigError(
                f"{plan.host}:{plan.port} does not accept {plan.connections} connections: {reason}"
            ) from error

    async def run(self, duration_s: float, drain_s: float, on_second: OnSecond | None = None) -> LoadReport:
        """Send for `duration_s` or until stopped, wait at most `drain_s` for the last answers, and return the report."""
        self._started_at = time.perf_counter()
        if self._plan.rate is not None:
            self._pacemaker = Pacer(
                self._loop, self._send_due, started_at=self._started_at, rate=self._plan.rate, due=self._due
            )
            self._pacemaker.start()
        self._send_due()
        await self._wait(self._stopped, duration_s, on_second)
        if self._plan.rate is None:
            self.stop()
        await self._wait(self._finished, drain_s, on_second)
        return self._report(time.perf_counter())

    def stop(self) -> None:
        """Send no more requests; `run` returns when those sent are answered."""
        self._due = self._sent
        self._stopped.set()
        if self._settled == self._due:
            self._finished.set()

    def close(self) -> None:
        """Close every connection."""
        self._over = True
        if self._pacemaker:
            self._pacemaker.stop()
        for task in self._connecting:
            task.cancel()
        for connection in tuple(self._open):
            connection.abort()

    def free(self, connection: Connection) -> None:
        """Send the next request on an idle connection, after its pause."""
        is_answered = connection in self._open and not self._plan.connections
        if self._over or is_answered:
            connection.abort()
            return
        self._open.add(connection)
        if not self._plan.connections:
            return
        if pause_s := self._plan.pause_after_s(connection.status):
            self._loop.call_later(pause_s, self._become_idle, connection)
        else:
            self._become_idle(connection)

    def answered(self, number: int, due_at: float, response: Response) -> None:
        """Count a response, successful or not."""
        elapsed_s = time.perf_counter() - due_at
        self._latencies_s.append(elapsed_s)
        self.statuses[response.status] += 1
        fault = self._judge(number, elapsed_s, response)
        if fault is None:
            self._ok += 1
        else:
            self.errors[fault] += 1
        self._settle()

    def failed(self, due_at: float | None, fault: str) -> None:
        """Count a fault, and the request that it ended."""
        if due_at is None:
            self.errors[IDLE_CONNECTION_LOST if fault == CONNECTION_LOST else fault] += 1
            return
        self.errors[fault] += 1
        if fault not in {CONNECTION_LOST, CONNECTION_REFUSED}:
            self._latencies_s.append(time.perf_counter() - due_at)
        self._settle()

    def lost(self, connection: Connection) -> None:
        """Replace a connection that ended."""
        self._open.discard(connection)
        self._idle = deque(each for each in self._idle if each is not connection)
        if not self._over and self._plan.connections:
            self._start(self._reconnect())

    async def _wait(self, event: asyncio.Event, limit_s: float, on_second: OnSecond | None) -> None:
        """Wait until a moment of the load, for at most `limit_s`."""
        until = time.perf_counter() + limit_s
        while (left_s := until - time.perf_counter()) > 0:
            try:
                await asyncio.wait_for(event.wait(), min(1.0, left_s))
                break
            except TimeoutError:
                if on_second:
                    on_second(self._settled, self._due)

    def _settle(self) -> None:
        self._settled += 1
        if self._settled == self._due:
            self._stopped.set()
            self._finished.set()

    def _become_idle(self, connection: Connection) -> None:
        if connection in self._open:  # it may have ended during its pause
            self._idle.append(connection)
            self._send_due()

    def _send_due(self) -> None:
        now = time.perf_counter()
        if now < self._started_at:
            return
        rate, requests = self._plan.rate, self._plan.requests
        due_by_now = self._due if rate is None else min(self._due, int((now - self._started_at) * rate) + 1)
        while self._sent < due_by_now and (self._idle or not self._plan.connections):
            number, request = self._sent, requests[self._sent % len(requests)]
            due_at = now if rate is None else self._started_at + number / rate
            self._sent += 1
            if not self._plan.connections:
                self._start(self._send_on_a_new_one(request, number, due_at))
                continue
            connection = self._idle.popleft()
            # A request that waited for a connection waited for the server; only the rest is the driver's own delay.
            self._lags_s.append(now - max(due_at, connection.idle_since))
            connection.send(request, number, due_at)

    def _start(self, connecting: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(connecting)
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self) -> Connection:
        plan = self._plan
        _, made = await self._loop.create_connection(lambda: self._make_connection(self), plan.host, plan.port)
        return cast("Connection", made)

    async def _send_on_a_new_one(self, request: bytes, number: int, due_at: float) -> None:
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                connection = await self._connect()
        except (OSError, TimeoutError):
            self.failed(due_at, CONNECTION_REFUSED)
        else:
            connection.send(request, number, due_at)

    async def _reconnect(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                    await self._connect()
            except (OSError, TimeoutError):
                self.errors[CONNECTION_REFUSED] += 1
                await asyncio.sleep(_RECONNECT_PAUSE_S)
            else:
                self._reconnects += 1
                return

    def _report(self, ended_at: float) -> LoadReport:
        rate = self._plan.rate
        waits_s = [ended_at - due_at for connection in self._open for due_at in connection.in_flight]
        if rate is not None:
            waits_s += [ended_at - (self._started_at + number / rate) for number in range(self._sent, self._due)]
        errors = dict(self.errors)
        n_connecting = 0 if self._plan.connections else len(self._connecting)
        if waits_s or n_connecting:
            errors[UNANSWERED] = len(waits_s) + n_connecting
        latencies_ms = sorted(1e3 * seconds for seconds in self._latencies_s + waits_s)
        elapsed_s = ended_at - self._started_at
        if rate is not None:
            # The last request is due one interval before the end, so the achieved rate must not count a shorter time.
            elapsed_s = max(elapsed_s, self._due / rate)
        return LoadReport(
            due=self._due,
            ok=self._ok,
            statuses=dict(self.statuses),
            errors=errors,
            reconnects=self._reconnects,
            requested_rate=math.nan if rate is None else rate,
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
