"""The request runtime that all transports of a worker share: admission, executor, request ids, observation, counts."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count
from typing import Protocol, TypeVar

from mlrf.core.lazy_pattern import lazy_pattern
from mlrf.serving.runtime.admission import Admission
from mlrf.serving.runtime.clock import Clock
from mlrf.serving.runtime.executor import Executor
from mlrf.serving.runtime.observer import NEVER, ObservableCall, RequestObserver
from mlrf.serving.runtime.run_queue import RunQueue
from mlrf.serving.runtime.thresholds import TURN_S

BEAT_S = 0.5
REQUEST_ID = lazy_pattern(rb"[A-Za-z0-9._:/+=-]{1,128}")
"""Valid X-Request-ID values; any other is replaced."""
_C = TypeVar("_C", bound=ObservableCall)


class RequestMeter(Protocol):
    """The counters of requests."""

    def count_request(self, route: int, status: int, elapsed_s: float) -> None:
        """Count one response."""
        ...


class RequestRuntime:
    """The shared state of a worker that every request passes through, for every transport."""

    def __init__(
        self,
        meter: RequestMeter,
        heartbeat: Callable[[], None],
        max_wait_s: float,
        observer: RequestObserver | None = None,
    ) -> None:
        """`heartbeat` tells the arbiter that the worker lives; `max_wait_s` limits the wait of requests without a deadline."""
        self.request_meter = meter
        self._heartbeat = heartbeat
        self.due_s = 0.0
        """When `on_due` is next to be called between answers."""
        self._beat_due_s = 0.0
        self.observer = observer
        self.until_observed = NEVER if observer is None else observer.skip()
        """How many more requests are not observed."""
        self.clock = Clock()
        self.id_prefix = os.urandom(6).hex().encode()
        self.next_number = count(1).__next__
        """Returns the number of a new request; id_prefix-number in hex is its id, unless it has one."""
        self.admission = Admission(max_wait_s)
        self.work = Executor(self.admission)
        self.run_queue = RunQueue(self.admission)
        self._bounds_turns = False

    def new_request_id(self) -> bytes:
        """Return an id that is unique over all workers."""
        return b"%b-%x" % (self.id_prefix, self.next_number())

    def observe(self, call: _C, request_id: bytes, body: bytes, client: str) -> _C:
        """Show a request to the observer and return the call to answer it with."""
        if self.observer is None:
            self.until_observed = NEVER
            return call
        is_due = self.until_observed < 0
        observed = self.observer.begin(call, request_id, body, client, is_due=is_due)
        if is_due:
            self.until_observed = self.observer.skip()
        return call if observed is None else call.observed_by(observed)

    def bound_turns(self) -> None:
        """Bound the turns of the running event loop from now on, until `stop`."""
        self._bounds_turns = True

    def on_due(self, now_s: float) -> None:
        """Run the periodic work of a busy loop: bound its turn, send the heartbeat.

        Called between responses, not by a timer: with a thousand busy connections the loop polls repeatedly without running its
        timers, and the arbiter took a worker that was answering for hung.
        """
        self.due_s = now_s + TURN_S
        if self._bounds_turns:
            self.run_queue.on_due(now_s)
        if now_s > self._beat_due_s:
            self.beat(now_s)

    def beat(self, now_s: float) -> None:
        """Send the heartbeat and update the clock."""
        self._beat_due_s = now_s + BEAT_S
        self._heartbeat()
        self.clock.tick()
