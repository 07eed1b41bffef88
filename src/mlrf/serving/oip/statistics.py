"""What is counted of a model for its statistics, and the statistics of all workers together."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from mlrf.serving.telemetry.metrics import INFERENCE_PARTS, WorkerMeter

_NS = 1e9
_MS = 1e3
_SUCCESS, _FAIL, _QUEUE, _INPUT, _INFER, _OUTPUT, _HIT, _MISS = range(len(INFERENCE_PARTS))
Total = Callable[..., int]
"""From a metric and the values of its labels to its count in all workers."""


class InferenceCounts:
    """Counts one model's inference requests in this worker."""

    def __init__(self, meter: WorkerMeter, name: str) -> None:
        self._times = meter.words("mlrf_inference_parts_total", name)
        self._elapsed = meter.words("mlrf_inference_part_seconds_total", name)
        self._rows = meter.words("mlrf_inference_rows_total", name)
        self._last = meter.words("mlrf_inference_last_seconds", name)
        self._count_instances = meter.counter("mlrf_instances_total", name)
        self._count_explanations = meter.counter("mlrf_explanations_total", name)

    def failed(self, elapsed_s: float) -> None:
        """Count a request that has no answer."""
        self._part(_FAIL, elapsed_s)

    def made(
        self, n_rows: int, n_explained: int, input_s: float, queue_s: float, infer_s: float, output_s: float
    ) -> None:
        """Count rows that the engine was asked, and the time of each part of the work."""
        times, elapsed = self._times, self._elapsed
        times[_INPUT] += 1
        elapsed[_INPUT] += int(input_s * _NS)
        times[_QUEUE] += 1
        elapsed[_QUEUE] += int(queue_s * _NS)
        times[_INFER] += 1
        elapsed[_INFER] += int(infer_s * _NS)
        times[_OUTPUT] += 1
        elapsed[_OUTPUT] += int(output_s * _NS)
        self._rows[0] += n_rows
        self._count_instances(n_rows)
        if n_explained:
            self._count_explanations(n_explained)

    def answered(self, elapsed_s: float) -> None:
        """Count a request that was answered, now."""
        self._times[_SUCCESS] += 1
        self._elapsed[_SUCCESS] += int(elapsed_s * _NS)
        self._last[0] = int(time.time() * _MS)

    def hit(self, elapsed_s: float) -> None:
        """Count an answer from the cache, and the time of finding and writing it."""
        self._part(_HIT, elapsed_s)

    def missed(self, elapsed_s: float) -> None:
        """Count an answer that was made for want of one in the cache, and the time of looking there."""
        self._part(_MISS, elapsed_s)

    def _part(self, part: int, elapsed_s: float) -> None:
        self._times[part] += 1
        self._elapsed[part] += int(elapsed_s * _NS)


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
