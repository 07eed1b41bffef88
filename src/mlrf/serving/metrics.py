"""What is counted, where each count lies in the control block, and how Prometheus reads it.

Every label has a bounded set of values, known before the fork; the layout follows from the routes alone, so arbiter and
workers agree on it. Durations are kept in nanoseconds.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlrf.serving.control import ControlBlock

STATUSES = (200, 400, 404, 405, 408, 409, 411, 413, 415, 417, 422, 431, 500, 503)
BUCKETS_S = (25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 1.0)
_STATUS_PLACES = {status: place for place, status in enumerate(STATUSES)}
_NS = 1e9


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each count of a slot lies. `routes` are the labels of routes by number."""

    routes: tuple[str, ...]

    @property
    def durations(self) -> int:
        """First word of the histograms: a row of buckets, the sum in ns, per route."""
        return len(self.routes) * len(STATUSES)

    @property
    def gauges(self) -> int:
        """First word of the single counts."""
        return self.durations + len(self.routes) * (len(BUCKETS_S) + 2)

    @property
    def n_words(self) -> int:
        """Words a slot."""
        return self.gauges + len(_SINGLES)


_SINGLES = ("open_connections", "connections", "instances", "explanations", "starts", "ready")
OPEN_CONNECTIONS, CONNECTIONS, INSTANCES, EXPLANATIONS, STARTS, READY = range(len(_SINGLES))


def clear_gauges(layout: Layout, row: memoryview) -> None:
    """Forget what ended with a slot's worker: its connections and its readiness."""
    row[layout.gauges + OPEN_CONNECTIONS] = 0
    row[layout.gauges + READY] = 0


class WorkerMeter:
    """Counts of one worker, in its slot of the control block."""

    def __init__(self, layout: Layout, row: memoryview) -> None:
        self._row = row
        self._layout = layout
        self._durations = layout.durations
        self._gauges = layout.gauges
        self._ns_bounds = tuple(b * _NS for b in BUCKETS_S)
        clear_gauges(layout, row)
        row[self._gauges + STARTS] += 1

    def count_request(self, route: int, status: int, elapsed_s: float) -> None:
        """Count one answer, and the time from its whole request to its first byte."""
        row = self._row
        row[route * len(STATUSES) + _STATUS_PLACES[status]] += 1
        elapsed_ns = elapsed_s * _NS
        first = self._durations + route * (len(BUCKETS_S) + 2)
        row[first + bisect_left(self._ns_bounds, elapsed_ns)] += 1
        row[first + len(BUCKETS_S) + 1] += int(elapsed_ns)

    def count_connections(self, change: int) -> None:
        """Count a connection opened (1) or closed (-1)."""
        self._row[self._gauges + OPEN_CONNECTIONS] += change
        if change > 0:
            self._row[self._gauges + CONNECTIONS] += change

    def count_instances(self, n_instances: int) -> None:
        """Count valid rows that went to an engine."""
        self._row[self._gauges + INSTANCES] += n_instances

    def count_explanations(self, n_explanations: int) -> None:
        """Count rows that were explained."""
        self._row[self._gauges + EXPLANATIONS] += n_explanations

    def set_ready(self, *, ready: bool) -> None:
        """Say whether this worker answers."""
        self._row[self._gauges + READY] = int(ready)


class Exposition:
    """All counts as Prometheus text (format 0.0.4), totals over the workers."""

    def __init__(self, layout: Layout, block: ControlBlock, bundles: Sequence[dict[str, str]], version: str) -> None:
        self._layout = layout
        self._block = block
        self._bundles = bundles
        self._version = version
        self._started = time.time()

    def set_bundles(self, bundles: Sequence[dict[str, str]]) -> None:
        """Say what is served from now on."""
        self._bundles = bundles

    def text(self) -> bytes:
        """Return the exposition."""
        lines: list[str] = []
        self._requests(lines)
        self._histograms(lines)
        total = self._single
        _family(lines, "mlrf_instances_total", "counter", "Valid rows sent to an engine.", [({}, total(INSTANCES))])
        _family(lines, "mlrf_explanations_total", "counter", "Rows explained.", [({}, total(EXPLANATIONS))])
        _family(lines, "mlrf_connections_total", "counter", "Connections accepted.", [({}, total(CONNECTIONS))])
        _family(lines, "mlrf_open_connections", "gauge", "Connections open now.", [({}, total(OPEN_CONNECTIONS))])
        _family(lines, "mlrf_worker_starts_total", "counter", "Workers started.", [({}, total(STARTS))])
        _family(lines, "mlrf_workers_ready", "gauge", "Workers that answer.", [({}, total(READY))])
        _family(lines, "mlrf_start_time_seconds", "gauge", "When the server started.", [({}, round(self._started, 3))])
        _family(lines, "mlrf_build_info", "gauge", "The server's version.", [({"version": self._version}, 1)])
        _family(lines, "mlrf_bundle_info", "gauge", "Bundles served.", [(labels, 1) for labels in self._bundles])
        return "\n".join(lines).encode() + b"\n"

    def _single(self, place: int) -> int:
        return self._block.total(self._layout.gauges + place)

    def _requests(self, lines: list[str]) -> None:
        samples = []
        for number, route in enumerate(self._layout.routes):
            for place, status in enumerate(STATUSES):
                count = self._block.total(number * len(STATUSES) + place)
                if count or status == STATUSES[0]:
                    samples.append(({"route": route, "status": str(status)}, count))
        _family(lines, "mlrf_requests_total", "counter", "Requests answered.", samples)

    def _histograms(self, lines: list[str]) -> None:
        name = "mlrf_request_duration_seconds"
        lines.append(f"# HELP {name} Time from a whole request to its answer, in the worker.")
        lines.append(f"# TYPE {name} histogram")
        width = len(BUCKETS_S) + 2
        for number, route in enumerate(self._layout.routes):
            first = self._layout.durations + number * width
            running = 0
            for place, bound in enumerate((*BUCKETS_S, "+Inf")):
                running += self._block.total(first + place)
                lines.append(_sample(f"{name}_bucket", {"route": route, "le": str(bound)}, running))
            lines.append(_sample(f"{name}_sum", {"route": route}, self._block.total(first + width - 1) / _NS))
            lines.append(_sample(f"{name}_count", {"route": route}, running))


def _family(lines: list[str], name: str, kind: str, text: str, samples: Sequence[tuple[dict[str, str], Any]]) -> None:
    lines.append(f"# HELP {name} {text}")
    lines.append(f"# TYPE {name} {kind}")
    lines.extend(_sample(name, labels, value) for labels, value in samples)


def _sample(name: str, labels: dict[str, str], value: float) -> str:
    inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{inside}}} {value}" if inside else f"{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
