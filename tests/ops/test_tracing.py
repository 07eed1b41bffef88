"""Traces: a collector receives spans that continue the caller's trace, and the caller gets the id of its span."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bundles import write_stump_bundle
from mlrf.serving.telemetry.traceparent import Parent, parse, write
from running import eventually, serving

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = (f"traceparent: 00-{TRACE}-{SPAN}-{flags}" for flags in ("01", "00"))


class Collector:
    """An OTLP receiver over HTTP: keeps the spans that it is sent."""

    def __init__(self):
        self.spans, self.resources = [], []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                assert self.path == "/v1/traces"
                collector.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def take(self, request):
        for resource in request.resource_spans:
            self.resources.append({a.key: a.value.string_value for a in resource.resource.attributes})
            for scope in resource.scope_spans:
                self.spans += scope.spans

    def named(self, name):
        return [span for span in tuple(self.spans) if span.name == name]


@pytest.fixture
def collector():
    found = Collector()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_stump_bundle(tmp_path_factory.mktemp("traced") / "sample")


def example(server):
    operation = server.ask("GET", "/openapi.json").json["paths"]["/predict"]["post"]
    return operation["requestBody"]["content"]["application/json"]["example"]


def test_trace_continues_through_the_server(bundle, collector):
    with serving(bundle, options=["--otlp-endpoint", collector.url, "--trace-rate", "0"]) as server:
        row = example(server)
        answer = server.ask("POST", "/predict", row, [SAMPLED, "X-Request-ID: traced"])
        assert "traceparent" not in server.ask("POST", "/predict", row).headers
        assert "traceparent" not in server.ask("POST", "/predict", row, [UNSAMPLED]).headers
        refused = server.ask("POST", "/predict?a=b", {}, [SAMPLED])
        eventually(lambda: len(collector.named("POST /predict")) == 2, what="two spans")
    returned = parse(answer.headers["traceparent"].encode())
    assert (returned.trace_id, returned.sampled, refused.status) == (int(TRACE, 16), True, 422)
    span = next(s for s in collector.named("POST /predict") if int.from_bytes(s.span_id, "big") == returned.span_id)
    facts = {a.key: a.value.string_value or a.value.int_value for a in span.attributes}
    assert (span.trace_id.hex(), span.parent_span_id.hex(), span.kind) == (TRACE, SPAN, 2)
    assert facts == {
        "http.request.method": "POST",
        "http.route": "/predict",
        "url.path": "/predict",
        "http.response.status_code": 200,
        "mlrf.request_id": "traced",
    }
    inside = [s for s in collector.spans if s.parent_span_id == span.span_id]
    assert {s.name for s in inside} == {"decode", "engine"}
    for each in inside:
        assert span.start_time_unix_nano <= each.start_time_unix_nano <= each.end_time_unix_nano
        assert each.end_time_unix_nano <= span.end_time_unix_nano
    from_the_caller = [s.name for s in collector.spans if s.parent_span_id.hex() == SPAN]
    assert from_the_caller == ["POST /predict"] * 2, "the requests that were not sampled have no spans"
    assert collector.resources[0]["service.name"] == "mlrf"


def test_root_spans_are_sampled_and_flushed_at_exit(bundle, collector):
    with serving(bundle, workers=2, options=["--otlp-endpoint", collector.url, "--trace-rate", "1"]) as server:
        row = example(server)
        ids = {server.ask("POST", "/predict", row).headers["traceparent"] for _ in range(20)}
        assert "traceparent" not in server.ask("POST", "/predict", row, [UNSAMPLED]).headers
        server.process.terminate()
        assert server.wait() == 0
    assert len(ids) == 20
    assert len(collector.named("POST /predict")) == 20


def test_a_collector_that_is_gone_costs_no_answer(bundle, collector):
    collector.server.server_close()
    with serving(bundle, options=["--otlp-endpoint", collector.url, "--trace-rate", "1"]) as server:
        row = example(server)
        assert {server.ask("POST", "/predict", row).status for _ in range(50)} == {200}
        eventually(lambda: "traces not sent" in {entry["event"] for entry in server.log}, what="a word of it")
        server.process.terminate()
        assert server.wait() == 0
    assert "not JSON" not in {entry["event"] for entry in server.log}


def test_without_an_endpoint_a_caller_is_not_followed(bundle):
    with serving(bundle) as server:
        answer = server.ask("POST", "/predict", example(server), [SAMPLED])
    assert answer.status == 200
    assert "traceparent" not in answer.headers


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (f"00-{TRACE}-{SPAN}-01", Parent(int(TRACE, 16), int(SPAN, 16), True)),
        (f" 00-{TRACE}-{SPAN}-00\t", Parent(int(TRACE, 16), int(SPAN, 16), False)),
        (f"00-{TRACE}-{SPAN}-03", Parent(int(TRACE, 16), int(SPAN, 16), True)),
        (f"cc-{TRACE}-{SPAN}-01-what-comes-later", Parent(int(TRACE, 16), int(SPAN, 16), True)),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}", None),
        ("", None),
    ],
)
def test_the_header_is_read_as_the_standard_says(value, expected):
    assert parse(value.encode()) == expected
    if expected is not None:
        assert parse(write(expected.trace_id, expected.span_id)) == expected._replace(sampled=True)
