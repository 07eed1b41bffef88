"""The counters of the rows that are answered for one model: the only place that counts them, for every route and transport.

A metric of rows is a family in metrics.py and a line of the functions below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from mlrf.core.bundle import Bundle
from mlrf.serving.telemetry.worker_meter import WorkerMeter


class RowCounters(NamedTuple):
    """Functions that count rows, called on the event loop."""

    count_instances: Callable[[int], None]
    """Counts rows sent to an engine."""
    count_explanations: Callable[[int], None]
    """Counts those of them that are explained."""


def row_counters(meter: WorkerMeter, bundle: Bundle) -> RowCounters:
    """Return the counters of a model's rows; `bundle` has the facts of the model that a metric may depend on."""
    instances = meter.words("mlrf_instances_total", bundle.name)
    explanations = meter.words("mlrf_explanations_total", bundle.name)

    # Two functions, each without calls of its own: one for both takes longer, and one of them runs for every request.
    def count_instances(n: int) -> None:
        instances[0] += n

    def count_explanations(n: int) -> None:
        explanations[0] += n

    return RowCounters(count_instances, count_explanations)
