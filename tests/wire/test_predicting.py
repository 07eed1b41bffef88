"""Answers and refusals of the prediction routes, over real sockets."""

from __future__ import annotations

import itertools
import json
import math
import random
import struct
import zlib

import pytest
from openapi_spec_validator import validate

from bundles import ALL_KINDS, NUMBERS, margins_of
from contract_validation import validator
from mlrf.core.errors import UnknownCategoryError
from mlrf.core.leniency import Leniency
from mlrf.serving.error_status import TABLE
from running import cpu_ns, serving

EXAMPLE = ALL_KINDS.example()
NAMES = list(EXAMPLE)


def with_value(name: str, literal: str) -> bytes:
    """A body whose named feature holds this JSON text."""
    members = {key: json.dumps(value) for key, value in EXAMPLE.items()} | {name: literal}
    return ('{"features": {' + ", ".join(f'"{key}": {value}' for key, value in members.items()) + "}}").encode()


def without(name: str) -> dict:
    return {"features": {key: value for key, value in EXAMPLE.items() if key != name}}


DEEP = "[" * 10**6 + "]" * 10**6
DEEP_OBJECT = '{"a":' * 10**6 + "1" + "}" * 10**6
DIGITS = "1" * 10**6

BAD = {
    # name: (body, status, code, a member of details and its value)
    "empty body": (b"", 400, "MALFORMED_REQUEST", {}),
    "blank body": (b" \r\n\t ", 400, "MALFORMED_REQUEST", {}),
    "not JSON": (b"price=9.5", 400, "MALFORMED_REQUEST", {"byte": 0}),
    "cut short": (b'{"features": {"price": 1', 400, "MALFORMED_REQUEST", {}),
    "two documents": (b"{} {}", 400, "MALFORMED_REQUEST", {}),
    "not UTF-8": (b'{"features": {"price": "\xff"}}', 400, "MALFORMED_REQUEST", {}),
    "UTF-16": ('{"features": {}}'.encode("utf-16"), 400, "MALFORMED_REQUEST", {}),
    "a byte order mark": (b"\xef\xbb\xbf{}", 400, "MALFORMED_REQUEST", {}),
    "a NUL": (b"\0", 400, "MALFORMED_REQUEST", {}),
    "null": (b"null", 422, "INVALID_REQUEST", {"expected": "object"}),
    "an array": (b"[]", 422, "FEATURE_COUNT", {"expected": 7, "got": 0}),
    "a number": (b"1", 422, "INVALID_REQUEST", {}),
    "a huge number": (b"1e999", 422, "INVALID_REQUEST", {}),
    "a string": (b'"x"', 422, "INVALID_REQUEST", {}),
    "no features": (b"{}", 422, "INVALID_REQUEST", {"field": "features"}),
    "an unknown member": (b'{"features": {}, "extra": 1}', 422, "INVALID_REQUEST", {"field": "extra"}),
    "features null": (b'{"features": null}', 422, "INVALID_REQUEST", {}),
    "features a number": (b'{"features": 3}', 422, "INVALID_REQUEST", {}),
    "features a huge number": (b'{"features": 1e999}', 422, "INVALID_REQUEST", {}),
    "features a string": (b'{"features": "x"}', 422, "INVALID_REQUEST", {}),
    "features a lone surrogate": (b'{"features": "\\ud800"}', 400, "MALFORMED_REQUEST", {}),
    "missing feature": (without("count"), 422, "MISSING_FEATURE", {"feature": "count"}),
    "no feature at all": ({"features": {}}, 422, "MISSING_FEATURE", {"feature": "price", "missing": NAMES}),
    "unknown feature": ({"features": EXAMPLE | {"colour": 1}}, 422, "UNKNOWN_FEATURE", {"feature": "colour"}),
    "too many values": ({"features": [1] * 8}, 422, "FEATURE_COUNT", {"expected": 7, "got": 8}),
    "too few values": ({"features": [1] * 6}, 422, "FEATURE_COUNT", {"expected": 7, "got": 6}),
    "no values": ({"features": []}, 422, "FEATURE_COUNT", {"got": 0}),
    "NaN by position": (b'{"features": [1, 2, true, NaN, 1, 7, 0]}', 400, "MALFORMED_REQUEST", {"field": "store"}),
    "NaN first by position": (b'{"features":[NaN,2]}', 400, "MALFORMED_REQUEST", {"field": "price", "byte": 13}),
    "NaN behind a string": (b'{"features": ["a,\\",b", -Infinity]}', 400, "MALFORMED_REQUEST", {"field": "count"}),
    "NaN beyond the features": (
        b'{"features": [1,1,1,1,1,1,1,NaN]}',
        400,
        "MALFORMED_REQUEST",
        {"field": "features", "byte": 28},
    ),
    "a lone surrogate behind a good name": (
        b'{"features": {"price": 1, "\\ud800": 1}}',
        400,
        "MALFORMED_REQUEST",
        {"field": "price", "byte": 33},
    ),
    "a lone surrogate": (with_value("store", '"\\uD83D"'), 400, "MALFORMED_REQUEST", {"field": "store"}),
    "a lone surrogate behind a pair": (
        with_value("store", '"\\\\ud800\\ud83d\\ude00\\udbff"'),
        400,
        "MALFORMED_REQUEST",
        {"field": "store"},
    ),
    "NaN": (with_value("price", "NaN"), 400, "MALFORMED_REQUEST", {"field": "price"}),
    "-NaN": (with_value("price", "-NaN"), 400, "MALFORMED_REQUEST", {"field": "price"}),
    "Infinity": (with_value("price", "Infinity"), 400, "MALFORMED_REQUEST", {"field": "price"}),
    "-Infinity": (with_value("price", "-Infinity"), 400, "MALFORMED_REQUEST", {"field": "price"}),
    "1e999": (with_value("price", "1e999"), 422, "INVALID_FEATURE", {"feature": "price"}),
    "-1e999": (with_value("price", "-1e999"), 422, "INVALID_FEATURE", {"feature": "price"}),
    "1e999 for an integer": (with_value("count", "1e999"), 422, "INVALID_FEATURE", {"feature": "count"}),
    "1e999 for a category": (with_value("store", "1e999"), 422, "INVALID_FEATURE", {"feature": "store"}),
    "1e999 in an unknown feature": (with_value("colour", "1e999"), 422, "UNKNOWN_FEATURE", {"feature": "colour"}),
    "1e999 by position": (b'{"features": [1e999, 1, true, 0, 0, 0, 1]}', 422, "INVALID_FEATURE", {"feature": "price"}),
    "a million digits": (with_value("price", DIGITS), 422, "INVALID_FEATURE", {"feature": "price"}),
    "a million digits for an integer": (with_value("count", DIGITS), 422, "INVALID_FEATURE", {"feature": "count"}),
    "a million digits by position": (f'{{"features": [{DIGITS}]}}'.encode(), 422, "FEATURE_COUNT", {}),
    "a million digits for no feature": (with_value("colour", DIGITS), 422, "UNKNOWN_FEATURE", {"feature": "colour"}),
    "a million digits of a fraction": (
        with_value("count", "0." + DIGITS),
        422,
        "INVALID_FEATURE",
        {"feature": "count"},
    ),
    "a string for a number": (
        with_value("price", '"9.5"'),
        422,
        "INVALID_FEATURE",
        {"feature": "price", "value": "9.5"},
    ),
    "true for a number": (with_value("price", "true"), 422, "INVALID_FEATURE", {"feature": "price", "value": True}),
    "an array for a number": (with_value("price", "[1]"), 422, "INVALID_FEATURE", {"feature": "price"}),
    "an object for a number": (with_value("price", "{}"), 422, "INVALID_FEATURE", {"feature": "price"}),
    "a fraction for an integer": (
        with_value("count", "1.5"),
        422,
        "INVALID_FEATURE",
        {"feature": "count", "value": 1.5},
    ),
    "2 for a boolean": (with_value("promo", "2"), 422, "INVALID_FEATURE", {"feature": "promo", "value": 2}),
    "null where none may be": (
        with_value("depth", "null"),
        422,
        "INVALID_FEATURE",
        {"feature": "depth", "value": None},
    ),
    "an unknown category": (
        with_value("store", '"west"'),
        422,
        "UNKNOWN_CATEGORY",
        {"feature": "store", "value": "west"},
    ),
    "an unknown number of a category": (
        with_value("size", "11"),
        422,
        "UNKNOWN_CATEGORY",
        {"feature": "size", "value": 11},
    ),
    "a code for a name": (with_value("store", "1"), 422, "UNKNOWN_CATEGORY", {"feature": "store", "value": 1}),
    "a boolean for a category": (
        with_value("size", "true"),
        422,
        "UNKNOWN_CATEGORY",
        {"feature": "size", "value": True},
    ),
    "a wrong name for a code": (
        {"features": [1, 1, True, "sud", 0, 0, 1]},
        422,
        "UNKNOWN_CATEGORY",
        {"feature": "store", "value": "sud"},
    ),
    "a code past the list": (
        {"features": [1, 1, True, 3, 0, 0, 1]},
        422,
        "UNKNOWN_CATEGORY",
        {"feature": "store", "value": 3},
    ),
    "a code below the list": ({"features": [1, 1, True, -1, 0, 0, 1]}, 422, "UNKNOWN_CATEGORY", {"feature": "store"}),
    "a fraction for an open code": (with_value("code", "0.5"), 422, "INVALID_FEATURE", {"feature": "code"}),
    "a lone surrogate for a category": (with_value("store", '"\\ud800"'), 400, "MALFORMED_REQUEST", {}),
    "a lone surrogate for a number": (with_value("price", '"\\udfff"'), 400, "MALFORMED_REQUEST", {}),
    "a lone surrogate in a name": (with_value("\\ud800", "1"), 400, "MALFORMED_REQUEST", {}),
    "a lone surrogate in an unknown feature": (with_value("colour", '"\\ud800"'), 400, "MALFORMED_REQUEST", {}),
    "a lone surrogate in a member's name": (b'{"\\ud800": 1}', 400, "MALFORMED_REQUEST", {}),
    "a lone surrogate in a member": (
        b'{"features": {}, "unknown_categories": "\\ud800"}',
        400,
        "MALFORMED_REQUEST",
        {},
    ),
    "surrogates the wrong way round": (with_value("store", '"\\udc00\\ud800"'), 400, "MALFORMED_REQUEST", {}),
    "a bad escape": (with_value("store", '"\\x41"'), 400, "MALFORMED_REQUEST", {}),
    "a control character in a string": (with_value("store", '"\x01"'), 400, "MALFORMED_REQUEST", {}),
    "deep nesting": (DEEP.encode(), 400, "MALFORMED_REQUEST", {}),
    "deep nesting cut short": (b"[" * 10**6, 400, "MALFORMED_REQUEST", {}),
    "deep nesting of objects": (DEEP_OBJECT.encode(), 400, "MALFORMED_REQUEST", {}),
    "deep nesting for features": (f'{{"features": {DEEP}}}'.encode(), 400, "MALFORMED_REQUEST", {}),
    "deep nesting in a feature": (with_value("price", DEEP), 400, "MALFORMED_REQUEST", {}),
    "deep nesting in an unknown feature": (with_value("colour", DEEP_OBJECT), 400, "MALFORMED_REQUEST", {}),
    "deep nesting in an unknown member": (f'{{"features": [], "x": {DEEP}}}'.encode(), 400, "MALFORMED_REQUEST", {}),
    "deep nesting in an option": (
        f'{{"features": [], "unknown_categories": {DEEP}}}'.encode(),
        400,
        "MALFORMED_REQUEST",
        {},
    ),
    "an unknown option": (
        {"features": EXAMPLE, "unknown_categories": "guess"},
        422,
        "INVALID_REQUEST",
        {"field": "unknown_categories"},
    ),
    "an option of the wrong type": (
        {"features": EXAMPLE, "unknown_categories": 1},
        422,
        "INVALID_REQUEST",
        {"field": "unknown_categories"},
    ),
    "a huge number for an option": (
        b'{"features": [], "unknown_categories": 1e999}',
        422,
        "INVALID_REQUEST",
        {"field": "unknown_categories"},
    ),
}

BAD_BATCHES = {
    "empty batch": ({"instances": []}, 422, "EMPTY_BATCH", {"instances": 0}),
    "101 instances": (
        {"instances": [{"features": EXAMPLE}] * 101},
        413,
        "BATCH_TOO_LARGE",
        {"instances": 101, "max_instances": 100},
    ),
    "101 instances of nothing": ({"instances": [None] * 101}, 413, "BATCH_TOO_LARGE", {"instances": 101}),
    "no instances": ({}, 422, "INVALID_REQUEST", {"field": "instances"}),
    "instances an object": ({"instances": {}}, 422, "INVALID_REQUEST", {"field": "instances"}),
    "an instance null": ({"instances": [{"features": EXAMPLE}, None]}, 422, "INVALID_REQUEST", {"index": 1}),
    "an instance of numbers": ({"instances": [[1, 2]]}, 422, "FEATURE_COUNT", {"index": 0}),
    "an unknown member": ({"instances": [{"features": EXAMPLE}], "x": 1}, 422, "INVALID_REQUEST", {"field": "x"}),
    "a missing feature": (
        {"instances": [{"features": EXAMPLE}, without("size")]},
        422,
        "MISSING_FEATURE",
        {"index": 1, "feature": "size"},
    ),
    "empty body": (b"", 400, "MALFORMED_REQUEST", {}),
    "deep nesting": (f'{{"instances": {DEEP}}}'.encode(), 400, "MALFORMED_REQUEST", {}),
    "a lone surrogate": (b'{"instances": [{"\\ud800": 1}]}', 400, "MALFORMED_REQUEST", {}),
    "a huge number": (b'{"instances": 1e999}', 422, "INVALID_REQUEST", {"field": "instances"}),
    "a huge number for an instance": (b'{"instances": [1e999]}', 422, "INVALID_REQUEST", {"index": 0}),
}


def assert_refused(server, path, case):
    body, status, code, details = case
    answer = server.ask("POST", path, body)
    assert (answer.status, answer.code) == (status, code), answer.json
    document = answer.json
    assert set(document) == {"error", "code", "details", "request_id"}
    assert document["request_id"] == answer.headers["x-request-id"]
    assert document["details"] | details == document["details"], document
    assert 10 < len(document["error"]) < 1500, "a sentence for a person, of a bounded length"
    if "feature" in details:
        assert details["feature"] in document["error"]


@pytest.mark.parametrize("name", BAD)
def test_a_bad_instance_is_refused_by_field_and_reason(server, name):
    assert_refused(server, "/predict", BAD[name])


@pytest.mark.parametrize("name", BAD_BATCHES)
def test_a_bad_batch_is_refused_by_field_and_reason(server, name):
    assert_refused(server, "/predict/batch", BAD_BATCHES[name])


@pytest.mark.parametrize("name", [n for n in BAD if n != "features null"])
def test_a_bad_instance_in_a_batch_is_refused_with_its_index(server, name):
    body, status, code, details = BAD[name]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    if not content.strip() or name == "two documents":
        return
    good = json.dumps({"features": EXAMPLE}).encode()
    batch = b'{"instances": [' + good + b", " + content + b"]}"
    if status == 422:
        details = {"index": 1} | details
    elif "byte" in details:
        details = {}
    assert_refused(server, "/predict/batch", (batch, status, code, details))


DISTINCT = b",".join(b'"k%d":1' % i for i in range(600_000))
COSTLY = {name: body for name, (body, *_) in BAD.items() if "deep" in name or "digits" in name} | {
    "a name a million times": b'{"features": {' + b'"a":1,' * 10**6 + b'"a":1}}',
    "a million instances": b'{"instances": [' + b"{}," * 10**6 + b"{}]}",
    "600,000 names": b'{"features":{' + DISTINCT + b"}}",
    "600,000 names and features": b"{" + DISTINCT + b"}",
    "600,000 names in an instance": b'{"instances":[{"features":{' + DISTINCT + b"}}]}",
    "600,000 names an instance is made of": b'{"instances":[{' + DISTINCT + b"}]}",
    "600,000 names after all features": b'{"features":' + json.dumps(EXAMPLE).encode()[:-1] + b"," + DISTINCT + b"}}",
    "270,000 instances": b'{"instances":[' + b'{"features":[1,2,true,0,1,1]},' * 269_999 + b'{"features":[]}]}',
    "four million values": b'{"features":[' + b"1," * 4_000_000 + b"1]}",
    "four million instances": b'{"instances":[' + b"1," * 4_000_000 + b"1]}",
    "8 MB of digits": with_value("price", "1" * 8_000_000),
    "8 MB of digits of a fraction": with_value("price", "0." + "1" * 8_000_000),
    "8 MB of digits of an option": b'{"features":[],"explain":' + b"1" * 8_000_000 + b"}",
    "8 MB of a string": with_value("store", '"' + "\\n," * 2_600_000 + '"'),
    "60,000 numbers of 130 digits": b'{"features":[' + b",".join([b"0." + b"7" * 130] * 60_000) + b"]}",
}


@pytest.mark.timing
@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/models/exp/predict"])
def test_no_bad_body_costs_more_than_50_ms_of_processor_time(server, path):
    assert_cheap(server, path)


@pytest.fixture(scope="module")
def ignoring(bundles):
    with serving(*bundles, options=["--unknown-features", "ignore"]) as server:
        yield server


@pytest.mark.timing
@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_no_bad_body_costs_more_where_unknown_names_are_ignored(ignoring, path):
    assert_cheap(ignoring, path)


def assert_cheap(server, path):
    (worker,) = server.workers()
    with server.client() as client:
        for name, body in COSTLY.items():
            # The least of a few rounds: what else runs on the machine, a collector's pass among it, can only add.
            rounds_s = []
            for _ in range(4):
                before = cpu_ns(worker)
                assert client.ask("POST", path, body).status < 500
                rounds_s.append((cpu_ns(worker) - before) / 1e9)
            assert min(rounds_s) < 0.05, (name, rounds_s)


def test_what_is_ignored_has_its_bound(ignoring):
    instance = EXAMPLE | {f"k{i}": i for i in range(900)}
    for body in ({"features": instance}, {"features": instance | {"long": "x" * 300_000}}):
        assert ignoring.ask("POST", "/predict", body).json["prediction"] == margins_of(ALL_KINDS.row(EXAMPLE))[0]
        answer = ignoring.ask("POST", "/predict/batch", {"instances": [body, body]})
        assert answer.json["predictions"] == [margins_of(ALL_KINDS.row(EXAMPLE))[0]] * 2
    answer = ignoring.ask("POST", "/predict", {"features": EXAMPLE | {f"k{i}": "x" * 200 for i in range(2000)}})
    assert (answer.status, answer.code) == (422, "FEATURE_COUNT")
    assert answer.json["details"] == {"expected": 7, "got": 2007}


def test_long_bodies_are_answered_and_counted_as_short_ones_are(server):
    before = server.metrics()
    long = json.dumps({"features": EXAMPLE}).encode() + b" " * 300_000
    expected = margins_of(ALL_KINDS.row(EXAMPLE))[0]
    assert server.ask("POST", "/predict", long).json["prediction"] == expected
    whole = b'{"instances":[' + long + b"," + long + b"]}"
    assert server.ask("POST", "/predict/batch", whole).json["predictions"] == [expected] * 2
    wrong = whole.replace(b"9.5", b"null", 1).replace(b"9.5", b'"x"', 1)
    assert server.ask("POST", "/predict/batch", wrong).json["details"] == {
        "index": 1, "feature": "price", "value": "x", "expected": "a number",
    }  # fmt: skip
    after = server.metrics()
    assert after["mlrf_instances_total"] - before["mlrf_instances_total"] == 3


@pytest.mark.parametrize(
    "body", [{"features": EXAMPLE}, {"features": [9.5, 3, True, 1, 1, 7, 0.25]}], ids=["named", "positional"]
)
def test_an_instance_by_name_and_by_position_is_the_same(server, body):
    answer = server.ask("POST", "/predict", body).json
    assert answer["prediction"] == margins_of(ALL_KINDS.row(EXAMPLE))[0]
    assert set(answer) == {"prediction", "model", "version", "cached"}
    assert (answer["model"], len(answer["version"])) == ("sample", 12)


def test_missing_values_and_integral_floats_are_values(server):
    body = {"features": EXAMPLE | dict.fromkeys(NAMES[:-1]) | {"depth": 1}}
    assert server.ask("POST", "/predict", body).json["prediction"] == margins_of([math.nan] * 6 + [1.0])[0]
    body = {"features": EXAMPLE | {"count": 12.0, "size": 20.0, "code": 7.0}}
    assert server.ask("POST", "/predict", body).json["prediction"] == margins_of([9.5, 12, 1, 1, 1, 7, 0.25])[0]


def test_of_a_name_given_twice_the_last_wins(server):
    body = with_value("price", '"wrong", "price": 0')
    assert server.ask("POST", "/predict", body).json["prediction"] == margins_of([0, 3, 1, 1, 1, 7, 0.25])[0]


def test_an_unknown_category_may_be_taken_for_missing(server):
    body = {"features": EXAMPLE | {"store": "west"}, "unknown_categories": "missing"}
    expected = margins_of([9.5, 3, 1, math.nan, 1, 7, 0.25])[0]
    assert server.ask("POST", "/predict", body).json["prediction"] == expected
    assert server.ask("POST", "/predict/batch", {"instances": [body]}).json["predictions"] == [expected]
    whole = {"instances": [{"features": EXAMPLE | {"store": "west"}}], "unknown_categories": "missing"}
    assert server.ask("POST", "/predict/batch", whole).json["predictions"] == [expected]


def test_the_operator_may_let_unknown_names_and_categories_pass(strict):
    body = {"features": EXAMPLE | {"store": "west", "colour": "red"}}
    answer = strict.ask("POST", "/models/sample/predict", body).json
    assert answer["prediction"] == margins_of([9.5, 3, 1, math.nan, 1, 7, 0.25])[0]
    deep = with_value("colour", "[" * 1500 + "]" * 1500)
    assert strict.ask("POST", "/models/sample/predict", deep).status in (200, 400)


def test_the_default_model_is_the_first_or_the_one_named(server, strict):
    assert server.ask("POST", "/predict", {"features": EXAMPLE}).json["model"] == "sample"
    assert strict.ask("POST", "/predict", {"features": EXAMPLE}).json["model"] == "binary"
    assert server.ask("GET", "/models").json["default"] == "sample"
    assert strict.ask("GET", "/models").json["default"] == "binary"


def test_a_binary_model_answers_probability_and_label(server):
    for price, count in itertools.product((0.0, 1.0), (0, 9)):
        instance = EXAMPLE | {"price": price, "count": count, "size": 10, "code": 0, "store": "north"}
        margin = margins_of(ALL_KINDS.row(instance))[0]
        answer = server.ask("POST", "/models/binary/predict", {"features": instance}).json
        probability = 1 / (1 + math.exp(-margin))
        assert answer["prediction"] == probability
        assert answer["probabilities"] == [1 - probability, probability]
        assert answer["label"] == ("yes" if probability >= 0.5 else "no")


def test_a_multiclass_model_answers_a_probability_a_class(server):
    body = {"features": [0.9, 0.1, None]}
    margins = margins_of([0.9, 0.1, math.nan], 3)
    answer = server.ask("POST", "/models/three/predict", body).json
    powers = [math.exp(m - max(margins)) for m in margins]
    assert answer["prediction"] == pytest.approx([p / sum(powers) for p in powers], rel=1e-15)
    assert answer["probabilities"] == answer["prediction"]
    assert answer["label"] == "other"
    lowest = server.ask("POST", "/models/three/predict", {"features": [0, 0, 0]}).json
    assert lowest["label"] == 0, "of equal classes the first"
    batch = server.ask("POST", "/models/three/predict/batch", {"instances": [body, {"features": [0, 0, 0]}]}).json
    assert batch["labels"] == ["other", 0]
    assert batch["predictions"] == batch["probabilities"] == [answer["prediction"], lowest["prediction"]]


def test_a_result_that_is_not_finite_is_refused(server):
    answer = server.ask("POST", "/models/exp/predict", {"features": [1e7, 0, 0]})
    assert (answer.status, answer.code) == (422, "NON_FINITE_RESULT")
    batch = {"instances": [{"features": [0, 0, 0]}, {"features": {"x0": 1e7, "x1": 0, "x2": 0}}]}
    answer = server.ask("POST", "/models/exp/predict/batch", batch)
    assert (answer.status, answer.code, answer.json["details"]) == (422, "NON_FINITE_RESULT", {"index": 1})


@pytest.mark.parametrize("model", ["sample", "binary", "three", "exp"])
def test_a_batch_answers_as_its_instances_do_bit_for_bit(server, model):
    chance = random.Random(3)
    schema = ALL_KINDS if model in ("sample", "binary") else NUMBERS
    instances = [{"features": random_instance(schema, chance)} for _ in range(100)]
    singles = [server.ask("POST", f"/models/{model}/predict", each).json for each in instances]
    batch = server.ask("POST", f"/models/{model}/predict/batch", {"instances": instances}).json
    assert batch["predictions"] == [single["prediction"] for single in singles]
    if model in ("binary", "three"):
        assert batch["labels"] == [single["label"] for single in singles]
        assert batch["probabilities"] == [single["probabilities"] for single in singles]
    assert {batch["version"]} == {single["version"] for single in singles}


def random_instance(schema, chance):
    values = []
    for feature in schema.features:
        value = chance.choice((chance.uniform(-2, 2), chance.gauss(0, 100)))
        if feature.kind == "boolean":
            value = chance.random() < 0.5
        elif feature.categories is not None:
            value = chance.choice(feature.categories)
        elif feature.kind != "numeric":
            value = round(value)
        values.append(None if feature.nullable and chance.random() < 0.1 else value)
    return dict(zip(schema.names, values, strict=True))


@pytest.fixture(scope="module")
def contract(running):
    """The document of /openapi.json, which must itself be sound."""
    document = running.ask("GET", "/openapi.json").json
    validate(document)
    return document


def answers_as_described(contract, path, answer, method="post"):
    described = contract["paths"][path][method]["responses"][str(answer.status)]["content"]["application/json"][
        "schema"
    ]
    validator(contract, described).validate(answer.json)


def test_answers_are_what_the_contract_says(server, contract):
    for model in ("sample", "binary", "three", "exp"):
        schema = ALL_KINDS if model in ("sample", "binary") else NUMBERS
        body = {"features": schema.example()}
        for path, sent in (("predict", body), ("predict/batch", {"instances": [body, body]})):
            route = f"/models/{model}/{path}"
            described = contract["paths"][route]["post"]["requestBody"]["content"]["application/json"]
            for each in (sent, described["example"]):
                validator(contract, described["schema"]).validate(each)
                answer = server.ask("POST", route, each)
                assert answer.status == 200
                answers_as_described(contract, route, answer)
    for path in ("/models", "/healthz", "/readyz", "/openapi.json"):
        answers_as_described(contract, path, server.ask("GET", path), "get")


@pytest.mark.parametrize("name", BAD)
def test_refusals_are_what_the_contract_says(server, contract, name):
    answers_as_described(contract, "/predict", server.ask("POST", "/predict", BAD[name][0]))


@pytest.mark.parametrize("name", [n for n, (_, status, *_) in BAD.items() if status == 422])
def test_what_is_refused_as_invalid_the_contract_forbids_too(contract, name):
    body = BAD[name][0]
    try:
        instance = json.loads(body) if isinstance(body, bytes) else body
    except ValueError:
        return
    if any(big in name for big in ("1e999", "huge", "million")):
        return  # JSON Schema has no word for the range of float64
    described = contract["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert not validator(contract, described).is_valid(instance)


def test_the_contract_names_every_status_of_a_refusal(contract):
    stated = set(contract["paths"]["/predict"]["post"]["responses"])
    # 409 is what admin routes answer.
    assert {str(each.http) for each in TABLE.values()} - {"503", "409"} <= stated


def test_the_docs_page_works_without_an_internet(server):
    answer = server.ask("GET", "/docs")
    page = answer.body.decode()
    assert answer.headers["content-type"].startswith("text/html")
    assert "http://" not in page.replace("http://localhost", "")
    assert "https://" not in page
    assert "src=" not in page
    assert "@import" not in page
    assert "süd" in page
    assert 'type="password"' not in page
    assert server.ask("GET", "/").body == answer.body


def test_the_icon_that_browsers_ask_for_is_an_image(server):
    answer = server.ask("GET", "/favicon.ico")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/x-icon")
    kind, n, size, start = struct.unpack_from("<2xHH8xII", answer.body)
    assert (kind, n, start + size) == (1, 1, len(answer.body))
    png = answer.body[start:]
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    (length,) = struct.unpack_from(">I", png, 33)
    assert len(zlib.decompress(png[41 : 41 + length])) == 16 * (1 + 16 * 4)


def test_models_are_described_with_their_features(server):
    models = {model["name"]: model for model in server.ask("GET", "/models").json["models"]}
    assert list(models) == ["sample", "binary", "three", "exp"]
    features = models["sample"]["features"]
    assert [f["name"] for f in features] == list(ALL_KINDS.names)
    assert features[3] == {
        "name": "store",
        "kind": "categorical",
        "nullable": True,
        "categories": ["north", "süd", "east"],
    }
    assert models["three"]["classes"] == [0, 1, "other"]


def test_the_example_of_every_model_is_answered(server):
    for model in server.ask("GET", "/models").json["models"]:
        schema = ALL_KINDS if model["name"] in ("sample", "binary") else NUMBERS
        assert server.ask("POST", f"/models/{model['name']}/predict", {"features": schema.example()}).status == 200


def test_rows_are_counted_as_instances(server):
    before = server.metrics()["mlrf_instances_total"]
    server.ask("POST", "/predict", {"features": EXAMPLE | {"price": 540.25}})
    server.ask("POST", "/predict/batch", {"instances": [{"features": EXAMPLE}] * 7})
    server.ask("POST", "/predict", {"features": []})
    assert server.metrics()["mlrf_instances_total"] == before + 8


def test_leniency_of_the_schema_and_of_the_server_are_the_same():
    strange = EXAMPLE | {"store": "west"}
    with pytest.raises(UnknownCategoryError):
        ALL_KINDS.row(strange)
    assert math.isnan(ALL_KINDS.row(strange, Leniency(unknown_categories="missing"))[3])


@pytest.mark.parametrize("name", [name for name in BAD if "surrogate" in name])
def test_a_lone_surrogate_is_called_one(server, name):
    answer = server.ask("POST", "/predict", BAD[name][0])
    assert "surrogate escape is unpaired" in answer.json["error"]
    assert "byte" in answer.json["details"]
