"""Writes all counts in Prometheus text format 0.0.4: totals over all workers, whichever of them answers.

It uses no metrics library, which would take time to import at the start and a lock for each count (docs/adr/0002).
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from mlrf.serving.telemetry.metric_positions import Layout
from mlrf.serving.telemetry.metrics import FAMILIES, FAMILY, SERVER_GAUGES, Family
from mlrf.serving.telemetry.process_stats import FIGURES, read_figures

if TYPE_CHECKING:
    from mlrf.serving.runtime.control_block import ControlBlock

_NS = 1e9
_NONE: Mapping[str, str] = {}


class Exposition:
    """The exposition of `GET /metrics`, computed at most once in a turn of the event loop."""

    def __init__(self, layout: Layout, block: ControlBlock, bundles: Sequence[dict[str, str]], version: str) -> None:
        self._layout = layout
        self._block = block
        self._bundles = bundles
        self._refused: Sequence[dict[str, str]] = ()
        self._is_shutting_down = False
        self._version = version
        self._started = time.time()
        self._arbiter = os.getpid()
        self._of_this_turn: bytes | None = None

    def set_bundles(self, bundles: Sequence[dict[str, str]]) -> None:
        """Set the labels of the bundles that are served from now on."""
        self._bundles = bundles

    def set_refused(self, versions: Sequence[dict[str, str]]) -> None:
        """Set the labels of the versions that were refused at the start and that repositories still point to."""
        self._refused = versions

    def set_shutting_down(self) -> None:
        """Report from now on that the server was asked to stop."""
        self._is_shutting_down = True

    def total(self, name: str, *values: str) -> int:
        """Return the count of a sample in all workers, in the units of the control block."""
        return FAMILY[name].merge(self._block.words(self._layout.word(name, *values)))

    def answer(self, _body: bytes) -> bytes:
        """Return the exposition, the same one for all requests of one turn of the event loop.

        `/metrics` is always answered, and a text takes 10 to 20 ms: 400 connections with one request each stopped the loop for
        seconds.
        """
        if self._of_this_turn is None:
            self._of_this_turn = self.text()
            asyncio.get_running_loop().call_soon(self._end_turn)
        return self._of_this_turn

    def _end_turn(self) -> None:
        self._of_this_turn = None

    def text(self) -> bytes:
        """Return the exposition."""
        lines: list[str] = []
        for family in FAMILIES:
            _head(lines, family.name, family.kind, family.help)
            self._counts(lines, family)
        self._processes(lines)
        values = self._server_gauges()
        for name, words in SERVER_GAUGES.items():
            _gauge(lines, name, words, values[name])
        return "\n".join(lines).encode() + b"\n"

    def _server_gauges(self) -> dict[str, list[tuple[Mapping[str, str], float]]]:
        """Return the samples of each of SERVER_GAUGES."""
        return {
            "mlrf_start_time_seconds": [(_NONE, round(self._started, 3))],
            "mlrf_workers": [(_NONE, self._block.n_slots)],
            "mlrf_shutting_down": [(_NONE, int(self._is_shutting_down))],
            "mlrf_build_info": [({"version": self._version}, 1)],
            "mlrf_bundle_info": [(labels, 1) for labels in self._bundles],
            "mlrf_refused_version_info": [(labels, 1) for labels in self._refused],
        }

    def _counts(self, lines: list[str], family: Family) -> None:
        names = [name for name, _ in family.labels]
        word, width = self._layout.first(family), self._layout.width(family)
        for values in self._layout.samples(family):
            labels = dict(zip(names, values, strict=True))
            if family.kind == "histogram":
                self._histogram(lines, family, values, labels, word)
            elif family.by_process:
                for slot in range(self._block.n_slots):
                    count = self._block.row(slot)[word]
                    lines.append(_sample(family.name, {"process": f"worker-{slot}", **labels}, count * family.unit))
            else:
                count = family.merge(self._block.words(word))
                if self._layout.is_shown(family, values, count):
                    lines.append(_sample(family.name, labels, count if family.unit == 1 else count * family.unit))
            word += width

    def _histogram(
        self, lines: list[str], family: Family, values: tuple[str, ...], labels: Mapping[str, str], word: int
    ) -> None:
        bounds = (*family.buckets_s, "+Inf")
        counts = [self._block.total(word + bucket) for bucket in range(len(bounds))]
        if not self._layout.is_shown(family, values, sum(counts)):
            return
        for bound, running in zip(bounds, accumulate(counts), strict=True):
            lines.append(_sample(f"{family.name}_bucket", {**labels, "le": str(bound)}, running))
        sum_ns = self._block.total(word + len(bounds))
        lines.append(_sample(f"{family.name}_sum", labels, sum_ns / _NS))
        lines.append(_sample(f"{family.name}_count", labels, sum(counts)))

    def _processes(self, lines: list[str]) -> None:
        """Append the operating system's figures of each running process."""
        pids = {"arbiter": self._arbiter}
        pids |= {f"worker-{slot}": self._block.row(slot)[self._layout.pid] for slot in range(self._block.n_slots)}
        read = [(name, read_figures(pid)) for name, pid in pids.items() if pid]
        running = [(name, figures) for name, figures in read if figures is not None]
        for number, (metric, words) in enumerate(FIGURES):
            _gauge(lines, metric, words, [({"process": name}, figures[number]) for name, figures in running])


def _head(lines: list[str], name: str, kind: str, words: str) -> None:
    lines.append(f"# HELP {name} {words}")
    lines.append(f"# TYPE {name} {kind}")


def _gauge(lines: list[str], name: str, words: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> None:
    _head(lines, name, "gauge", words)
    lines.extend(_sample(name, labels, value) for labels, value in samples)


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{inside}}} {value}" if inside else f"{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
