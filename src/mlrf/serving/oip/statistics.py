"""Counts a model's requests for its statistics, and combines the statistics of all workers."""

from __future__ import annotations

import time
from collections.abc import Callable
from time import perf_counter
from typing import Any

import msgspec

from mlrf.serving.telemetry.metrics import INFERENCE_PARTS
from mlrf.serving.telemetry.row_counters import RowCounters
from mlrf.serving.telemetry.worker_meter import WorkerMeter

_NS = 1e9
_MS = 1e3
_SUCCESS, _FAIL, _QUEUE, _INPUT, _INFER, _OUTPUT, _HIT, _MISS = range(len(INFERENCE_PARTS))
Total = Callable[..., int]
"""Returns the count of a metric with label values in all workers."""


class RequestTimes(msgspec.Struct, gc=False):
    """When each step of one request ended (`perf_counter`; 0: not yet, or never), and its number of rows."""

    began_s: float
    count: int = 0
    """Number of rows."""
    n_explained: int = 0
    """Number of explained rows."""
    read_s: float = 0.0
    missed_s: float = 0.0
    """When the cache look-up missed."""
    ready_s: float = 0.0
    """When its rows were complete, looked up if it is by key."""
    entered_s: float = 0.0
    """When the engine was called."""
    inferred_s: float = 0.0
    made_s: float = 0.0


class InferenceCounts:
    """Counts one model's inference requests in this worker, and their rows with `counters`."""

    def __init__(self, meter: WorkerMeter, name: str, counters: RowCounters) -> None:
        self._times = meter.words("mlrf_inference_parts_total", name)
        self._elapsed = meter.words("mlrf_inference_part_seconds_total", name)
        self._rows = meter.words("mlrf_inference_rows_total", name)
        self._last = meter.words("mlrf_inference_last_seconds", name)
        self._count_instances, self._count_explanations = counters

    def failed(self, elapsed_s: float) -> None:
        """Count a failed request."""
        self._times[_FAIL] += 1
        self._elapsed[_FAIL] += int(elapsed_s * _NS)

    def computed(self, request: RequestTimes) -> None:
        """Count rows that the engine computed, and the time of each step; or a failure."""
        if not request.made_s:
            self.failed(perf_counter() - request.began_s)
            return
        times, elapsed = self._times, self._elapsed
        looked_up_s = request.ready_s - (request.missed_s or request.read_s)
        times[_INPUT] += 1
        elapsed[_INPUT] += int((looked_up_s + request.read_s - request.began_s) * _NS)
        times[_QUEUE] += 1
        elapsed[_QUEUE] += int((request.entered_s - request.ready_s) * _NS)
        times[_INFER] += 1
        elapsed[_INFER] += int((request.inferred_s - request.entered_s) * _NS)
        times[_OUTPUT] += 1
        elapsed[_OUTPUT] += int((request.made_s - request.inferred_s) * _NS)
        self._rows[0] += request.count
        self._count_instances(request.count)
        if request.n_explained:
            self._count_explanations(request.n_explained)

    def answered(self, request: RequestTimes) -> None:
        """Count a request that was answered, now: from the cache if nothing was computed for it.

        A hit also counts as a wait of zero in the queue: clients subtract hits from `queue.count` (Triton's perf_analyzer).
        """
        times, elapsed, now_s = self._times, self._elapsed, perf_counter()
        times[_SUCCESS] += 1
        elapsed[_SUCCESS] += int((now_s - request.began_s) * _NS)
        self._last[0] = int(time.time() * _MS)
        if not request.made_s:
            times[_HIT] += 1
            elapsed[_HIT] += int((now_s - request.read_s) * _NS)
            times[_QUEUE] += 1
        elif request.missed_s:
            times[_MISS] += 1
            elapsed[_MISS] += int((request.missed_s - request.read_s) * _NS)

    def answered_at_once(self, n_rows: int, began_s: float, read_s: float, inferred_s: float) -> None:
        """Count a request that was computed and answered without waiting, now; as `computed` and `answered` do.

        Read until `read_s`, and computed until `inferred_s`.
        """
        times, elapsed, now_s = self._times, self._elapsed, perf_counter()
        times[_SUCCESS] += 1
        elapsed[_SUCCESS] += int((now_s - began_s) * _NS)
        times[_INPUT] += 1
        elapsed[_INPUT] += int((read_s - began_s) * _NS)
        times[_QUEUE] += 1
        times[_INFER] += 1
        elapsed[_INFER] += int((inferred_s - read_s) * _NS)
        times[_OUTPUT] += 1
        elapsed[_OUTPUT] += int((now_s - inferred_s) * _NS)
        self._rows[0] += n_rows
        self._count_instances(n_rows)
        self._last[0] = int(time.time() * _MS)


def statistics_of(total: Total, name: str, version: str) -> dict[str, Any]:
    """Return one item of `model_stats`."""
    parts = {
        part: {
            "count": total("mlrf_inference_parts_total", name, part),
            "ns": total("mlrf_inference_part_seconds_total", name, part),
        }
        for part in INFERENCE_PARTS
    }
    return {
        "name": name,
        "version": version,
        "last_inference": total("mlrf_inference_last_seconds", name),
        "inference_count": total("mlrf_inference_rows_total", name),
        "execution_count": parts["compute_infer"]["count"],
        "inference_stats": parts,
        "batch_stats": [],
    }
