"""The meter of a worker: functions that count into its slot of the control block.

Code that counts calls `counter(name)` or `gauge(name)` of the meter once and keeps the returned function. Durations are
stored in nanoseconds.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections.abc import Callable

from mlrf.serving.telemetry.metric_positions import Layout, clear_gauges
from mlrf.serving.telemetry.metrics import BUCKETS_S, CUT_CAUSES, FAMILY, NO_MODEL

_DURATION_WORDS = len(BUCKETS_S) + 2
_NS = 1e9


class WorkerMeter:
    """Counts of one worker, in its slot of the control block."""

    def __init__(self, layout: Layout, row: memoryview) -> None:
        self._row = row
        self.layout = layout
        self._status_index = {status: index for index, status in enumerate(layout.statuses)}
        self._n_statuses = len(layout.statuses)
        self._durations = layout.first(FAMILY["mlrf_request_duration_seconds"])
        self._ns_bounds = tuple(b * _NS for b in BUCKETS_S)
        self._refusals = {code: layout.words("mlrf_refusals_total", code)[0] for code in layout.codes}
        models = (NO_MODEL, *layout.models)
        self._model_index = [models.index(model) for _route, model in layout.routes]
        clear_gauges(layout, row)
        row[layout.pid] = os.getpid()
        self._count_opened = self.counter("mlrf_connections_total")
        self._count_cut = {reason: self.counter("mlrf_connections_cut_total", reason) for reason in CUT_CAUSES}
        self._open_connections = layout.word("mlrf_open_connections")
        self._set_ready = self.gauge("mlrf_workers_ready")
        self._set_thread = self.gauge("mlrf_requests_waiting", "thread")
        self._set_remote = self.gauge("mlrf_requests_waiting", "remote")
        self._count_cpu_ns = self.counter("mlrf_process_cpu_seconds_total")
        self._cpu_ns = 0
        self.counter("mlrf_worker_starts_total")(1)

    def counter(self, name: str, *values: str) -> Callable[[int], None]:
        """Return a function that increments the sample of this family with these values of its labels."""
        row, word = self._row, self.layout.word(name, *values)

        def count(n: int) -> None:
            row[word] += n

        return count

    def words(self, name: str, *values: str) -> memoryview:
        """Return the words of the samples with these values of their first labels, for counts made at every request."""
        first, n = self.layout.words(name, *values)
        return self._row[first : first + n]

    def gauge(self, name: str, *values: str) -> Callable[[int], None]:
        """Return a function that sets the sample of this family with these values of its labels."""
        row, word = self._row, self.layout.word(name, *values)

        def set_to(n: int) -> None:
            row[word] = max(0, n)  # the row's words are unsigned: a counting error must not end the worker

        return set_to

    def histogram(self, name: str, *values: str) -> Callable[[float], None]:
        """Return a function that observes seconds in the histogram with these values of its labels."""
        row, word = self._row, self.layout.word(name, *values)
        bounds = FAMILY[name].buckets_s
        last = word + len(bounds) + 1

        def take(elapsed_s: float) -> None:
            row[word + bisect_left(bounds, elapsed_s)] += 1
            row[last] += int(elapsed_s * _NS)

        return take

    def count_request(self, route: int, status: int, elapsed_s: float) -> None:
        """Count one response, and the time from its complete request to its first byte."""
        # The first families of the table, with their words precomputed: this runs for every request.
        row = self._row
        row[route * self._n_statuses + self._status_index[status]] += 1
        elapsed_ns = elapsed_s * _NS
        first = self._durations + route * _DURATION_WORDS
        row[first + bisect_left(self._ns_bounds, elapsed_ns)] += 1
        row[first + _DURATION_WORDS - 1] += int(elapsed_ns)

    def count_refusal(self, code: str, route: int) -> None:
        """Count a request that is refused, by the code of its error and the number of its route."""
        self._row[self._refusals[code] + self._model_index[route]] += 1

    def n_requests(self) -> int:
        """Return how many requests this slot has answered, including those of its former workers."""
        return sum(self._row[: self._durations])

    def count_connections(self, change: int) -> None:
        """Count a connection opened (1) or closed (-1)."""
        self._row[self._open_connections] += change
        if change > 0:
            self._count_opened(change)

    def count_cut(self, reason: str) -> None:
        """Count a connection that the server ended, by one of `CUT_CAUSES`."""
        self._count_cut[reason](1)

    def set_waiting(self, n_thread: int, n_remote: int) -> None:
        """Set how many requests wait for the worker's thread, and how many for another process or machine."""
        self._set_thread(n_thread)
        self._set_remote(n_remote)

    def count_cpu(self) -> None:
        """Count the processor time used since the last call; time after the last call is not counted."""
        now_ns = time.process_time_ns()
        self._count_cpu_ns(now_ns - self._cpu_ns)
        self._cpu_ns = now_ns

    def set_ready(self, *, ready: bool) -> None:
        """Set the readiness gauge of this worker."""
        self._set_ready(int(ready))
