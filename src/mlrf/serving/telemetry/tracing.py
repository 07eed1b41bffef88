"""Spans of answered requests, sent by OpenTelemetry's SDK to a collector (OTLP over HTTP).

It is imported only if an endpoint is given, because the SDK is an extra (`mlrf[otel]`). Spans are created when their request
has been answered, from times recorded before; the SDK's own thread sends them, and drops those that the collector does not
accept.
"""

from __future__ import annotations

import os
import time
from threading import Thread
from time import perf_counter

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanContext, SpanKind, StatusCode, TraceFlags

from mlrf import __version__
from mlrf.serving.runtime.stages import REST
from mlrf.serving.telemetry import traceparent
from mlrf.serving.telemetry.library_logs import forward_records
from mlrf.serving.telemetry.logs import Log
from mlrf.serving.telemetry.sampled_request import SampledRequest

_PATH = "/v1/traces"
_EXPORT_LIMIT_S = 2.0
_SERVER_ERROR = 500
_NS = 1e9


class Tracing:
    """Creates spans of requests and sends them to `endpoint`."""

    def __init__(self, endpoint: str, slot: int, log: Log) -> None:
        forward_records("opentelemetry", log, "traces not sent")
        # A service name from the operator (OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES) takes precedence.
        named = {"service.name": "mlrf"} if "OTEL_SERVICE_NAME" not in os.environ else {}
        facts = {**named, "service.version": __version__, "service.instance.id": f"worker-{slot}"}
        self._provider = TracerProvider(sampler=ALWAYS_ON, resource=Resource.create(facts), shutdown_on_exit=False)
        address = endpoint if endpoint.endswith(_PATH) else endpoint.rstrip("/") + _PATH
        exporter = OTLPSpanExporter(endpoint=address, timeout=_EXPORT_LIMIT_S)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1000))
        self._tracer = self._provider.get_tracer("mlrf", __version__)

    def follows(self, header: bytes | None) -> bool | None:
        """Return the caller's sampling decision; None without a valid traceparent."""
        parent = None if header is None else traceparent.parse(header)
        return None if parent is None else parent.sampled

    def span(self, sampled: SampledRequest, status: int, elapsed_s: float) -> bytes:
        """Create the spans of an answered request, and return the header line that names the first."""
        now_ns, now_s = time.time_ns(), perf_counter()

        def moment(at_s: float) -> int:
            return now_ns - int((now_s - at_s) * _NS)

        call = sampled.call
        method = call.method.decode("ascii", "replace")
        span = self._tracer.start_span(
            f"{method} {sampled.label}",
            context=_context(call.traceparent),
            kind=SpanKind.SERVER,
            start_time=moment(now_s - elapsed_s),
            attributes={
                "http.request.method": method,
                "http.route": sampled.label,
                "url.path": call.target.partition(b"?")[0].decode("ascii", "backslashreplace"),
                "http.response.status_code": status,
                "mlrf.request_id": sampled.request_id.decode("ascii"),
            },
        )
        inside = trace.set_span_in_context(span)
        for stage in sampled.stages:
            if stage.name == REST:
                continue
            part = self._tracer.start_span(stage.name, context=inside, start_time=moment(stage.began_s))
            part.end(moment(stage.ended_s))
        if status >= _SERVER_ERROR:
            span.set_status(StatusCode.ERROR)
        span.end(now_ns)
        made = span.get_span_context()
        return b"traceparent: %b\r\n" % traceparent.write(made.trace_id, made.span_id)

    def close(self, limit_s: float) -> None:
        """Send the queued spans, within the time limit."""
        closing = Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(limit_s)


def _context(header: bytes | None) -> Context | None:
    parent = None if header is None else traceparent.parse(header)
    if parent is None:
        return Context()
    remote = SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return trace.set_span_in_context(trace.NonRecordingSpan(remote), Context())
