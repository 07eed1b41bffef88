"""Overload: what is turned away, so that what is taken on is answered in time.

Requests wait in two places, and nowhere else: before the event loop, which makes short answers one after another, and before
the worker's thread, which makes long ones. Neither wait is bounded by a count that anybody could choose well (a row takes 10 µs
or 1 ms), so both are measured, and a wait that *stands* is overload: one whose least over a window is above a target, while a
burst's wait comes and goes (the idea of CoDel, RFC 8289). Then the loop admits a share of the requests, the thread a number,
and both are found by themselves: cut when the wait stands, raised again when it does not.
"""

from __future__ import annotations

import asyncio
import math
import socket
from time import perf_counter

from mlrf.core.errors import MlrfError, OverloadedError

PROBE_S = 0.01
"""How often a busy loop measures its lag."""
_WINDOW_S = 0.1
_LAG_S = 0.05
_LAG_S_A_CONNECTION = 25e-6
"""Many clients that each have one request in flight make a long turn of the loop, and are no overload."""
_LEAST_SHARE = 0.02
_STANDING_LAGS = 2
_MOST_CUT = 0.3
_CUT = 0.9
_RECOVERY = 1.5
_FEELING = 1.1
"""By what a share grows in a window: when the lag is gone, and while the share is felt for."""
_LONG_AGO = 20.0
MOST_WAITING = 128
"""How many answers may wait for the worker's thread at the most, whatever its limit found."""
_LEAST_WAITING = 3
_MOST_WAITING_BYTES = 64 << 20
_MOST_UNFINISHED_BYTES = 128 << 20
_WAIT_S = 0.025
_WAIT_RUNS = 4.0
"""The thread's wait stands when it is above 25 ms and above four runs."""
_BURST_S = 0.25
_BURST_RUNS = 8.0
"""A burst may make a queue of 250 ms, or of eight runs, before anybody knows whether it stands."""
_SMOOTHING = 0.1


class LagProbe:
    """Measures the loop's lag: how long what has arrived waits until the loop reads it.

    A byte is sent through a socket pair and waits its turn among the connections. A timer would not do: over a thousand busy
    connections libuv goes from poll to poll without running its timers, and would show lags that no request has.
    """

    __slots__ = ("_admission", "_far", "_is_noted", "_loop", "_near", "_sent_s")

    def __init__(self, loop: asyncio.AbstractEventLoop, admission: Admission) -> None:
        self._near, self._far = socket.socketpair()
        self._near.setblocking(False)
        self._far.setblocking(False)
        self._loop = loop
        self._admission = admission
        self._sent_s = 0.0
        self._is_noted = False
        loop.add_reader(self._far.fileno(), self._arrived)

    def send(self, now_s: float) -> None:
        """Send the byte; while one is on its way its age is noted as soon as that says enough."""
        if not self._sent_s:
            self._sent_s = now_s
            self._is_noted = False
            self._near.send(b"\0")
        elif not self._is_noted and now_s - self._sent_s > self._admission.target_lag_s:
            self._is_noted = True
            self._admission.note_lag(now_s - self._sent_s, now_s)

    def close(self) -> None:
        """Stop measuring."""
        self._loop.remove_reader(self._far.fileno())
        self._near.close()
        self._far.close()

    def _arrived(self) -> None:
        self._far.recv(16)
        now_s = perf_counter()
        if not self._is_noted:
            self._admission.note_lag(now_s - self._sent_s, now_s)
        self._sent_s = 0.0


class Admission:
    """What a worker takes on. All times are seconds of `perf_counter`."""

    __slots__ = (
        "_burst_limit",
        "_heavy_bytes",
        "_lag_until_s",
        "_least_lag_s",
        "_least_wait_s",
        "_n_lags",
        "_probed_s",
        "_run_s",
        "_share",
        "_share_taken",
        "_turned_away",
        "_unfinished_bytes",
        "_wait_until_s",
        "_waiting_limit",
        "lag_s",
        "n_connections",
        "n_waiting",
        "n_waiting_bytes",
        "strained",
    )

    def __init__(self) -> None:
        self.strained = False
        """Whether a request may have to be turned away; while it is false nothing else here need be asked."""
        self.lag_s = 0.0
        self.n_connections = 0
        self.n_waiting = 0
        self.n_waiting_bytes = 0
        self._share = 1.0
        self._share_taken = 0.0
        self._least_lag_s = math.inf
        self._n_lags = 0
        self._lag_until_s = 0.0
        self._probed_s = -math.inf
        self._waiting_limit = self._burst_limit = MOST_WAITING
        self._turned_away = False
        self._least_wait_s = math.inf
        self._wait_until_s = 0.0
        self._run_s = 0.0
        self._heavy_bytes: dict[int, int] = {}
        self._unfinished_bytes = 0

    def refusal(self, route: int, n_bytes: int) -> MlrfError | None:
        """Return why a request with a body of `n_bytes` is refused before that is read, None when it is admitted."""
        if self._share < 1.0:
            self._share_taken += self._share
            if self._share_taken < 1.0:
                return OverloadedError("the server has more requests than it can answer in time; try again later")
            self._share_taken -= 1.0
        # Whether a body makes long work is not known before it is decoded, and decoding what is then refused would cost the
        # work that is done: of a route's bodies, those at least as long as one that lately was long work are taken for it.
        if self._is_full() and n_bytes >= self._heavy_bytes.get(route, n_bytes + 1):
            self._turned_away = True
            return self._full()
        return None

    def hold(self, n_bytes: int) -> None:
        """Take on bytes of a body that is not whole yet; OverloadedError when too many are held already."""
        if n_bytes and self._unfinished_bytes + n_bytes > _MOST_UNFINISHED_BYTES:
            raise OverloadedError("the bodies of unfinished requests fill this worker's memory; try again later")
        self._unfinished_bytes += n_bytes

    def release(self, n_bytes: int) -> None:
        """Give back what `hold` took."""
        self._unfinished_bytes -= n_bytes

    def enter(self, route: int, n_bytes: int) -> None:
        """Take a place before the worker's thread; OverloadedError when there is none."""
        self._heavy_bytes[route] = min(n_bytes, self._heavy_bytes.get(route, n_bytes))
        if self._is_full() or (self.n_waiting and self.n_waiting_bytes + n_bytes > _MOST_WAITING_BYTES):
            self._turned_away = True
            raise self._full()
        self.n_waiting += 1
        self.n_waiting_bytes += n_bytes
        self._decide()

    def leave(self, n_bytes: int) -> None:
        """Give a place back."""
        self.n_waiting -= 1
        self.n_waiting_bytes -= n_bytes
        self._decide()

    def note_run(self, wait_s: float, run_s: float, now_s: float) -> None:
        """Take note of an answer that the thread made: how long it waited, and how long it took."""
        self._run_s += (run_s - self._run_s) * (_SMOOTHING if self._run_s else 1.0)
        self._burst_limit = min(MOST_WAITING, int(max(_BURST_RUNS, _BURST_S / max(self._run_s, 1e-6))))
        self._least_wait_s = min(self._least_wait_s, wait_s)
        if now_s < self._wait_until_s:
            return
        target_s = max(_WAIT_S, _WAIT_RUNS * self._run_s)
        if self._least_wait_s > target_s:
            self._waiting_limit = max(_LEAST_WAITING, min(self._waiting_limit, self.n_waiting) // 2)
        elif not self._turned_away:
            self._waiting_limit = min(MOST_WAITING, self._waiting_limit * 2)
        elif self._waiting_limit <= target_s / max(self._run_s, 1e-6):
            # While requests are turned away the limit is felt for, no further than where the last of them waits for the target:
            # a limit that grew until the wait stood would be seen to stand two windows later, and answer twice as late.
            self._waiting_limit += 1
        self._heavy_bytes.clear()
        self._turned_away = False
        self._least_wait_s = math.inf
        self._wait_until_s = now_s + _WINDOW_S
        self._decide()

    @property
    def target_lag_s(self) -> float:
        """The lag above which the loop is overloaded, if it stands."""
        return _LAG_S + _LAG_S_A_CONNECTION * self.n_connections

    def note_lag(self, lag_s: float, now_s: float) -> None:
        """Take note of the loop's lag, once a probe."""
        target_s = self.target_lag_s
        self.lag_s, self._probed_s = lag_s, now_s
        self._n_lags += 1
        self._least_lag_s = min(self._least_lag_s, lag_s)
        # One long wait is a burst, or another process that had the processor: it takes two to stand.
        if now_s < self._lag_until_s or (lag_s > target_s and self._n_lags < _STANDING_LAGS):
            return
        if self._least_lag_s > target_s:
            self._share = max(_LEAST_SHARE, self._share * max(_MOST_CUT, _CUT * target_s / self._least_lag_s))
        elif self._share < 1.0:
            n_windows = 1.0 + (now_s - self._lag_until_s) / _WINDOW_S
            rate = _RECOVERY if self._least_lag_s < target_s / 2 else _FEELING
            self._share = min(1.0, self._share * rate ** min(n_windows, _LONG_AGO))
        self._n_lags = 0
        self._least_lag_s = math.inf
        self._lag_until_s = now_s + _WINDOW_S
        self._decide()

    def age_s(self, now_s: float) -> float:
        """Return how long a request that is read now may have waited, as far as the last probe tells."""
        return self.lag_s if now_s - self._probed_s < self.lag_s + 2 * PROBE_S else 0.0

    def _is_full(self) -> bool:
        return (
            self.n_waiting >= min(self._waiting_limit, self._burst_limit) or self.n_waiting_bytes >= _MOST_WAITING_BYTES
        )

    def _full(self) -> MlrfError:
        return OverloadedError(f"{self.n_waiting} requests wait for the worker's thread; try again later")

    def _decide(self) -> None:
        self.strained = self._share < 1.0 or self._is_full()
