"""Samples requests for stage metrics, access log, prediction log and traces."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from mlrf.serving.cache.keyed_answer import features_of
from mlrf.serving.http.router import OTHER
from mlrf.serving.runtime.observer import ObservableCall
from mlrf.serving.runtime.stages import STAGES, Stage, durations
from mlrf.serving.telemetry.access_log import AccessLog, AccessRecord
from mlrf.serving.telemetry.logs import Log
from mlrf.serving.telemetry.metrics import NO_MODEL
from mlrf.serving.telemetry.prediction_log import JsonTranscriber, PredictionLog, PredictionRecord
from mlrf.serving.telemetry.sampled_request import SampledRequest
from mlrf.serving.telemetry.sampling import Sampler
from mlrf.serving.telemetry.settings import TelemetrySettings
from mlrf.serving.telemetry.worker_meter import WorkerMeter

if TYPE_CHECKING:
    from mlrf.serving.telemetry.tracing import Tracing

STAGE_RATE = 1 / 256
_OK = 200
_CLOSE_LIMIT_S = 2.0


class TelemetryObserver:
    """The request observer of one worker."""

    def __init__(
        self,
        settings: TelemetrySettings,
        prediction_labels: Collection[str],
        slot: int,
        meter: WorkerMeter,
        log: Log,
        tracing: Tracing | None = None,
    ) -> None:
        self.routes = [label for label, _model in meter.layout.routes]
        """The label of each route by its number."""
        self._models = [model for _label, model in meter.layout.routes]
        self._prediction_labels = prediction_labels
        self._tracing = tracing
        self._next = 0
        """The number of the next request that is due."""
        self._sampled_stages = Sampler(STAGE_RATE)
        self._sampled_access = Sampler(settings.access_log_rate)
        self._sampled_refusals = Sampler(settings.access_log_rate)
        self._n_refused = 0
        self._sampled_predictions = Sampler(settings.prediction_log_rate if settings.prediction_log else 0.0)
        self._sampled_traces = Sampler(0.0 if tracing is None else settings.trace_rate)
        self._access_log = AccessLog(log.descriptor, os.getpid()) if settings.access_log_rate > 0 else None
        self._prediction_log = None
        if settings.prediction_log is not None and settings.prediction_log_rate > 0:
            self._prediction_log = _open_prediction_log(settings, settings.prediction_log, slot, log)
        name = "mlrf_stage_duration_seconds"
        self._take = {
            (model, stage): meter.histogram(name, model, stage) for model in meter.layout.models for stage in STAGES
        }
        self._count_dropped_lines = meter.counter("mlrf_access_log_dropped_total")
        self._count_records = meter.counter("mlrf_prediction_log_records_total")
        self._count_dropped_records = meter.counter("mlrf_prediction_log_dropped_total")

    def skip(self) -> int:
        """Return how many requests may pass before the next one that is due."""
        samplers = (self._sampled_stages, self._sampled_access, self._sampled_predictions, self._sampled_traces)
        due = min(sampler.due for sampler in samplers)
        passing = due - self._next
        self._next = due
        return passing

    def begin(
        self, call: ObservableCall, request_id: bytes, body: bytes, client: str, *, is_due: bool
    ) -> SampledRequest | None:
        """Sample a request that is due, or whose client requests a trace."""
        followed = None if self._tracing is None else self._tracing.follows(call.traceparent)
        if not is_due and not followed:
            return None
        sampled = SampledRequest(call, self.routes[call.route], request_id, body, client, self.end)
        sampled.for_trace = bool(followed)
        if is_due:
            number = self._next
            self._next = number + 1
            predicts = sampled.label in self._prediction_labels
            sampled.for_stages = (
                self._sampled_stages.picks(number) and predicts and self._models[call.route] != NO_MODEL
            )
            sampled.for_access = self._sampled_access.picks(number)
            sampled.for_prediction = self._sampled_predictions.picks(number) and predicts
            sampled.for_trace |= self._sampled_traces.picks(number) and followed is None
        return sampled

    def refused(self, call: ObservableCall | None, request_id: bytes, status: int, client: str) -> None:
        """Log a request that was refused before it was complete, as responses are."""
        self._n_refused += 1
        if self._access_log is None or not self._sampled_refusals.picks(self._n_refused - 1):
            return
        method, target = (b"", b"") if call is None else (call.method, call.target)
        label = self.routes[OTHER if call is None else call.route]
        self._access_log.put(AccessRecord(time.time(), request_id, client, method, target, label, status, 0.0, 0, 0))

    def end(self, sampled: SampledRequest, status: int, content: bytes, elapsed_s: float) -> bytes:
        """Record the response of a sampled request, and return header lines for it."""
        now_s = time.time()
        began_s = now_s - elapsed_s
        call = sampled.call
        if sampled.recorder is not None:
            sampled.stages = sampled.recorder.end()
            if sampled.for_stages and status == _OK:
                self._take_stages(self._models[call.route], sampled.stages)
        if sampled.for_access and self._access_log is not None:
            sizes = len(sampled.body), len(content)
            facts = (call.method, call.target, sampled.label, status, elapsed_s, *sizes)
            self._access_log.put(AccessRecord(began_s, sampled.request_id, sampled.client, *facts))
        if sampled.for_prediction and self._prediction_log is not None and status == _OK:
            transcriber = call.handler if isinstance(call.handler, JsonTranscriber) else None
            both = sampled.body, content
            features = features_of(content)
            self._prediction_log.put(
                PredictionRecord(began_s, sampled.request_id, sampled.label, elapsed_s, *both, transcriber, features)
            )
        return (
            self._tracing.span(sampled, status, elapsed_s) if sampled.for_trace and self._tracing is not None else b""
        )

    def _take_stages(self, model: str, stages: list[Stage]) -> None:
        for stage, elapsed_s in durations(stages).items():
            self._take[model, stage](elapsed_s)

    def tick(self) -> None:
        """Flush the logs, and count what was written and dropped; called twice a second."""
        if self._access_log is not None:
            self._access_log.flush()
            self._count_dropped_lines(self._access_log.take_counts()[1])
        if self._prediction_log is not None:
            self._prediction_log.flush()
            records, dropped = self._prediction_log.take_counts()
            self._count_records(records)
            self._count_dropped_records(dropped)

    def close(self) -> None:
        """Write the queued records; called once, when the last request is answered."""
        for each in (self._access_log, self._prediction_log, self._tracing):
            if each is not None:
                each.close(_CLOSE_LIMIT_S)
        self.tick()


def _open_prediction_log(settings: TelemetrySettings, folder: Path, slot: int, log: Log) -> PredictionLog:
    limits = settings.prediction_log_file_bytes, settings.prediction_log_files
    if settings.prediction_log_format == "jsonl":
        return PredictionLog(folder, slot, *limits, log)
    from mlrf.serving.telemetry.parquet_converter import ParquetConverter  # noqa: PLC0415  most servers need none

    return PredictionLog(folder, slot, *limits, log, ParquetConverter(folder, log))


def open_observer(
    settings: TelemetrySettings, prediction_labels: Collection[str], slot: int, meter: WorkerMeter, log: Log
) -> TelemetryObserver:
    """Return the observer of a worker, after the fork: it may start threads. `prediction_labels` are of routes that predict."""
    tracing: Tracing | None = None
    if settings.otlp_endpoint is not None:
        from mlrf.serving.telemetry import tracing as otel  # noqa: PLC0415  an extra, and 0.2 s to import

        tracing = otel.Tracing(settings.otlp_endpoint, slot, log)
    return TelemetryObserver(settings, prediction_labels, slot, meter, log, tracing)
