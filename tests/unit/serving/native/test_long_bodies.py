"""Bodies that take long to parse are parsed off the event loop, and counted on it."""

from __future__ import annotations

import json

import msgspec
import pytest

import mlrf
from bundles import rows_of
from mlrf.core.errors import RequestError
from mlrf.core.leniency import Leniency
from mlrf.serving.native.fast_parser import RowDecoder
from mlrf.serving.native.predict_handler import PredictHandler
from mlrf.serving.runtime.cost_model import measure_costs
from mlrf.serving.runtime.results import Deferred

LONG, LONG_FOR_STRICT_PARSING = 256 << 10, 16 << 10


@pytest.fixture
def counted():
    return []


@pytest.fixture
def predicting(bundle, counted):
    model = rows_of(mlrf.load(bundle))
    # Rows cost next to nothing, also where they were measured on a busy machine: only the length of a body matters here.
    costs = msgspec.structs.replace(measure_costs(model), one_s=1e-6, row_s=1e-6, block_s=1e-5)
    return PredictHandler(model, RowDecoder(model.schema, Leniency(), 100), counted.append, counted.append, costs)


@pytest.fixture
def body(bundle):
    return json.dumps({"features": mlrf.load(bundle).schema.example()}).encode()


@pytest.mark.parametrize("many", [False, True])
def test_long_body_is_answered_off_the_event_loop(predicting, counted, body, many):
    short = b'{"instances":[' + body + b"]}" if many else body
    handler = predicting.many if many else predicting.one
    expected = handler(short)
    assert isinstance(expected, bytes)
    counts = counted.copy()
    counted.clear()
    deferred = handler(short + b" " * LONG)
    assert isinstance(deferred, Deferred)
    assert deferred.run() == expected
    assert counted == []
    deferred.after()
    assert [n for n in counted if n] == [n for n in counts if n] == [1]


@pytest.mark.parametrize("handler", ["one", "explained", "many"])
def test_long_invalid_body_is_parsed_off_the_event_loop(predicting, counted, handler):
    wrong = b'{"features": {' + b" " * LONG_FOR_STRICT_PARSING + b"}}"
    deferred = getattr(predicting, handler)(wrong)
    assert isinstance(deferred, Deferred)
    with pytest.raises(RequestError):
        deferred.run()
    deferred.after()
    assert sum(counted) == 0
    with pytest.raises(RequestError):
        getattr(predicting, handler)(b'{"features": {}}')
