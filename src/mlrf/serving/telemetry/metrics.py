"""Metrics: one table of families, where their counts lie in the control block, and the meter of a worker.

A new metric is a line of FAMILIES (and a row in docs/reference/metrics.md). Code that counts calls `counter(name)` or
`gauge(name)` of the meter once and keeps the function that it returns. Every label has a bounded set of values, known before
the fork; the layout follows from the tables of routes and statuses and the names of the served models, so arbiter and workers
agree on it. Durations are kept in nanoseconds.
"""

from __future__ import annotations

import math
import os
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain, product
from typing import Literal

from mlrf.serving.error_status import codes, http_statuses
from mlrf.serving.runtime.stages import STAGES

NO_MODEL = "-"
"""The `model` label of requests for no served model."""
BUCKETS_S = (25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 1.0)
CUT_CAUSES = ("idle_evicted", "over_limit", "slow_reader")
"""Why the server ends connections without a response: idle, for a new one; beyond the limit; responses not read."""
INFERENCE_PARTS = (
    "success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss",
)  # fmt: skip
"""Parts of a request in the statistics of the Open Inference Protocol."""
STAGE_BUCKETS_S = (1e-6, 2.5e-6, 5e-6, 10e-6, *BUCKETS_S)
_DURATION_WORDS = len(BUCKETS_S) + 2
_NS = 1e9


@dataclass(frozen=True, slots=True)
class Family:
    """A metric. `labels` names each label and its values; a label without values takes the layout's."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    buckets_s: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets; the last bucket has none."""
    unit: float = 1.0
    """Factor from the stored count to the exposed value: 1e-9 for nanoseconds exposed as seconds."""
    lives_on: bool = True
    """Whether a worker's replacement goes on from its predecessor's count; gauges of what ends with a worker do not."""
    merge: Callable[[list[int]], int] = sum
    """Combines the counts of all workers into the exposed value."""
    by_process: bool = False
    """Whether each worker's count is shown, with the label `process`, instead of one for all."""
    sparse: bool = False
    """Whether samples that are 0 are left out, as of a mostly empty table; the first value of the last label is kept."""
    without_model: bool = False
    """Whether what concerns no served model is counted too, under `NO_MODEL`."""


FAMILIES = (
    Family(
        "mlrf_requests_total", "counter", "Requests answered.", (("route", ()), ("model", ()), ("status", ())), sparse=True,
    ),
    Family(
        "mlrf_request_duration_seconds", "histogram", "Time from a whole request to its answer, in the worker.",
        (("route", ()), ("model", ())), BUCKETS_S, sparse=True,
    ),
    Family(
        "mlrf_refusals_total", "counter", "Requests refused, by the code of the error.", (("code", ()), ("model", ())),
        sparse=True, without_model=True,
    ),
    Family(
        "mlrf_stage_duration_seconds", "histogram", "Time in each stage of a prediction, for one request in 256.",
        (("model", ()), ("stage", STAGES)), STAGE_BUCKETS_S,
    ),
    Family("mlrf_access_log_dropped_total", "counter", "Lines that the access log could not write."),
    Family("mlrf_prediction_log_records_total", "counter", "Predictions written to the prediction log."),
    Family("mlrf_prediction_log_dropped_total", "counter", "Predictions that the prediction log could not write."),
    Family("mlrf_instances_total", "counter", "Valid rows sent to an engine.", (("model", ()),)),
    Family("mlrf_explanations_total", "counter", "Rows explained.", (("model", ()),)),
    Family(
        "mlrf_precomputed_explanations_total", "counter", "Rows explained with what was computed beforehand.", (("model", ()),),
    ),
    Family("mlrf_feature_lookups_total", "counter", "Keys looked up.", (("model", ()),)),
    Family("mlrf_feature_misses_total", "counter", "Keys without a row.", (("model", ()),)),
    Family(
        "mlrf_feature_age_seconds_total", "counter", "Ages of the rows found, added up.", (("model", ()),), unit=1e-3
    ),
    Family(
        "mlrf_feature_store_errors_total", "counter", "Look-ups that the feature store did not answer with valid rows.",
        (("model", ()),),
    ),
    Family("mlrf_cache_hits_total", "counter", "Requests answered from the cache.", (("model", ()),)),
    Family("mlrf_cache_misses_total", "counter", "Requests looked up in the cache in vain.", (("model", ()),)),
    Family("mlrf_cache_evictions_total", "counter", "Responses evicted from the cache."),
    Family("mlrf_cache_bytes", "gauge", "Memory of the answers kept now.", lives_on=False),
    Family("mlrf_shared_cache_hits_total", "counter", "Answers found in the shared cache."),
    Family("mlrf_shared_cache_misses_total", "counter", "Answers looked for in the shared cache in vain."),
    Family("mlrf_shared_cache_failures_total", "counter", "Commands or values of the shared cache that were of no use."),
    Family("mlrf_shared_cache_up", "gauge", "Workers that ask the shared cache now.", lives_on=False),
    Family("mlrf_connections_total", "counter", "Connections accepted."),
    Family("mlrf_connections_cut_total", "counter", "Connections ended by the server.", (("reason", CUT_CAUSES),)),
    Family("mlrf_open_connections", "gauge", "Connections open now.", lives_on=False),
    Family(
        "mlrf_requests_waiting", "gauge", "Requests that wait for the worker's thread, or for another process or machine.",
        (("on", ("thread", "remote")),), lives_on=False,
    ),
    Family("mlrf_worker_starts_total", "counter", "Workers started."),
    Family("mlrf_worker_failures_total", "counter", "Workers that ended unasked, or could not be started."),
    Family("mlrf_reloads_total", "counter", "Versions requested to be loaded.", (("outcome", ("done", "refused")),)),
    Family("mlrf_unloads_total", "counter", "Models taken out of service."),
    Family("mlrf_workers_ready", "gauge", "Workers that answer.", lives_on=False),
    Family(
        "mlrf_process_cpu_seconds_total", "counter", "Processor time of a worker and those before it.", unit=1e-9,
        by_process=True,
    ),
    Family(
        "mlrf_inference_parts_total", "counter", "Requests of the Open Inference Protocol, and the parts of their work.",
        (("model", ()), ("part", INFERENCE_PARTS)),
    ),
    Family(
        "mlrf_inference_part_seconds_total", "counter", "Time of these requests, and of the parts of their work.",
        (("model", ()), ("part", INFERENCE_PARTS)), unit=1e-9,
    ),
    Family("mlrf_inference_rows_total", "counter", "Rows that these requests were answered for.", (("model", ()),)),
    Family(
        "mlrf_inference_last_seconds", "gauge", "When such a request was last answered.", (("model", ()),), unit=1e-3,
        merge=max,
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each count of a slot lies.

    `routes` are the labels `route` and `model` of what is counted under one number, `models` the names of the served models.
    """

    routes: tuple[tuple[str, str], ...]
    models: tuple[str, ...] = ()
    statuses: tuple[int, ...] = field(default_factory=http_statuses)
    codes: tuple[str, ...] = field(default_factory=codes)
    n_words: int = field(init=False)
    """Words a slot."""
    pid: int = field(init=False)
    """The word in which a worker leaves its process id."""
    _first: dict[str, int] = field(init=False, repr=False)
    _numbers: dict[tuple[str, str], int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        word = 0
        first = {}
        for family in FAMILIES:
            first[family.name] = word
            word += self.n_samples(family) * self.width(family)
        object.__setattr__(self, "_first", first)
        object.__setattr__(self, "_numbers", {each: number for number, each in enumerate(self.routes)})
        object.__setattr__(self, "pid", word)
        object.__setattr__(self, "n_words", word + 1)

    def samples(self, family: Family) -> list[tuple[str, ...]]:
        """Return the values of the labels of each of a family's samples, in the order in which they lie."""
        return [tuple(chain.from_iterable(each)) for each in product(*self._axes(family))]

    def is_shown(self, family: Family, values: tuple[str, ...], count: int) -> bool:
        """Return whether a sample is exposed."""
        return bool(count) or not family.sparse or values[-1] == self._axes(family)[-1][0][-1]

    def n_samples(self, family: Family) -> int:
        """Return the number of a family's samples."""
        return math.prod(map(len, self._axes(family)))

    def width(self, family: Family) -> int:
        """Return the words of a sample: one; of a histogram its buckets, and the sum in nanoseconds."""
        return len(family.buckets_s) + 2 if family.buckets_s else 1

    def word(self, name: str, *values: str) -> int:
        """Return the first word of the sample with these values of its labels; ValueError for none."""
        first, n_words = self.words(name, *values)
        if n_words != self.width(FAMILY[name]):
            raise ValueError(f"{name} has more labels than {values}")
        return first

    def words(self, name: str, *values: str) -> tuple[int, int]:
        """Return the first word of the samples with these values of their first labels, and how many words they have."""
        family = FAMILY[name]
        index, n_left, left = 0, 1, list(values)
        for axis in self._axes(family):
            if left:
                n = len(axis[0])
                index = index * len(axis) + axis.index(tuple(left[:n]))
                del left[:n]
            else:
                index *= len(axis)
                n_left *= len(axis)
        if left:
            raise ValueError(f"{name} has no label for {left}")
        width = self.width(family)
        return self._first[name] + index * width, n_left * width

    def number(self, route: str, model: str = NO_MODEL) -> int:
        """Return the number under which the requests of a route are counted; KeyError for a route that has none."""
        return self._numbers[route, model]

    def first(self, family: Family) -> int:
        """Return the first word of a family."""
        return self._first[family.name]

    def ending(self) -> list[tuple[int, int]]:
        """Return the words that end with a slot's worker: of each run the first, and the one after its last."""
        ending = [family for family in FAMILIES if not family.lives_on]
        runs = [(self.first(f), self.first(f) + self.n_samples(f) * self.width(f)) for f in ending]
        return [*runs, (self.pid, self.pid + 1)]

    def _axes(self, family: Family) -> list[Sequence[tuple[str, ...]]]:
        """Return the values of the labels that vary by themselves; `route` and `model` of one family vary together."""
        models = [(model,) for model in self.models]
        axes: dict[str, Sequence[tuple[str, ...]]] = {
            "route": self.routes,
            "model": [(NO_MODEL,), *models] if family.without_model else models,
            "status": [(str(each),) for each in self.statuses],
            "code": [(each,) for each in self.codes],
        }
        names = [name for name, _ in family.labels]
        return [
            [(value,) for value in values] if values else axes[name]
            for name, values in family.labels
            if not (name == "model" and "route" in names)
        ]


FAMILY = {family.name: family for family in FAMILIES}


def clear_gauges(layout: Layout, row: memoryview) -> None:
    """Reset what ended with a slot's worker: its connections, its readiness."""
    for first, stop in layout.ending():
        for word in range(first, stop):
            row[word] = 0


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
        """Return a function that counts on: the sample of this family with these values of its labels."""
        row, word = self._row, self.layout.word(name, *values)

        def count(n: int) -> None:
            row[word] += n

        return count

    def words(self, name: str, *values: str) -> memoryview:
        """Return the words of the samples with these values of their first labels, for what is counted at every request."""
        first, n = self.layout.words(name, *values)
        return self._row[first : first + n]

    def gauge(self, name: str, *values: str) -> Callable[[int], None]:
        """Return a function that sets the sample of this family with these values of its labels."""
        row, word = self._row, self.layout.word(name, *values)

        def set_to(n: int) -> None:
            row[word] = max(0, n)  # the row's words have no sign: a slip in counting must not end the worker

        return set_to

    def histogram(self, name: str, *values: str) -> Callable[[float], None]:
        """Return a function that takes seconds into the histogram with these values of its labels."""
        row, word = self._row, self.layout.word(name, *values)
        bounds = FAMILY[name].buckets_s
        last = word + len(bounds) + 1

        def take(elapsed_s: float) -> None:
            row[word + bisect_left(bounds, elapsed_s)] += 1
            row[last] += int(elapsed_s * _NS)

        return take

    def count_request(self, route: int, status: int, elapsed_s: float) -> None:
        """Count one response, and the time from its whole request to its first byte."""
        # The first families of the table, with their words worked out: this runs for every request.
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
        """Return how many requests this slot has answered, its former workers' among them."""
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
        """Count the processor time used since the last call; what is used after the last is lost."""
        now_ns = time.process_time_ns()
        self._count_cpu_ns(now_ns - self._cpu_ns)
        self._cpu_ns = now_ns

    def set_ready(self, *, ready: bool) -> None:
        """Set the readiness gauge of this worker."""
        self._set_ready(int(ready))
