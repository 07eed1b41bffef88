"""What is counted of a model for its statistics, and the statistics of all workers together."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from mlrf.serving.sight.metrics import INFERENCE_PARTS, WorkerMeter

_NS = 1e9
_MS = 1e3
Total = Callable[..., int]
"""From a metric and the values of its labels to its count in all workers."""


class InferenceCounts:
    """Counts one model's inference requests in this worker."""

    def __init__(self, meter: WorkerMeter, name: str) -> None:
        self._times = {p: meter.counter("mlrf_inference_parts_total", name, p) for p in INFERENCE_PARTS}
        self._elapsed = {p: meter.counter("mlrf_inference_part_seconds_total", name, p) for p in INFERENCE_PARTS}
        self.rows = meter.counter("mlrf_inference_rows_total", name)
        self._set_last = meter.gauge("mlrf_inference_last_seconds", name)
        self.instances = meter.count_instances
        self.explanations = meter.count_explanations

    def part(self, part: str, elapsed_s: float) -> None:
        """Count one of a part, and the time it took."""
        self._times[part](1)
        self._elapsed[part](int(elapsed_s * _NS))

    def answered(self, elapsed_s: float) -> None:
        """Count a request that was answered, now."""
        self.part("success", elapsed_s)
        self._set_last(int(time.time() * _MS))


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
