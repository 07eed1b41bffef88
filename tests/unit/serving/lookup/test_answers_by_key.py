"""Answers by key: the store state that they depend on, how long they are valid, and precomputed explanations."""

from __future__ import annotations

import asyncio
import gc
import json
import math
import time
from array import array

import msgspec
import pytest

import mlrf
from bundles import ALL_KINDS, rows_of, write_tree_bundle
from mlrf.core.errors import FeaturesUnavailableError, KeyNotFoundError, StaleFeaturesError
from mlrf.core.leniency import Leniency
from mlrf.features import lmdb_environment
from mlrf.features.explanation_store import EmbeddedExplanations, model_digest
from mlrf.features.lmdb_store import LmdbStore
from mlrf.features.row_format import row_digest, row_format
from mlrf.serving.cache.keyed_answer import KeyedAnswer
from mlrf.serving.lookup.stored_rows import AgeLimit, LookupMeter, StoredRows
from mlrf.serving.native.fast_parser import RowDecoder
from mlrf.serving.native.predict_handler import PredictHandler
from mlrf.serving.oip.infer import ModelInference
from mlrf.serving.oip.messages import InferRequest, InputTensor
from mlrf.serving.oip.statistics import InferenceCounts
from mlrf.serving.oip.tensor_reader import TensorReader
from mlrf.serving.routes import layout
from mlrf.serving.runtime.cost_model import measure_costs
from mlrf.serving.runtime.results import Awaited, Deferred
from mlrf.serving.telemetry.row_counters import row_counters
from mlrf.serving.telemetry.worker_meter import WorkerMeter

EXAMPLE = ALL_KINDS.row(ALL_KINDS.example())
PLANTED = [0.125 * (n + 1) for n in range(len(EXAMPLE))]
"""Contributions that no model computes, so that an answer with them must come from the store."""


@pytest.fixture
def model(tmp_path):
    return rows_of(mlrf.load(write_tree_bundle(tmp_path / "b", key={"id": "integer"})))


@pytest.fixture
def store(model, tmp_path):
    opened = LmdbStore(tmp_path / "rows", row_format(model.bundle))
    yield opened
    opened.release()


@pytest.fixture
def counted():
    return {}


def count(counted):
    def counter(name):
        def add(n):
            counted[name] = counted.get(name, 0) + n

        return add

    return counter


def predicting(model, store, counted, limit=AgeLimit(), explanations=None, costs=None):
    rows = StoredRows(row_format(model.bundle), store, limit, LookupMeter(count(counted)), explanations)
    decoder = RowDecoder(model.schema, Leniency(), 100, rows.format.key)
    return PredictHandler(model, decoder, lambda _n: None, lambda _n: None, costs or measure_costs(model), rows)


def put(store, sku=1, price=None, as_of_us=None):
    values = [*EXAMPLE] if price is None else [price, *EXAMPLE[1:]]
    return store.upsert([(store.format.key.encode({"id": sku}), store.format.pack(values, as_of_us))])


def body(sku=1, **rest):
    return json.dumps({"key": {"id": sku}} | rest).encode()


def batch(*bodies, **rest):
    return json.dumps({"instances": [json.loads(each) for each in bodies]} | rest).encode()


def test_answer_by_key_carries_its_store_transaction(model, store, counted):
    handlers = predicting(model, store, counted)
    first = put(store).transaction
    for answer in (handlers.one(body()), handlers.many(batch(body(), body())), handlers.explained(body())):
        assert isinstance(answer, KeyedAnswer)
        assert (answer.transaction, answer.fresh_until_s) == (first, math.inf)
    assert put(store, price=2.0).transaction > first
    assert handlers.one(body()).transaction == store.transaction() > first
    given = json.dumps({"features": ALL_KINDS.example()}).encode()
    assert type(handlers.one(given)) is bytes
    assert isinstance(handlers.many(batch(given, body())), KeyedAnswer)


def test_answers_computed_off_the_loop_say_it_too(model, store, counted):
    costs = msgspec.structs.replace(measure_costs(model), explained_row_s=1.0, explained_block_s=8.0)
    handlers = predicting(model, store, counted, costs=costs)
    transaction = put(store).transaction
    for deferred in (handlers.explained(body()), handlers.many(batch(body(), explain=True))):
        assert isinstance(deferred, Deferred)
        answer = deferred.run()
        assert isinstance(answer, KeyedAnswer)
        assert answer.transaction == transaction


def test_an_answer_holds_until_its_oldest_row_is_too_old(model, store, counted):
    now_us = time.time_ns() // 1000
    put(store, 1, as_of_us=now_us - 10_000_000)
    put(store, 2, as_of_us=now_us - 20_000_000)
    put(store, 3)
    handlers = predicting(model, store, counted, AgeLimit(60.0, "flag"))
    assert handlers.one(body(1)).fresh_until_s == pytest.approx(now_us / 1e6 + 50, abs=0.01)
    assert handlers.many(batch(body(1), body(2))).fresh_until_s == pytest.approx(now_us / 1e6 + 40, abs=0.01)
    tighter = handlers.many(batch(body(1), body(2, max_feature_age=30)))
    assert tighter.fresh_until_s == pytest.approx(now_us / 1e6 + 10, abs=0.01)
    assert handlers.one(body(1, max_feature_age=1e9)).fresh_until_s == pytest.approx(now_us / 1e6 + 50, abs=0.01)
    # Once it is flagged it is flagged for ever, and so is a row of unknown age.
    for flagged in (handlers.one(body(1, max_feature_age=5)), handlers.one(body(3))):
        assert json.loads(flagged)["features_stale"] is True
        assert flagged.fresh_until_s == math.inf
    with pytest.raises(StaleFeaturesError):
        handlers.one(body(3, stale_features="refuse"))


class Elsewhere:
    """A store that is awaited, as one that machines share."""

    is_local = False

    def __init__(self, store):
        self.store = store
        self.n_keys = []

    async def fetch(self, keys):
        self.n_keys.append(len(keys))
        if self.store is None:
            raise FeaturesUnavailableError("the feature store does not answer")
        return [await asyncio.sleep(0, row) for row in self.store.read_many(keys)]


def test_shared_store_is_queried_once_and_answers_not_cached(model, store, counted):
    put(store, 1)
    put(store, 2, 3.0)
    elsewhere = Elsewhere(store)
    local, remote = predicting(model, store, counted), predicting(model, elsewhere, counted)
    long = b" " * (300 << 10)
    for handler, content in (("one", body()), ("explained", body(2)), ("many", batch(body(1), body(2), body(1)))):
        awaited = getattr(remote, handler)(content)
        assert isinstance(awaited, Awaited)
        answer = asyncio.run(awaited.run())
        assert answer == getattr(local, handler)(content)
        assert answer.fresh_until_s == -math.inf
        deferred = getattr(remote, handler)(content + long)
        assert isinstance(deferred, Deferred)
        assert asyncio.run(deferred.run().run()) == answer
    assert elsewhere.n_keys == [1, 1, 1, 1, 3, 3]
    with pytest.raises(KeyNotFoundError):
        asyncio.run(remote.one(body(9)).run())


def test_a_store_that_does_not_answer_is_counted(model, counted):
    remote = predicting(model, Elsewhere(None), counted)
    for awaited in (remote.one(body()), remote.many(batch(body()))):
        with pytest.raises(FeaturesUnavailableError):
            asyncio.run(awaited.run())
    assert counted == {"mlrf_feature_store_errors_total": 2}


@pytest.fixture
def explanations(model, store, tmp_path):
    opened = EmbeddedExplanations(tmp_path / "explanations", store.format, model_digest(model.bundle), 7)
    put(store, 1, as_of_us=5)
    put(store, 2, price=2.0)
    stored = store.read(store.format.key.encode({"id": 1}))
    opened.append([(store.format.key.encode({"id": 1}), row_digest(stored.record), model.table([PLANTED]).tobytes())])
    yield opened
    opened.release()


def explained_as(answer):
    explanation = json.loads(answer)["explanation"]
    return explanation["source"], list(explanation["contributions"].values()) == PLANTED


def test_precomputed_explanations_need_the_exact_row(model, store, counted, explanations):
    handlers = predicting(model, store, counted, explanations=explanations)
    known, live = ("precomputed", True), ("live", False)
    assert explained_as(handlers.explained(body(1))) == known
    assert explained_as(handlers.one(body(1, explain=True))) == known
    top = json.loads(handlers.explained(body(1, explain=2)))["explanation"]
    assert top["contributions"] == {"depth": PLANTED[6], "code": PLANTED[5]}
    assert top["other"] == sum(PLANTED[:5])
    assert explained_as(handlers.explained(body(1, overrides={"price": 9.5}))) == live
    assert explained_as(handlers.explained(body(1, overrides={}))) == known
    assert explained_as(handlers.explained(body(2))) == live
    assert explained_as(handlers.explained(json.dumps({"features": ALL_KINDS.example()}).encode())) == live
    several = json.loads(handlers.many(batch(body(1), body(2), body(1, overrides={"price": 1}), explain=True)))
    assert [each["source"] for each in several["explanations"]] == ["precomputed", "live", "live"]
    assert counted["mlrf_precomputed_explanations_total"] == 5


def test_changed_row_invalidates_precomputed_explanations(model, store, counted, explanations):
    handlers = predicting(model, store, counted, explanations=explanations)
    put(store, 1, as_of_us=6)
    assert explained_as(handlers.explained(body(1))) == ("precomputed", True)
    put(store, 1, price=math.nextafter(EXAMPLE[0], math.inf), as_of_us=7)
    assert explained_as(handlers.explained(body(1))) == ("live", False)
    put(store, 1, as_of_us=8)
    assert explained_as(handlers.explained(body(1))) == ("precomputed", True)


def test_row_files_are_closed_with_the_last_request(model, tmp_path, counted):
    path = tmp_path / "own"
    handlers = predicting(model, LmdbStore(path, row_format(model.bundle)), counted)
    assert lmdb_environment._identity(path) in lmdb_environment._registry
    del handlers
    gc.collect()
    assert lmdb_environment._identity(path) not in lmdb_environment._registry


def test_data_plane_serves_precomputed_explanations(model, store, counted, explanations):
    rows = StoredRows(store.format, store, AgeLimit(), LookupMeter(count(counted)), explanations)
    reader = TensorReader(model.schema, Leniency(), 10, store.format.key, 10)
    metric_layout = layout([model.name])
    meter = WorkerMeter(metric_layout, memoryview(array("Q", bytes(8 * metric_layout.n_words))))
    counts = InferenceCounts(meter, model.name, row_counters(meter, model.bundle))
    inferring = ModelInference(model, "1", reader, counts, measure_costs(model), rows)
    made = []

    def explained(*ids):
        request = InferRequest(model.name, [InputTensor("id", "INT64", [len(ids)], ids)], outputs=["shap_values"])
        answer = inferring.infer(request, lambda _request, response: made.append(response) or b"made", may_explain=True)
        assert answer == b"made"
        (output,) = made[-1].outputs
        assert output.shape == [len(ids), len(EXAMPLE)]
        values = array("d", output.data).tolist()
        return [values[n * len(EXAMPLE) : (n + 1) * len(EXAMPLE)] for n in range(len(ids))]

    live = model.engine.contributions_many(
        model.table([store.read(store.format.key.encode({"id": 2})).values])
    ).tolist()
    assert live != PLANTED
    live = pytest.approx(live, rel=1e-9)
    assert explained(1) == [PLANTED]
    assert explained(2) == [live]
    assert explained(2, 1, 2, 1, 1) == [live, PLANTED, live, PLANTED, PLANTED]
    assert counted["mlrf_precomputed_explanations_total"] == 4
    put(store, 1, price=math.nextafter(EXAMPLE[0], math.inf), as_of_us=7)
    assert explained(1) != [PLANTED]
