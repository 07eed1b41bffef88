"""Admission control: admits the requests that can be answered before their deadline.

1. The limit is the one the client sent (`X-Request-Timeout-Ms`, a gRPC deadline), else `--max-wait`.
2. A request waits for the event loop (`RunQueue`) or for the worker's thread (`Executor`). Both waits are predicted from the
   queue and from how long such work took lately. A request that would wait longer than its limit is refused, if possible before
   its body is read.
3. The queue is also bounded in bytes and in number.

A burst that the worker answers in time is not overload, however many requests it holds, and many clients that each wait for one
answer are not either.
"""

from __future__ import annotations

from mlrf.core.errors import OverloadedError

MAX_WAITING = 1024
"""Most requests queued for the worker thread."""
_MAX_WAITING_BYTES = 64 << 20
_MAX_BODY_BYTES = 128 << 20
"""Most bytes of all request bodies, incomplete or queued."""
MAX_UNSENT_BYTES = 128 << 20
"""Most bytes of responses that the clients of one transport have not read yet."""
KEPT_SHARE = 0.75
"""Above that, connections are closed until this share of it is left, so that not every further response closes one."""
_STRAINED_S = 0.01
"""Shorter waits than this do not refuse a request before its body is read."""
_LATE_SHARE = 0.01
"""Share of the answers with deadlines that may take longer than predicted, allowance included."""
_FIRST_ALLOWANCE, _MAX_ALLOWANCE, _ALLOWANCE_STEP = 1.25, 2.0, 0.1
"""Predictions are multiplied by an allowance for errors: its first and largest value, and what a late answer adds (ADR 9)."""
_SMOOTHING = 0.1
_FORGET_S = 0.1
"""Seconds for which bodies at least as long as one that ran in the thread are expected to run there too (see `refusal`)."""


class Admission:
    """Admission control of one worker. All times are seconds of `perf_counter`."""

    __slots__ = (
        "_allowance",
        "_forget_at_s",
        "_loop_is_behind",
        "_loop_wait_s",
        "_n_over_limit",
        "_route_costs",
        "_thread_bodies",
        "max_wait_s",
        "n_connections",
        "n_waiting",
        "n_waiting_bytes",
        "queued_s",
        "strained",
        "unfinished_bytes",
    )

    def __init__(self, max_wait_s: float = 0.5) -> None:
        self.max_wait_s = max_wait_s
        """Seconds a request without a deadline of its own may wait."""
        self.strained = False
        """Whether requests wait; while false, callers need no other check."""
        self.n_connections = 0
        self.n_waiting = 0
        self.n_waiting_bytes = 0
        self.queued_s = 0.0
        """Predicted seconds until all queued work is done."""
        self._allowance = _FIRST_ALLOWANCE
        self._loop_is_behind = False
        self._loop_wait_s = 0.0
        self._n_over_limit = 0
        self._route_costs: dict[int, _Cost] = {}
        self._thread_bodies: dict[int, int] = {}
        self._forget_at_s = 0.0
        self.unfinished_bytes = 0
        """Bytes of incomplete bodies."""

    def refusal(self, route: int, n_bytes: int, timeout_s: float = 0.0) -> OverloadedError | None:
        """Return the error to refuse a request with before its body of `n_bytes` is read, None to admit it.

        Only decoding shows whether a body is work for the thread, and decoding bodies to refuse them would take time from those
        that are answered. So a body counts as such work if a body of the same route that was not longer lately was.
        """
        limit_s = timeout_s or self.max_wait_s
        if self._loop_wait_s > limit_s:
            return _overloaded(self._loop_wait_s, limit_s)
        if n_bytes < self._thread_bodies.get(route, n_bytes + 1):
            return None
        return self._thread_refusal(n_bytes, self._cost_of(route, n_bytes) if timeout_s else 0.0, limit_s)

    def reserve(self, n_bytes: int) -> None:
        """Reserve bytes for an incomplete body; raises OverloadedError when the limit is reached."""
        if n_bytes and n_bytes > self.free_bytes():
            raise OverloadedError("unfinished request bodies use all of this worker's memory for them; try again later")
        self.unfinished_bytes += n_bytes

    def release(self, n_bytes: int) -> None:
        """Release bytes that `reserve` admitted."""
        self.unfinished_bytes -= n_bytes

    def free_bytes(self) -> int:
        """Return how many more bytes of request bodies may be reserved."""
        return _MAX_BODY_BYTES - self.unfinished_bytes - self.n_waiting_bytes

    def enter(self, route: int, n_bytes: int, timeout_s: float = 0.0, predicted_s: float = 0.0) -> float:
        """Admit work to the thread's queue and return the seconds that it is expected to take.

        These are `predicted_s`, if they do not follow from the length of the body; the length then tells nothing of others.
        OverloadedError if it is expected to begin later than `max_wait_s` from now, or, with a `timeout_s`, to end later than
        that.
        """
        cost_s = predicted_s or self._cost_of(route, n_bytes)
        if not predicted_s:
            self._thread_bodies[route] = min(n_bytes, self._thread_bodies.get(route, n_bytes))
        refusal = self._thread_refusal(n_bytes, cost_s if timeout_s else 0.0, timeout_s or self.max_wait_s)
        if refusal is not None:
            raise refusal
        self.n_waiting += 1
        self.n_waiting_bytes += n_bytes
        self.queued_s += cost_s
        self._decide()
        return cost_s

    def leave(self, n_bytes: int, cost_s: float) -> None:
        """Remove work from the thread's queue: it is done or cancelled."""
        self.n_waiting -= 1
        self.n_waiting_bytes -= n_bytes
        self.queued_s = self.queued_s - cost_s if self.n_waiting else 0.0
        self._decide()

    def note_run(self, route: int, n_bytes: int, run_s: float, now_s: float) -> None:
        """Record how long work took in the thread."""
        self._route_costs.setdefault(route, _Cost()).add(n_bytes, run_s)
        if now_s > self._forget_at_s:
            self._thread_bodies.clear()
            self._forget_at_s = now_s + _FORGET_S

    def note_end(self, predicted_s: float, elapsed_s: float) -> None:
        """Record how long work with a deadline took, from `enter` to its end, and what `queued_s` was after `enter`.

        The allowance for errors follows, so that one of a hundred such predictions is too low. Short ones tell nothing.
        """
        if predicted_s > _STRAINED_S:
            is_late = elapsed_s > predicted_s * self._allowance
            allowance = self._allowance + _ALLOWANCE_STEP * (is_late - _LATE_SHARE)
            self._allowance = min(max(allowance, 1.0), _MAX_ALLOWANCE)

    def note_loop(self, *, is_behind: bool, wait_s: float) -> None:
        """Record whether requests wait for the event loop, and the predicted wait of a new one."""
        self._loop_is_behind, self._loop_wait_s = is_behind, wait_s
        self._decide()

    def note_over_limit(self, n: int) -> None:
        """Record how many connections are open beyond the limit; their requests must all be checked."""
        self._n_over_limit = n
        self._decide()

    def _cost_of(self, route: int, n_bytes: int) -> float:
        known = self._route_costs.get(route)
        return 0.0 if known is None else known.of(n_bytes)

    def _thread_refusal(self, n_bytes: int, own_s: float, limit_s: float) -> OverloadedError | None:
        # An idle thread accepts any work, since estimates are learned from its runs.
        if not self.n_waiting:
            return None
        wait_s = (self.queued_s + own_s) * (self._allowance if own_s else 1.0)
        if wait_s > limit_s:
            return _overloaded(wait_s, limit_s)
        if self.n_waiting >= MAX_WAITING or self.n_waiting_bytes + n_bytes > _MAX_WAITING_BYTES:
            return OverloadedError(
                f"{self.n_waiting} requests of {self.n_waiting_bytes} bytes are queued in this worker; try again later"
            )
        return None

    def _decide(self) -> None:
        full = self.n_waiting >= MAX_WAITING or self.n_waiting_bytes > _MAX_WAITING_BYTES // 2
        self.strained = self._n_over_limit > 0 or self._loop_is_behind or self.queued_s > _STRAINED_S or full


class _Cost:
    """The cost of one route's work in the thread by body length: an exponential moving average."""

    __slots__ = ("_bytes", "_seconds")

    def __init__(self) -> None:
        self._bytes = 0.0
        self._seconds = 0.0

    def add(self, n_bytes: int, run_s: float) -> None:
        """Count a run."""
        self._bytes += (n_bytes + 1 - self._bytes) * (_SMOOTHING if self._bytes else 1.0)
        self._seconds += (run_s - self._seconds) * (_SMOOTHING if self._seconds else 1.0)

    def of(self, n_bytes: int) -> float:
        """Return the seconds that work of this length is expected to take."""
        return self._seconds * (n_bytes + 1) / self._bytes


def _overloaded(wait_s: float, limit_s: float) -> OverloadedError:
    return OverloadedError(
        f"the request would wait about {wait_s * 1e3:.0f} ms, but may wait for {limit_s * 1e3:.0f} ms; try again later"
    )
