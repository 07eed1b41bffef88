"""Cached answers over HTTP: the same bytes except `cached`, computed once for all waiting requests, and counted."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import struct

import numpy as np
import pytest

from bundles import ALL_KINDS, write_tree_bundle
from mlrf.core.feature import Feature, Kind
from mlrf.core.schema import Schema
from raw_http import request
from running import eventually, serving

EXAMPLE = ALL_KINDS.example()
WIDE = Schema(tuple(Feature(f"x{i}", example=0.5) for i in range(30)))
NAMED = Schema((Feature("cached", Kind.BOOLEAN, example=True), Feature("x", example=0.5)))
N_WAITING = 150


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cached")
    bundles = (
        write_tree_bundle(folder / "a", name="a"),
        write_tree_bundle(folder / "b", name="b", leaf_scale=2.0),
        write_tree_bundle(folder / "named", name="named", schema=NAMED),
        write_tree_bundle(folder / "long", name="long", schema=WIDE, n_trees=400, max_leaves=64),
    )
    with serving(*bundles) as server:
        yield server
        assert server.troubles == []


def delta(server, before, name):
    return server.metrics()[name] - before[name]


@pytest.mark.parametrize("path", ["/models/a/predict", "/models/b/predict", "/models/b/explain"])
def test_the_same_body_is_answered_from_memory_the_third_time(server, path):
    body = {"features": EXAMPLE | {"price": 700.0}}
    before = server.metrics()
    answers = [server.ask("POST", path, body) for _ in range(3)]
    assert [a.json["cached"] for a in answers] == [False, False, True]
    assert answers[2].json | {"cached": False} == answers[0].json == answers[1].json
    assert len({a.headers["x-request-id"] for a in answers}) == 3
    assert all("total;dur=" in a.headers["server-timing"] for a in answers)
    assert delta(server, before, "mlrf_cache_hits_total") == 1
    assert delta(server, before, "mlrf_cache_misses_total") == 2
    assert delta(server, before, "mlrf_cache_bytes") > 0
    assert delta(server, before, "mlrf_instances_total") == 2


def test_models_and_routes_answer_for_themselves(server):
    body = {"features": EXAMPLE | {"price": 701.0}}
    paths = ["/models/a/predict", "/models/b/predict", "/models/a/explain", "/models/b/explain"]
    rounds = [[server.ask("POST", path, body).json for path in paths] for _ in range(4)]
    assert [[a.pop("cached") for a in answers] for answers in rounds] == [[False] * 4] * 2 + [[True] * 4] * 2
    assert rounds[0] == rounds[1] == rounds[2] == rounds[3]
    assert len({str(a) for a in rounds[0]}) == 4


def test_default_route_and_gzip_share_cached_answers(server):
    body = request("POST", "/predict", {"features": EXAMPLE | {"price": 702.0}}).partition(b"\r\n\r\n")[2]
    server.ask("POST", "/predict", body)
    server.ask("POST", "/models/a/predict", body)
    zipped = server.ask("POST", "/predict", gzip.compress(body), ["Content-Encoding: gzip"])
    assert zipped.json["cached"]


def test_batches_are_cached_and_refusals_are_not(server):
    batch = {"instances": [{"features": EXAMPLE | {"price": 703.0 + n}} for n in range(5)], "explain": 2}
    before = server.metrics()
    answers = [server.ask("POST", "/predict/batch", batch).json for _ in range(3)]
    assert [answer.pop("cached") for answer in answers] == [False, False, True]
    assert answers[0] == answers[1] == answers[2]
    assert delta(server, before, "mlrf_cache_hits_total") == 1
    before = server.metrics()
    refused = [server.ask("POST", "/predict", {"features": {}}) for _ in range(3)]
    assert {a.code for a in refused} == {"MISSING_FEATURE"}
    assert delta(server, before, "mlrf_cache_hits_total") == 0


def test_a_feature_that_is_named_cached_keeps_its_value(server):
    given = [{"cached": False, "x": 1.0}, {"cached": True, "x": 2.0}]
    batch = {"instances": [{"features": each} for each in given], "return_features": True}
    answers = [server.ask("POST", "/models/named/predict/batch", batch).json for _ in range(3)]
    assert [(answer["cached"], answer["features"]) for answer in answers] == [(n == 2, given) for n in range(3)]


def explained_batch(seed):
    rows = np.random.default_rng(seed).normal(size=(60, 30)).round(3).tolist()
    return {"instances": [{"features": row} for row in rows], "explain": 3}


def test_shared_work_survives_a_client_that_disconnects(server):
    content = request("POST", "/models/long/predict/batch", explained_batch(1))
    holding = request("POST", "/models/long/predict/batch", explained_batch(2))
    with contextlib.ExitStack() as opened:
        first, *clients = [opened.enter_context(server.client()) for _ in range(N_WAITING + 1)]
        for client in clients:
            assert client.ask("GET", "/healthz").status == 200
        before = server.metrics()
        # More than may wait for the thread each for its own; the one that asked first leaves.
        first.send(holding)
        for client in clients:
            client.send(content)
        clients[0].socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        clients[0].socket.close()
        answers = [client.answer() for client in clients[1:]]
        assert {a.status for a in answers} == {200}
        assert len({a.body for a in answers}) == 1
        assert first.answer().status == 200
    assert delta(server, before, "mlrf_explanations_total") == 2 * 60
    again = server.ask("POST", "/models/long/predict/batch", explained_batch(1)).json
    assert again == json.loads(answers[0].body) | {"cached": True}
    assert delta(server, before, "mlrf_explanations_total") == 2 * 60


def test_work_that_all_have_left_is_done_again_for_the_next(server):
    """Also at once, while what was called off has not landed yet."""
    holding, body = (request("POST", "/models/long/predict/batch", explained_batch(seed)) for seed in (3, 4))
    with server.client() as first, server.client() as next_one:
        open_before = server.metrics()["mlrf_open_connections"]
        first.send(holding)
        for _ in range(20):
            with server.client() as leaving:
                leaving.send(body)
            next_one.send(request("GET", "/healthz"))
            assert next_one.answer().status == 200
        next_one.send(body)
        assert next_one.answer().status == 200
        assert first.answer().status == 200
        eventually(lambda: server.metrics()["mlrf_open_connections"] <= open_before)


def test_without_a_cache_nothing_is_answered_again(tmp_path):
    with serving(write_tree_bundle(tmp_path / "a"), options=["--cache", "0"]) as server:
        body = {"features": EXAMPLE}
        assert [server.ask("POST", "/predict", body).json["cached"] for _ in range(4)] == [False] * 4
        metrics = server.metrics()
        assert [metrics[f"mlrf_cache_{name}"] for name in ("hits_total", "misses_total", "bytes")] == [0, 0, 0]
