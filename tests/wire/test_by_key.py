"""Predictions by key over real sockets, from a store that is written while it serves; every answer is compared with the model."""

from __future__ import annotations

import json
import math
import random

import pytest

import mlrf
from bundles import ALL_KINDS, write_stump_bundle, write_tree_bundle
from contract_validation import validator
from raw_http import Client, request
from running import serving

KEY = {"shop": "string", "sku": "integer", "day": "date", "open": "boolean"}
EXAMPLE = ALL_KINDS.example()
NAMES = list(EXAMPLE)


def key(sku=1, **rest):
    return {"shop": "a", "sku": sku, "day": "2026-01-31", "open": True} | rest


def row(sku=1, as_of="2026-02-01T00:00:00Z", fields=None, **features):
    return {"key": key(sku) | (fields or {}), "features": EXAMPLE | features, "as_of": as_of}


ROWS = [
    row(1),
    row(2, price=7.25, store=None, code=None),
    row(3, as_of=None),
    row(4, as_of="2020-01-01T00:00:00.5+01:00", count=-2),
    row(5, price=0.5, fields={"shop": "b\0ü"}),
    row(6, price=1e300, size=None),
]


class LoadedModel:
    """A server of models by key, its model in this process, and the admin socket."""

    def __init__(self, server, admin_path, models):
        self.server = server
        self.admin_path = admin_path
        self.models = models

    def ask(self, body, path="/predict"):
        return self.server.ask("POST", path, body)

    def push(self, rows, name="trees", **members):
        with Client(self.admin_path) as admin:
            return admin.ask("POST", f"/admin/models/{name}/features", {"rows": rows, **members})

    def expected(self, features, name="trees"):
        return float(self.models[name].predict([features])[0])


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("by-key")
    paths = [
        write_tree_bundle(folder / "trees", name="trees", key=KEY),
        write_stump_bundle(folder / "stumps", name="stumps", key={"id": "integer", "price": "integer"}),
        write_stump_bundle(folder / "plain", name="plain"),
    ]
    options = ["--state-dir", str(folder / "state"), "--admin", f"unix:{folder / 'admin.sock'}"]
    with serving(*paths, workers=2, options=options) as server:
        yield LoadedModel(server, folder / "admin.sock", {path.name: mlrf.load(path) for path in paths})


@pytest.fixture
def served(running):
    before, pids = len(running.server.lines), running.server.workers()
    assert running.push(ROWS).status == 200
    yield running
    assert running.server.workers() == pids
    assert [entry for entry in running.server.log[before:] if entry["level"] not in ("info", "debug")] == []


@pytest.mark.parametrize("row", ROWS, ids=lambda each: str(each["key"]["sku"]))
def test_an_answer_by_key_is_the_answer_to_the_row(served, row):
    by_key = served.ask({"key": row["key"]}).json
    given = served.ask({"features": row["features"]}).json
    assert by_key["prediction"] == given["prediction"] == served.expected(row["features"])
    as_of = {"2020-01-01T00:00:00.5+01:00": "2019-12-31T23:00:00.500000Z"}.get(row["as_of"], row["as_of"])
    assert by_key == given | {"features_as_of": as_of}


def test_field_order_and_parser_do_not_change_the_answer(served):
    fields = list(key().items())
    orders = [dict(random.Random(n).sample(fields, len(fields))) for n in range(5)]
    spelled = [json.dumps({"key": each}).encode() for each in orders]
    spelled.append(b'{"key": {"shop": "\\u0061", "sku": 1.0, "day": "2026-01-31", "open": true}}')
    spelled += [body + b" " * (300 << 10) for body in spelled[:2]]
    assert len({served.ask(body).body for body in spelled}) == 1


def test_overrides_replace_stored_values(served):
    changed = {"price": 0.25, "store": "north", "promo": False, "count": None}
    answer = served.ask({"key": key(2), "overrides": changed, "return_features": True}).json
    features = ROWS[1]["features"] | changed
    assert answer["prediction"] == served.expected(features)
    assert answer["features"] == features
    assert list(answer["features"]) == NAMES
    # The stored row is as it was.
    assert served.ask({"key": key(2), "return_features": True}).json["features"] == ROWS[1]["features"]


def test_return_features_gives_the_values_the_model_used(served):
    answer = served.ask({"features": [1, 2.0, True, 1, None, 7, 0], "return_features": True}).json
    assert answer["features"] == dict(zip(NAMES, [1.0, 2, True, "süd", None, 7, 0.0], strict=True))
    assert "features_as_of" not in answer


def test_an_explanation_by_key_is_that_of_the_row(served):
    for path, body in (("/explain", {"key": key(2)}), ("/predict", {"key": key(2), "explain": True})):
        explanation = served.ask(body, path).json["explanation"]
        assert explanation == served.ask({"features": ROWS[1]["features"]}, "/explain").json["explanation"]
        assert explanation["source"] == "live"


def test_a_batch_mixes_keys_and_features(served):
    instances = [
        {"key": key(1)},
        {"features": ROWS[3]["features"], "explain": 2},
        {"key": key(3), "overrides": {"price": 3}, "return_features": True},
        {"key": key(4), "explain": True, "stale_features": "flag", "max_feature_age": 10},
    ]
    answer = served.ask({"instances": instances}, "/predict/batch").json
    singles = [served.ask(instance).json for instance in instances]
    assert answer["predictions"] == [single["prediction"] for single in singles]
    assert answer["features_as_of"] == [single.get("features_as_of") for single in singles]
    assert answer["features"] == [single.get("features") for single in singles]
    assert answer["features_stale"] == [False, False, False, True] == ["features_stale" in s for s in singles]
    for alone, together in zip(singles, answer["explanations"], strict=True):
        expected = alone.get("explanation")
        assert (together is None) == (expected is None)
        if together is not None:
            assert together["contributions"] == pytest.approx(expected["contributions"], rel=1e-9)
            assert (together["margin"], together["base"]) == (expected["margin"], expected["base"])


def test_batch_answered_off_the_event_loop_is_the_same(served):
    batch = {"instances": [{"key": key(1 + n % 5, **({"shop": "b\0ü"} if n % 5 == 4 else {}))} for n in range(90)]}
    short = served.ask(batch, "/predict/batch").json
    long = served.ask(json.dumps(batch).encode() + b" " * (300 << 10), "/predict/batch").json
    assert long == short
    off_loop = served.ask(batch | {"explain": True}, "/predict/batch").json
    assert off_loop["predictions"] == short["predictions"]
    assert off_loop["features_as_of"] == short["features_as_of"]
    assert {each["source"] for each in off_loop["explanations"]} == {"live"}


BAD = {
    # name: (body, status, code, members of details)
    "no such row": ({"key": key(99)}, 404, "KEY_NOT_FOUND", {"key": dict(sorted(key(99).items()))}),
    "no such date": ({"key": key(day="2026-02-30")}, 422, "INVALID_KEY", {"field": "day", "value": "2026-02-30"}),
    "a date with a time": ({"key": key(day="2026-01-31T00:00:00")}, 422, "INVALID_KEY", {"field": "day"}),
    "a date as weeks": ({"key": key(day="2026-W05-6")}, 422, "INVALID_KEY", {"field": "day"}),
    "54 for a string": ({"key": key(shop=54)}, 422, "INVALID_KEY", {"field": "shop", "expected": "a string"}),
    "a string for 54": ({"key": key(sku="1")}, 422, "INVALID_KEY", {"field": "sku"}),
    "a fraction": ({"key": key(sku=1.5)}, 422, "INVALID_KEY", {"field": "sku"}),
    "true for 1": ({"key": key(sku=True)}, 422, "INVALID_KEY", {"field": "sku"}),
    "1 for true": ({"key": key(open=1)}, 422, "INVALID_KEY", {"field": "open"}),
    "outside 64 bits": ({"key": key(sku=1 << 63)}, 422, "INVALID_KEY", {"field": "sku"}),
    "beyond float64": (b'{"key": {"sku": 1e999}}', 422, "INVALID_KEY", {"field": "sku"}),
    "null in a key": ({"key": key(sku=None)}, 422, "INVALID_KEY", {"field": "sku", "value": None}),
    "an array in a key": ({"key": key(sku=[1])}, 422, "INVALID_KEY", {"field": "sku"}),
    "a field too few": ({"key": {"sku": 1}}, 422, "INVALID_KEY", {"missing": ["day", "open", "shop"]}),
    "a field too many": ({"key": key(colour=1)}, 422, "INVALID_KEY", {"unknown": ["colour"]}),
    "an empty key": ({"key": {}}, 422, "INVALID_KEY", {"field": "day"}),
    "a key that is not an object": ({"key": [1]}, 422, "INVALID_KEY", {"expected": "object"}),
    "a key that is null": ({"key": None}, 422, "INVALID_KEY", {"expected": "object"}),
    "a key too long": ({"key": key(shop="x" * 600)}, 422, "INVALID_KEY", {"max_bytes": 511}),
    "key and features": ({"key": key(), "features": EXAMPLE}, 422, "INVALID_REQUEST", {"field": "features"}),
    "overrides without a key": ({"features": EXAMPLE, "overrides": {}}, 422, "INVALID_REQUEST", {"field": "overrides"}),
    "overrides alone": ({"overrides": {}}, 422, "INVALID_REQUEST", {"field": "overrides"}),
    "overrides in an array": ({"key": key(), "overrides": [1]}, 422, "INVALID_REQUEST", {"expected": "object"}),
    "an unknown override": ({"key": key(), "overrides": {"x": 1}}, 422, "UNKNOWN_FEATURE", {"feature": "x"}),
    "an override of a wrong type": (
        {"key": key(), "overrides": {"price": "1"}},
        422,
        "INVALID_FEATURE",
        {"feature": "price", "value": "1"},
    ),
    "an override in no list": (
        {"key": key(), "overrides": {"store": "west"}},
        422,
        "UNKNOWN_CATEGORY",
        {"feature": "store", "value": "west"},
    ),
    "an override that may not be null": (
        {"key": key(), "overrides": {"depth": None}},
        422,
        "INVALID_FEATURE",
        {"feature": "depth"},
    ),
    "return_features 1": ({"key": key(), "return_features": 1}, 422, "INVALID_REQUEST", {"field": "return_features"}),
    "no age": ({"key": key(), "max_feature_age": 0}, 422, "INVALID_REQUEST", {"field": "max_feature_age"}),
    "an age in words": ({"key": key(), "max_feature_age": "1d"}, 422, "INVALID_REQUEST", {"field": "max_feature_age"}),
    "stale_features unknown": (
        {"key": key(), "stale_features": 1},
        422,
        "INVALID_REQUEST",
        {"field": "stale_features"},
    ),
    "too old": (
        {"key": key(4), "max_feature_age": 3600},
        422,
        "STALE_FEATURES",
        {"features_as_of": "2019-12-31T23:00:00.500000Z", "max_age_s": 3600.0},
    ),
    "of unknown age": ({"key": key(3), "max_feature_age": 1e9}, 422, "STALE_FEATURES", {"features_as_of": None}),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_named(served, name):
    body, status, code, details = BAD[name]
    answer = served.ask(body)
    assert (answer.status, answer.code) == (status, code), answer.body
    assert answer.json["details"] | details == answer.json["details"]
    assert len(answer.body) < 1500
    if isinstance(body, bytes):
        return
    batch = served.ask({"instances": [{"key": key()}, {"features": EXAMPLE}, body]}, "/predict/batch")
    assert (batch.status, batch.code) == (status, code)
    assert batch.json["details"] == answer.json["details"] | {"index": 2} | ages(batch)
    assert batch.json["error"].startswith("instance 2: ")


def ages(answer):
    """The one detail that grows between two questions."""
    details = answer.json["details"]
    return {"age_s": details["age_s"]} if "age_s" in details else {}


def test_model_without_rows_says_so(served):
    answer = served.ask({"key": {"id": 1}}, "/models/plain/predict")
    assert (answer.status, answer.code) == (422, "NOT_KEYED")
    assert "--key" in answer.json["error"]
    batch = served.ask({"instances": [{"key": {"id": 1}}]}, "/models/plain/predict/batch")
    assert (batch.code, batch.json["details"]) == ("NOT_KEYED", {"index": 0})


def test_the_age_of_a_row_is_judged_as_the_request_says(served):
    assert served.ask({"key": key(4), "max_feature_age": 1e12}).status == 200
    flagged = served.ask({"key": key(4), "max_feature_age": 1, "stale_features": "flag"}).json
    assert flagged["features_stale"] is True
    assert flagged["prediction"] == served.expected(ROWS[3]["features"])
    instances = {"instances": [{"key": key(4), "stale_features": "flag"}, {"key": key(4), "max_feature_age": 5}]}
    refused = served.ask(instances | {"max_feature_age": 100}, "/predict/batch")
    assert (refused.code, refused.json["details"]["index"]) == ("STALE_FEATURES", 1)
    assert refused.json["details"]["max_age_s"] == 5
    answered = served.ask(instances | {"stale_features": "flag"}, "/predict/batch").json
    assert answered["features_stale"] == [False, True]


def test_row_without_a_feature_is_refused_unless_overridden(served):
    lacking = {"key": key(50), "features": {n: v for n, v in EXAMPLE.items() if n not in ("count", "size")}}
    assert served.push([lacking]).json["details"] == {"index": 0, "feature": "count", "missing": ["count", "size"]}
    assert served.push([lacking], partial=True).status == 200
    refused = served.ask({"key": key(50)})
    assert (refused.status, refused.code) == (422, "MISSING_FEATURE")
    assert refused.json["details"]["missing"] == ["count", "size"]
    half = served.ask({"key": key(50), "overrides": {"size": 20}})
    assert half.json["details"]["missing"] == ["count"]
    whole = served.ask({"key": key(50), "overrides": {"size": 20, "count": None}}).json
    assert whole["prediction"] == served.expected(EXAMPLE | {"count": None})


def test_a_field_of_the_key_may_be_a_feature(served):
    features = {n: v for n, v in EXAMPLE.items() if n != "price"}
    pushed = served.push([{"key": {"id": 1, "price": 3}, "features": features}], "stumps")
    assert pushed.status == 200, pushed.body
    answer = served.ask({"key": {"price": 3, "id": 1}, "return_features": True}, "/models/stumps/predict").json
    assert answer["features"] == EXAMPLE | {"price": 3.0}
    assert answer["prediction"] == served.expected(EXAMPLE | {"price": 3}, "stumps")


def test_a_push_is_seen_by_every_worker_and_changes_no_version(served):
    with Client(served.server.port) as one:
        version = one.ask("POST", "/predict", {"key": key()}).json["version"]
    for price in range(20):
        assert served.push([row(1, price=float(price)), row(7, price=-float(price))]).json["written"] == 2
        # Separate connections, so that both workers are reached.
        answers = [served.ask({"key": key(), "return_features": True}).json for _ in range(6)]
        assert {answer["features"]["price"] for answer in answers} == {float(price)}
        assert {answer["version"] for answer in answers} == {version}
        assert {answer["prediction"] for answer in answers} == {served.expected(EXAMPLE | {"price": price})}


def test_a_push_of_older_rows_leaves_the_newer_ones(served):
    answer = served.push([row(1, as_of="2025-01-01", price=99.0), row(8)]).json
    assert (answer["model"], answer["written"], answer["older"]) == ("trees", 1, 1)
    assert served.ask({"key": key(), "return_features": True}).json["features"]["price"] == EXAMPLE["price"]


BAD_PUSHES = {
    "no rows": ({}, "INVALID_REQUEST", {"field": "rows"}),
    "rows that are none": ({"rows": {}}, "INVALID_REQUEST", {"field": "rows"}),
    "not one row": ({"rows": []}, "INVALID_REQUEST", {"field": "rows"}),
    "an unknown member": ({"rows": [row()], "x": 1}, "INVALID_REQUEST", {"field": "x"}),
    "partial 1": ({"rows": [row()], "partial": 1}, "INVALID_REQUEST", {"field": "partial"}),
    "a row that is none": ({"rows": [row(), 1]}, "INVALID_REQUEST", {"index": 1}),
    "no key": ({"rows": [row(), {"features": EXAMPLE}]}, "INVALID_KEY", {"index": 1}),
    "a wrong key": ({"rows": [{"key": {"sku": 1}, "features": EXAMPLE}]}, "INVALID_KEY", {"index": 0, "field": "day"}),
    "no features": ({"rows": [row(), {"key": key()}]}, "INVALID_REQUEST", {"index": 1, "field": "features"}),
    "a wrong type": ({"rows": [row(), row(price="x")]}, "INVALID_FEATURE", {"index": 1, "feature": "price"}),
    "an unknown feature": ({"rows": [row(), row(x=1)]}, "UNKNOWN_FEATURE", {"index": 1, "feature": "x"}),
    "an unknown category": ({"rows": [row(), row(store="w")]}, "UNKNOWN_CATEGORY", {"index": 1, "feature": "store"}),
    "no time": ({"rows": [row(as_of="yesterday")]}, "INVALID_REQUEST", {"index": 0, "field": "as_of"}),
    "a huge number": (
        json.dumps({"rows": [row(price=1234.5)]}).replace("1234.5", "1e999").encode(),
        "INVALID_FEATURE",
        {"index": 0, "feature": "price", "value": "inf"},
    ),
}


@pytest.mark.parametrize("name", BAD_PUSHES)
def test_invalid_push_is_refused_entirely(served, name):
    body, code, details = BAD_PUSHES[name]
    with Client(served.admin_path) as admin:
        before = admin.ask("GET", "/admin/models/trees/features").json
        answer = admin.ask("POST", "/admin/models/trees/features", body)
        assert (answer.status, answer.code) == (422, code), answer.body
        assert answer.json["details"] | details == answer.json["details"]
        assert admin.ask("GET", "/admin/models/trees/features").json == before


def test_a_push_is_an_operators_alone_and_bounded(served):
    assert served.server.ask("POST", "/admin/models/trees/features", {"rows": [row()]}).status == 404
    with Client(served.admin_path) as admin:
        assert admin.ask("POST", "/admin/models/plain/features", {"rows": []}).code == "NOT_KEYED"
        assert admin.ask("POST", "/admin/models/none/features", {"rows": []}).status == 404
        admin.send(request("POST", "/admin/models/trees/features", b"", ["Content-Length: 9999999999"]))
        assert admin.answer().status == 413


def test_look_ups_are_counted(served):
    before = served.server.metrics()
    served.ask({"instances": [{"key": key(1)}, {"key": key(2)}, {"features": EXAMPLE}]}, "/predict/batch")
    served.ask({"instances": [{"key": key(1)}, {"key": key(77)}]}, "/predict/batch")
    served.ask({"key": key(78)})
    after = served.server.metrics()
    grown = {name: after[f"mlrf_feature_{name}_total"] - before[f"mlrf_feature_{name}_total"] for name in
             ("lookups", "misses", "store_errors", "age_seconds")}  # fmt: skip
    assert (grown["lookups"], grown["misses"], grown["store_errors"]) == (5, 2, 0)
    assert grown["age_seconds"] > 3600


def test_readiness_and_models_describe_keys(served):
    assert served.server.ask("GET", "/readyz").json == {
        "status": "ready",
        "by_key": {"trees": "ready", "stumps": "ready"},
    }
    keys = {model["name"]: model["key"] for model in served.server.ask("GET", "/models").json["models"]}
    assert keys == {"trees": dict(KEY.items()), "stumps": {"id": "integer", "price": "integer"}, "plain": None}


def test_answers_by_key_are_those_of_the_contract(served):
    document = served.server.ask("GET", "/openapi.json").json
    bodies = {
        "/predict": {"key": key(4), "max_feature_age": 1, "stale_features": "flag", "return_features": True},
        "/explain": {"key": key(2), "overrides": {"price": None}},
        "/predict/batch": {
            "instances": [{"key": key(1), "explain": 1}, {"features": EXAMPLE, "return_features": True}],
            "max_feature_age": 1e12,
        },
    }
    for path, body in bodies.items():
        contract = document["paths"][path]["post"]
        validator(document, contract["requestBody"]["content"]["application/json"]["schema"]).validate(body)
        answer = served.ask(body, path)
        assert answer.status == 200, answer.body
        validator(document, contract["responses"]["200"]["content"]["application/json"]["schema"]).validate(answer.json)
    instance = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    for wrong in ({"key": {"sku": 1}}, {"key": key(), "features": EXAMPLE}, {"overrides": {}}):
        assert not validator(document, instance).is_valid(wrong)


def test_a_restarted_server_finds_what_was_pushed(tmp_path):
    path = write_tree_bundle(tmp_path / "b", key={"id": "integer"})
    options = ["--state-dir", str(tmp_path / "state"), "--admin", f"unix:{tmp_path / 'a'}"]
    for n in range(2):
        with serving(path, options=options) as server:
            if n == 0:
                with Client(tmp_path / "a") as admin:
                    body = {"rows": [{"key": {"id": 5}, "features": EXAMPLE}]}
                    assert admin.ask("POST", "/admin/models/sample/features", body).status == 200
            answer = server.ask("POST", "/predict", {"key": {"id": 5}})
            assert (answer.status, answer.json["features_as_of"]) == (200, None)
            assert math.isfinite(answer.json["prediction"])
