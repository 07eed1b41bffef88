"""A FIFO queue of requests that wait for the event loop, used while one turn of the loop would take too long.

A turn is what the loop does between two polls of its sockets. Without a bound, a new connection, or a probe of `/healthz`,
waits for the requests of every connection that is ready: 64 clients with a request of 1 ms each make a turn of 64 ms, a
thousand that pipeline requests a turn of seconds. Therefore:

1. Once a turn has lasted one to two times `TURN_S`, further requests wait here.
2. Waiting requests run for `TURN_S`, then the loop polls its sockets, and so on.
3. While any request waits, new ones queue behind it, except those to routes that always answer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter

from mlrf.serving.runtime.admission import Admission
from mlrf.serving.runtime.thresholds import TURN_S

_MIN_SLICE_S = 5e-5
_SMOOTHING = 0.05

Slice = Callable[[float], None]
"""Answers requests of one connection for a number of seconds; a request that was begun is finished."""


class Turn:
    """An entry of the queue; cancelled when its connection closes."""

    __slots__ = ("run",)

    def __init__(self, run: Slice) -> None:
        self.run: Slice | None = run

    def cancel(self) -> None:
        """Leave the queue."""
        self.run = None


class RunQueue:
    """The run queue of one server."""

    __slots__ = (
        "_admission",
        "_is_scheduled",
        "_lag_s",
        "_mean_s",
        "_scheduled_s",
        "_seen_s",
        "_turns",
        "_went_on_s",
        "is_behind",
    )

    def __init__(self, admission: Admission) -> None:
        self.is_behind = False
        """Whether new requests must wait here."""
        self._admission = admission
        self._turns: deque[Turn] = deque()
        self._is_scheduled = False
        self._scheduled_s = 0.0
        self._lag_s = 0.0
        self._seen_s = 0.0
        self._mean_s = 0.0
        self._went_on_s = 0.0
        """When the last turn ended, if requests still waited then; otherwise 0."""

    def on_due(self, now_s: float) -> None:
        """Check the length of this turn; call it every `TURN_S` between responses."""
        if not self._is_scheduled:
            self._schedule(now_s)
        elif now_s - self._scheduled_s >= TURN_S and not self.is_behind:
            self._set_behind(True)

    def put(self, run: Slice) -> Turn:
        """Queue the requests of a connection and return the queue entry."""
        turn = Turn(run)
        self._turns.append(turn)
        if not self._is_scheduled:
            self._schedule(perf_counter())
        return turn

    def slice_s(self, n: int) -> float:
        """Return how many seconds each of `n` connections may run in one turn."""
        return max(_MIN_SLICE_S, 0.4 * TURN_S / max(n, 1))

    def lag_s(self, now_s: float) -> float:
        """Return how long a request that is read now may have waited in its socket: the length of the last long turn."""
        return self._lag_s if now_s - self._seen_s < 2 * TURN_S + self._lag_s else 0.0

    def _schedule(self, now_s: float) -> None:
        self._is_scheduled, self._scheduled_s = True, now_s
        asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        """Run queued entries for `TURN_S`; the loop polls its sockets before the next run."""
        self._is_scheduled = False
        began_s = perf_counter()
        self._lag_s, self._seen_s = began_s - self._scheduled_s, began_s
        try:
            n_done, ended_s = self._run_turns(began_s)
        finally:
            if self._turns and not self._is_scheduled:
                self._schedule(perf_counter())
        if n_done:
            # From the end of the last turn, because those that still wait also wait while the loop polls its sockets.
            elapsed_s = ended_s - (self._went_on_s or began_s)
            self._mean_s += (elapsed_s / n_done - self._mean_s) * (_SMOOTHING if self._mean_s else 1.0)
        self._went_on_s = ended_s if self._turns else 0.0
        self._set_behind(self.is_behind and bool(self._turns))

    def _run_turns(self, began_s: float) -> tuple[int, float]:
        """Run queued entries until the turn is over; return how many ran and when it ended."""
        turns = self._turns
        slice_s, n_done, now_s = self.slice_s(len(turns)), 0, began_s
        # At most one round: unfinished connections queue again, behind new entries.
        for _ in range(len(turns)):
            run = turns.popleft().run
            if run is None:
                continue
            run(slice_s)
            n_done += 1
            now_s = perf_counter()
            if now_s - began_s > TURN_S:
                break
        return n_done, now_s

    def _set_behind(self, is_behind: bool) -> None:
        self.is_behind = is_behind
        self._admission.note_loop(is_behind=is_behind, wait_s=len(self._turns) * self._mean_s if is_behind else 0.0)
