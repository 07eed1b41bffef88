"""Observed requests report their stages, and the caller sees no difference."""

from __future__ import annotations

import json
from itertools import pairwise
from types import SimpleNamespace

import pytest

import mlrf
from bundles import ALL_KINDS, rows_of, write_tree_bundle
from mlrf.core.bundle import read_bundle
from mlrf.core.errors import RequestError
from mlrf.core.leniency import Leniency
from mlrf.serving.config.settings import ServeSettings
from mlrf.serving.http.router import Call
from mlrf.serving.models.loaded_model import LoadedModel
from mlrf.serving.native.fast_parser import RowDecoder
from mlrf.serving.native.predict_handler import PredictHandler
from mlrf.serving.routes import layout, prediction_labels
from mlrf.serving.runtime.control_block import ControlBlock
from mlrf.serving.runtime.cost_model import measure_costs
from mlrf.serving.runtime.results import Deferred, recorded
from mlrf.serving.runtime.stages import Recorder, durations, record_in_thread, recording
from mlrf.serving.telemetry.logs import Log
from mlrf.serving.telemetry.request_observer import TelemetryObserver
from mlrf.serving.telemetry.settings import TelemetrySettings
from mlrf.serving.telemetry.worker_meter import WorkerMeter


@pytest.fixture
def row():
    return ControlBlock(1, layout(["sample"]).n_words).row(0)


@pytest.fixture
def meter(row):
    return WorkerMeter(layout(["sample"]), row)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return read_bundle(write_tree_bundle(tmp_path_factory.mktemp("stages") / "sample"))


BODY = {"features": ALL_KINDS.example()}
STRICT = {"features": {**ALL_KINDS.example(), "price": 1e3}, "unknown_categories": "missing"}


def stages_of(served, label, body):
    """The names of the stages that a handler went through, and that each began when the one before it ended."""
    recorder = Recorder()
    made = recorded(recorder, served.handlers[label], body)
    while not isinstance(made, bytes):
        assert isinstance(made, Deferred)
        made = record_in_thread(made.recorder, made.run)()
    plain = served.handlers[label](body)
    assert made == (plain if isinstance(plain, bytes) else plain.run())
    stages = recorder.end()
    assert all(one.ended_s == other.began_s for one, other in pairwise(stages))
    assert sum(durations(stages).values()) == pytest.approx(stages[-1].ended_s - stages[0].began_s)
    return [stage.name for stage in stages if stage.name not in ("rest", "queue")]


@pytest.mark.parametrize(
    ("label", "document", "expected"),
    [
        ("/predict", BODY, ["decode", "engine"]),
        ("/predict", STRICT, ["decode", "engine"]),
        ("/predict", BODY | {"explain": True}, ["decode", "engine", "explain"]),
        ("/explain", BODY, ["decode", "engine", "explain"]),
        ("/predict/batch", {"instances": [BODY, BODY]}, ["decode", "engine"]),
        ("/predict/batch", {"instances": [STRICT, BODY], "explain": 1}, ["decode", "engine", "explain"]),
    ],
)
def test_stages_are_counted_once_and_sum_to_the_total(bundle, meter, label, document, expected):
    served = LoadedModel(bundle, ServeSettings(bundles=(bundle.path,)), meter)
    assert stages_of(served, label, json.dumps(document).encode()) == expected
    assert recording() is None, "no other request is recorded"


def test_a_body_read_in_the_thread_has_the_same_stages(bundle, meter):
    served = LoadedModel(bundle, ServeSettings(bundles=(bundle.path,)), meter)
    body = json.dumps(BODY).encode() + b" " * (256 << 10)
    assert stages_of(served, "/predict", body) == ["decode", "decode", "engine"], (
        "tried on the loop, then in the thread"
    )


def test_a_request_that_is_not_sampled_has_no_recorder(bundle, meter):
    served = LoadedModel(bundle, ServeSettings(bundles=(bundle.path,)), meter)
    made = served.handlers["/predict"](json.dumps(BODY).encode() + b" " * (256 << 10))
    assert made.recorder is None
    assert record_in_thread(None, made.run) == made.run


def test_the_strict_path_tries_the_fast_decoder_once(bundle, monkeypatch):
    decoder = RowDecoder(bundle.schema, Leniency(), 100)
    tried = []
    fast = RowDecoder.fast_row
    monkeypatch.setattr(RowDecoder, "fast_row", lambda self, body: tried.append(body) or fast(self, body))
    model = rows_of(mlrf.load(bundle.path))
    handler = PredictHandler(model, decoder, lambda _n: None, lambda _n: None, measure_costs(model))
    with pytest.raises(RequestError):
        handler.one(b'{"features": {}}')
    assert len(tried) == 1


def call(route=layout(["sample"]).number("/predict", "sample")):
    return Call(route, lambda _body: b"{}", b"", 0, False, True, False, False, None, False)


def test_due_requests_are_looked_at_and_others_are_not(meter):
    watch = TelemetryObserver(TelemetrySettings(access_log_rate=0.5), prediction_labels(), 0, meter, Log("critical", 2))
    looked = passed = 0
    for _ in range(2000):
        passed += watch.skip()
        seen = watch.begin(call(), b"id", b"", "", is_due=True)
        looked += seen.for_access
        assert seen.for_access or seen.for_stages
    watch.close()
    assert 0.4 < looked / (passed + 2000) < 0.6


def test_a_caller_is_followed_only_where_there_is_tracing(meter):
    def follows(header):
        return None if header is None else header == b"yes"

    tracing = SimpleNamespace(follows=follows, span=lambda *_: b"", close=lambda _limit_s: None)
    without = TelemetryObserver(TelemetrySettings(), prediction_labels(), 0, meter, Log("critical"))
    within = TelemetryObserver(
        TelemetrySettings(trace_rate=1.0), prediction_labels(), 0, meter, Log("critical"), tracing
    )
    traced = Call(1, lambda _body: b"{}", b"", 0, False, True, False, False, None, False, traceparent=b"yes")
    unsampled = Call(1, lambda _body: b"{}", b"", 0, False, True, False, False, None, False, traceparent=b"no")
    assert without.begin(traced, b"id", b"", "", is_due=False) is None
    assert within.begin(traced, b"id", b"", "", is_due=False).for_trace
    assert within.begin(unsampled, b"id", b"", "", is_due=False) is None
    within.skip()
    assert not within.begin(unsampled, b"id", b"", "", is_due=True).for_trace
    within.skip()
    assert within.begin(call(), b"id", b"", "", is_due=True).for_trace
