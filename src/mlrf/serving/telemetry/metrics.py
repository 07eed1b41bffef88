"""Metrics: the table of their families.

A new metric takes:

1. a line of FAMILIES. `metric_positions` gives the position of its samples, `worker_meter` counts them and `exposition` renders
   them. A gauge of the server as a whole is a line of SERVER_GAUGES instead, with its value in `exposition`; figures of
   processes are in `process_stats`.
2. the module that counts: it calls `counter(name)` or `gauge(name)` of the meter once, and keeps the function that it returns.
   Rows are counted in `row_counters`, for every route and transport.
3. a query in a panel of deploy/monitoring/grafana-dashboard.json, a row in docs/reference/metrics.md, and its name in
   docs/how-to/operate.md. Tests name the metric that one of them lacks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from mlrf.serving.runtime.stages import STAGES

NO_MODEL = "-"
"""The `model` label of requests for no served model."""
BUCKETS_S = (25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 1.0)
CUT_CAUSES = ("idle_evicted", "over_limit", "slow_reader", "protocol_error")
"""Why the server ends connections without a response: idle ones, to make room for new ones; those beyond the limit; those that
leave responses unread; gRPC connections that break the rules or limits of HTTP/2."""
INFERENCE_PARTS = (
    "success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss",
)  # fmt: skip
"""Parts of a request in the statistics of the Open Inference Protocol."""
STAGE_BUCKETS_S = (1e-6, 2.5e-6, 5e-6, 10e-6, *BUCKETS_S)


class Family(msgspec.Struct, frozen=True):
    """A metric. `labels` names each label and its values; a label without values takes the layout's."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    buckets_s: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets; the last bucket has none."""
    unit: float = 1.0
    """Factor from the stored count to the exposed value: 1e-9 for nanoseconds exposed as seconds."""
    survives_restart: bool = True
    """Whether a worker's replacement continues its predecessor's count; gauges of a worker's own state do not."""
    merge: Callable[[list[int]], int] = sum
    """Combines the counts of all workers into the exposed value."""
    by_process: bool = False
    """Whether each worker's count is shown, with the label `process`, instead of one for all."""
    sparse: bool = False
    """Whether samples that are 0 are left out, as in a mostly empty table; the first value of the last label is kept."""
    without_model: bool = False
    """Whether requests for no served model are counted too, under `NO_MODEL`."""


FAMILIES = (
    Family(
        "mlrf_requests_total", "counter", "Requests answered.", (("route", ()), ("model", ()), ("status", ())), sparse=True,
    ),
    Family(
        "mlrf_request_duration_seconds", "histogram", "Time from a complete request to its response, in the worker.",
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
    Family("mlrf_access_log_dropped_total", "counter", "Lines that could not be written to the access log."),
    Family("mlrf_prediction_log_records_total", "counter", "Predictions written to the prediction log."),
    Family("mlrf_prediction_log_dropped_total", "counter", "Predictions that could not be written to the prediction log."),
    Family("mlrf_instances_total", "counter", "Valid rows sent to an engine.", (("model", ()),)),
    Family("mlrf_explanations_total", "counter", "Rows explained.", (("model", ()),)),
    Family(
        "mlrf_precomputed_explanations_total", "counter", "Rows explained with precomputed contributions.", (("model", ()),),
    ),
    Family("mlrf_feature_lookups_total", "counter", "Keys looked up.", (("model", ()),)),
    Family("mlrf_feature_misses_total", "counter", "Keys for which there was no row.", (("model", ()),)),
    Family(
        "mlrf_feature_age_seconds_total", "counter", "Sum of the ages of the rows found.", (("model", ()),), unit=1e-3
    ),
    Family(
        "mlrf_feature_store_errors_total", "counter", "Look-ups that failed or returned an invalid row.",
        (("model", ()),),
    ),
    Family("mlrf_cache_hits_total", "counter", "Requests answered from the cache.", (("model", ()),)),
    Family("mlrf_cache_misses_total", "counter", "Requests looked up in the cache and not found.", (("model", ()),)),
    Family("mlrf_cache_evictions_total", "counter", "Responses evicted from the cache."),
    Family("mlrf_cache_bytes", "gauge", "Memory of the cached answers.", survives_restart=False),
    Family("mlrf_shared_cache_hits_total", "counter", "Answers found in the shared cache."),
    Family("mlrf_shared_cache_misses_total", "counter", "Answers looked up in the shared cache and not found."),
    Family("mlrf_shared_cache_failures_total", "counter",
        "Commands to the shared cache that failed, and values that were invalid."),
    Family("mlrf_shared_cache_up", "gauge", "Workers that use the shared cache now.", survives_restart=False),
    Family("mlrf_connections_total", "counter", "Connections accepted."),
    Family("mlrf_connections_cut_total", "counter", "Connections ended by the server.", (("reason", CUT_CAUSES),)),
    Family("mlrf_open_connections", "gauge", "Connections open now.", survives_restart=False),
    Family(
        "mlrf_requests_waiting", "gauge", "Requests waiting for the worker thread, or for another process or machine.",
        (("on", ("thread", "remote")),), survives_restart=False,
    ),
    Family("mlrf_worker_starts_total", "counter", "Workers started."),
    Family("mlrf_worker_failures_total", "counter", "Workers that ended unexpectedly, or could not be started."),
    Family("mlrf_reloads_total", "counter", "Requests to load a version.", (("outcome", ("done", "refused")),)),
    Family(
        "mlrf_last_reload_timestamp_seconds", "gauge", "When a version was last put into service by a reload; 0 for never.",
        unit=1e-3,
    ),
    Family("mlrf_unloads_total", "counter", "Models taken out of service."),
    Family("mlrf_model_store_up", "gauge", "1 if every store of models could be followed at the last look, or there is none."),
    Family("mlrf_workers_ready", "gauge", "Workers that answer.", survives_restart=False),
    Family(
        "mlrf_process_cpu_seconds_total", "counter", "Processor time of a worker and its predecessors in the slot.", unit=1e-9,
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

SERVER_GAUGES = {
    "mlrf_start_time_seconds": "When the server started.",
    "mlrf_workers": "Workers configured.",
    "mlrf_shutting_down": "1 from SIGTERM to the end of --shutdown-delay.",
    "mlrf_build_info": "The server's version.",
    "mlrf_bundle_info": "Bundles served.",
    "mlrf_refused_version_info": "Versions refused at the start of the server.",
}
"""Gauges that no worker counts, with their help; `exposition` knows their values."""


FAMILY = {family.name: family for family in FAMILIES}
