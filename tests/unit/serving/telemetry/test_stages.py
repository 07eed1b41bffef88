"""Who looks at a request sees where its time went, and the caller sees no difference."""

from __future__ import annotations

import json
import threading
import time
from threading import get_ident
from types import SimpleNamespace

import pytest

from bundles import write_bundle
from mlrf.core.bundle import read_bundle
from mlrf.serving.config.settings import ServeSettings
from mlrf.serving.http.router import Call
from mlrf.serving.models.loaded_model import LoadedModel
from mlrf.serving.routes import layout, predicting
from mlrf.serving.runtime.control_block import ControlBlock
from mlrf.serving.telemetry.logs import Log
from mlrf.serving.telemetry.metrics import WorkerMeter
from mlrf.serving.telemetry.request_observer import TelemetryObserver
from mlrf.serving.telemetry.settings import TelemetrySettings
from mlrf.serving.telemetry.stages import Stage, Stages, durations


@pytest.fixture
def row():
    return ControlBlock(1, layout(["sample"]).n_words).row(0)


@pytest.fixture
def meter(row):
    return WorkerMeter(layout(["sample"]), row)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return read_bundle(write_bundle(tmp_path_factory.mktemp("stages") / "sample"))


def test_timed_handlers_answer_alike(bundle, meter):
    stages = Stages()
    served = LoadedModel(bundle, ServeSettings(bundles=(bundle.path,)), meter, None, stages)
    one = {"features": served.model.schema.example()}
    bodies = {"/predict": one, "/predict/batch": {"instances": [one, one]}}
    for label, document in bodies.items():
        body = json.dumps(document).encode()
        assert served.timed[label](body) == served.handlers[label](body)
        assert [stage.name for stage in stages.take()] == ["decode", "engine"]
        with pytest.raises(Exception, match="features") as plain:
            served.handlers[label](body.replace(b"features", b"featurez"))
        with pytest.raises(type(plain.value)) as timed:
            served.timed[label](body.replace(b"features", b"featurez"))
        assert str(timed.value) == str(plain.value)
        stages.take()


def test_the_rest_is_what_no_stage_of_this_thread_took():
    here = get_ident()
    over = [Stage("decode", 1.0, 2.0, here), Stage("engine", 2.5, 4.5, here), Stage("engine", 1.0, 9.0, here + 1)]
    assert durations(over, 1.0, 5.0) == [("decode", 1.0), ("engine", 2.0), ("engine", 8.0), ("rest", 1.0)]
    earlier = [Stage("engine", 0.0, 0.5, here)]
    assert durations(earlier, 1.0, 2.0)[-1] == ("rest", 1.0)


def test_every_thread_may_be_timed():
    stages = Stages()
    thread = threading.Thread(target=stages.timed, args=("engine", time.sleep, 0))
    thread.start()
    thread.join()
    (stage,) = stages.take()
    assert stage.thread != get_ident()
    assert stage.began_s <= stage.ended_s


def call(route=1):
    return Call(route, lambda _body: b"{}", b"", 0, False, True, False, False, None, False)


def test_due_requests_are_looked_at_and_others_are_not(meter):
    watch = TelemetryObserver(TelemetrySettings(access_log_rate=0.5), predicting(), 0, meter, Log("critical", 2))
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
    without = TelemetryObserver(TelemetrySettings(), predicting(), 0, meter, Log("critical"))
    within = TelemetryObserver(TelemetrySettings(trace_rate=1.0), predicting(), 0, meter, Log("critical"), tracing)
    asked = Call(1, lambda _body: b"{}", b"", 0, False, True, False, False, None, False, traceparent=b"yes")
    unwanted = Call(1, lambda _body: b"{}", b"", 0, False, True, False, False, None, False, traceparent=b"no")
    assert without.begin(asked, b"id", b"", "", is_due=False) is None
    assert within.begin(asked, b"id", b"", "", is_due=False).for_trace
    assert within.begin(unwanted, b"id", b"", "", is_due=False) is None
    within.skip()
    assert not within.begin(unwanted, b"id", b"", "", is_due=True).for_trace
    within.skip()
    assert within.begin(call(), b"id", b"", "", is_due=True).for_trace
