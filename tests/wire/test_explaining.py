"""Explanations over real sockets: which rows, in which shape, and equal to Model.explain's."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from openapi_spec_validator import validate

import mlrf
from bundles import ALL_KINDS, NUMBERS, write_bundle, write_tree_bundle
from contract_validation import validator
from mlrf.core.manifest import LinkEntry
from running import serving

NAMES = list(ALL_KINDS.names)
CLASSES = ["low", 1, "high"]
CLASS_NAMES = ["low", "1", "high"]
MEMBERS = ["space", "margin", "base", "contributions", "other", "source"]

ROWS = [
    ALL_KINDS.example(),
    ALL_KINDS.example() | {"price": None, "store": None, "promo": None},
    ALL_KINDS.example() | {"price": -1.0, "count": 0, "store": "north", "size": 30, "code": 2, "depth": 1.5},
    ALL_KINDS.example() | {"price": 1e300, "promo": False, "store": "east", "code": 0, "depth": -1.0},
]
NUMBER_ROWS = [[0.5, -1.0, 2.0], [None, 0.0, 1e-36], [3.0, None, -0.0]]


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explained")
    three = {"schema": NUMBERS, "n_outputs": 3, "task": "multiclass", "classes": CLASSES}
    return {
        "trees": write_tree_bundle(folder / "trees", name="trees"),
        "binary": write_tree_bundle(
            folder / "binary", name="binary", task="binary", link=LinkEntry("sigmoid"), classes=["no", "yes"]
        ),
        "three": write_tree_bundle(folder / "three", name="three", link=LinkEntry("softmax"), **three),
        "stumps": write_bundle(folder / "stumps", name="stumps"),
    }


@pytest.fixture(scope="module")
def models(paths):
    return {name: mlrf.load(path) for name, path in paths.items()}


@pytest.fixture(scope="module")
def running(paths):
    # What is asked again here is computed again: cached answers have tests of their own.
    with serving(*paths.values(), options=["--cache", "0"]) as server:
        yield server


@pytest.fixture
def server(running):
    yield running
    assert running.is_ready()
    assert running.troubles == []


def expected_of(model, row):
    """Margins [K], base [K], contributions [F, K] of one row, from Python."""
    explained = model.explain([row])
    k = model.engine.n_outputs
    return model.margin([row]).reshape(k), np.reshape(explained.base, k), explained.values[0].reshape(-1, k)


def check(explanation, model, row, *, k=None):
    """Hold an explanation to Model.explain: every member, its order, and invariants 2 and 5."""
    margins, base, phis = expected_of(model, row)
    names = list(model.schema.names)
    n_outputs = len(margins)
    assert list(explanation) == MEMBERS
    assert (explanation["space"], explanation["source"]) == ("margin", "live")
    assert np.reshape(explanation["margin"], n_outputs).tolist() == margins.tolist()
    assert np.reshape(explanation["base"], n_outputs).tolist() == base.tolist()
    ranked = phis[:, int(np.argmax(margins))]
    shown = list(range(len(names)))
    if k is not None and k < len(names):
        shown = sorted(shown, key=lambda f: -abs(ranked[f]))[:k]
    by_class = explanation["contributions"]
    others = explanation["other"]
    if n_outputs == 1:
        by_class, others = {"": by_class}, {"": others}
    else:
        assert list(by_class) == list(others) == CLASS_NAMES
    for output, label in enumerate(by_class):
        found, other = by_class[label], others[label]
        assert list(found) == [names[f] for f in shown]
        largest = max(np.abs(phis).max(), 1e-300)
        assert max(abs(found[names[f]] - phis[f, output]) for f in shown) <= 1e-12 * largest
        rest = phis[:, output].sum() - phis[shown, output].sum()
        assert math.isclose(other, rest, abs_tol=1e-12 * largest * len(names))
        scale = max(1.0, abs(base[output]), np.abs(phis[:, output]).sum())
        assert abs(base[output] + sum(found.values()) + other - margins[output]) <= 1e-9 * scale


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("name", ["trees", "binary"])
@pytest.mark.parametrize("k", [None, 1, 3, 6, 7, 99])
def test_explained_prediction_equals_prediction(server, models, name, row, k):
    plain = server.ask("POST", f"/models/{name}/predict", {"features": row}).json
    body = {"features": row, "explain": k or True}
    answer = server.ask("POST", f"/models/{name}/predict", body)
    assert answer.status == 200
    found = dict(answer.json)
    check(found.pop("explanation"), models[name], row, k=k)
    assert found == plain
    assert server.ask("POST", f"/models/{name}/explain", body).json == answer.json


@pytest.mark.parametrize("values", NUMBER_ROWS)
@pytest.mark.parametrize("k", [None, 1, 2])
def test_several_classes_are_lists_and_objects_by_class(server, models, values, k):
    body = {"features": values, "explain": k or True}
    answer = server.ask("POST", "/models/three/predict", body).json
    row = dict(zip(NUMBERS.names, values, strict=True))
    check(answer["explanation"], models["three"], row, k=k)
    margins = answer["explanation"]["margin"]
    assert answer["label"] == CLASSES[margins.index(max(margins))]
    assert server.ask("POST", "/models/three/explain", body).json == answer


def test_explain_is_always_on_at_explain_and_off_elsewhere(server, models):
    body = {"features": ROWS[0]}
    always = server.ask("POST", "/explain", body).json
    check(always["explanation"], models["trees"], ROWS[0])
    assert server.ask("POST", "/explain", body | {"explain": False}).json == always
    assert "explanation" not in server.ask("POST", "/predict", body).json
    assert "explanation" not in server.ask("POST", "/predict", body | {"explain": False}).json
    assert server.ask("POST", "/explain", b"", ["Content-Type: text/plain"]).code == "UNSUPPORTED_MEDIA_TYPE"
    assert server.ask("GET", "/explain").code == "METHOD_NOT_ALLOWED"
    assert server.ask("POST", "/explain", {"features": {}}).code == "MISSING_FEATURE"
    assert server.ask("POST", "/explain/batch", {}).code == "ROUTE_NOT_FOUND"


def test_batch_level_explain_explains_every_instance(server, models):
    for explain, k in ((True, None), (2, 2)):
        body = {"instances": [{"features": row} for row in ROWS], "explain": explain}
        answer = server.ask("POST", "/predict/batch", body).json
        assert list(answer) == ["predictions", "model", "version", "cached", "explanations"]
        for row, prediction, explanation in zip(ROWS, answer["predictions"], answer["explanations"], strict=True):
            check(explanation, models["trees"], row, k=k)
            assert prediction == server.ask("POST", "/predict", {"features": row}).json["prediction"]


def by_code(row):
    """A row by name, or in order, as the array that the kernel reads."""
    if isinstance(row, list):
        return row
    listed = zip(ALL_KINDS.features, row.values(), strict=True)
    return [f.categories.index(value) if f.categories and value is not None else value for f, value in listed]


@pytest.mark.parametrize("explain", [True, 1, 2])
@pytest.mark.parametrize(("name", "rows"), [("trees", ROWS), ("three", NUMBER_ROWS)])
def test_explained_batches_read_by_the_kernel_and_by_the_parsers_are_answered_alike(server, name, rows, explain):
    plain = {"instances": [{"features": by_code(row)} for row in rows], "explain": explain}
    by_parser = plain | {"return_features": False}
    before = server.metrics()["mlrf_explanations_total"]
    answers = [server.ask("POST", f"/models/{name}/predict/batch", body) for body in (plain, by_parser)]
    assert answers[0].status == 200
    assert answers[0].body == answers[1].body
    assert server.metrics()["mlrf_explanations_total"] - before == 2 * len(rows)


def test_only_instances_that_request_it_are_explained(server, models):
    explain_options = [2, False, True, None]
    instances = [
        {"features": row} | ({} if explain is None else {"explain": explain})
        for row, explain in zip(ROWS, explain_options, strict=True)
    ]
    explanations = server.ask("POST", "/predict/batch", {"instances": instances}).json["explanations"]
    check(explanations[0], models["trees"], ROWS[0], k=2)
    check(explanations[2], models["trees"], ROWS[2])
    assert explanations[1] is explanations[3] is None
    # An instance's own number counts before the batch's; false is as good as absent.
    answer = server.ask("POST", "/predict/batch", {"instances": instances, "explain": 3}).json
    for row, explanation, k in zip(ROWS, answer["explanations"], (2, 3, None, 3), strict=True):
        check(explanation, models["trees"], row, k=k)


def test_no_explanation_member_without_a_request(server):
    answer = server.ask("POST", "/predict/batch", {"instances": [{"features": ROWS[0], "explain": False}]}).json
    assert list(answer) == ["predictions", "model", "version", "cached"]


def test_a_batch_of_several_classes(server, models):
    body = {"instances": [{"features": values} for values in NUMBER_ROWS], "explain": 2}
    answer = server.ask("POST", "/models/three/predict/batch", body).json
    assert list(answer) == ["predictions", "labels", "probabilities", "model", "version", "cached", "explanations"]
    for values, explanation in zip(NUMBER_ROWS, answer["explanations"], strict=True):
        check(explanation, models["three"], dict(zip(NUMBERS.names, values, strict=True)), k=2)


def test_strict_parser_explains_like_the_fast_one(server, models):
    """An unknown category taken for missing is beyond the fast decoder."""
    odd = {"features": ROWS[0] | {"store": "west"}, "unknown_categories": "missing"}
    row = ROWS[0] | {"store": None}
    check(server.ask("POST", "/predict", odd | {"explain": 2}).json["explanation"], models["trees"], row, k=2)
    check(server.ask("POST", "/explain", odd).json["explanation"], models["trees"], row)
    body = {"instances": [odd | {"explain": 1}, {"features": ROWS[1]}], "explain": True}
    first, second = server.ask("POST", "/predict/batch", body).json["explanations"]
    check(first, models["trees"], row, k=1)
    check(second, models["trees"], ROWS[1])


BAD = ["0", "-1", "1.5", "2.0", "null", '"true"', '"3"', "[]", "{}", "[3]", "1e999", "2147483649", "1" * 5000]


@pytest.mark.parametrize("literal", BAD)
@pytest.mark.parametrize("where", ["/predict", "/explain", "batch", "instance", "strict"])
def test_a_bad_explain_is_refused_by_its_name(server, literal, where):
    features = json.dumps(ROWS[0])
    one = f'{{"features": {features}, "explain": {literal}}}'
    many = f'{{"instances": [{{"features": {features}}}, {one}]}}'
    match where:
        case "batch":
            answer = server.ask(
                "POST",
                "/predict/batch",
                f'{{"instances": [{{"features": {features}}}], "explain": {literal}}}'.encode(),
            )
        case "instance":
            answer = server.ask("POST", "/predict/batch", many.encode())
        case "strict":
            body = one.replace('"explain"', '"unknown_categories": "missing", "explain"').replace('"süd"', '"west"')
            answer = server.ask("POST", "/predict", body.replace("s\\u00fcd", "west").encode())
        case _:
            answer = server.ask("POST", where, one.encode())
    assert (answer.status, answer.code) == (422, "INVALID_REQUEST")
    assert answer.json["details"]["field"] == "explain"
    if where == "instance":
        assert answer.json["details"]["index"] == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/predict", {"features": ROWS[0], "explain": True}),
        ("/explain", {"features": ROWS[0]}),
        ("/predict/batch", {"instances": [{"features": ROWS[0]}], "explain": 1}),
        ("/predict/batch", {"instances": [{"features": ROWS[0]}, {"features": ROWS[0], "explain": True}]}),
    ],
)
def test_engine_without_explanations_refuses(server, path, body):
    before = server.metrics()
    answer = server.ask("POST", f"/models/stumps{path}", body)
    assert (answer.status, answer.code) == (422, "NOT_EXPLAINABLE")
    assert answer.json["details"] == {"engine": "onnxruntime"}
    after = server.metrics()
    for name in ("mlrf_explanations_total", "mlrf_instances_total"):
        assert after[name] == before[name]


def test_the_other_engine_refuses_what_trees_explain(paths):
    with serving(paths["trees"], options=["--engine", "onnxruntime"]) as server:
        assert server.ask("POST", "/explain", {"features": ROWS[0]}).code == "NOT_EXPLAINABLE"
        assert server.ask("POST", "/predict", {"features": ROWS[0]}).status == 200
        (model,) = server.ask("GET", "/models").json["models"]
        assert model["engine"] == "onnxruntime"


def test_explanations_are_counted_by_row(server):
    before = server.metrics()
    server.ask("POST", "/explain", {"features": ROWS[0]})
    server.ask("POST", "/predict", {"features": ROWS[0]})
    server.ask("POST", "/predict", {"features": ROWS[0], "explain": 1})
    instances = [{"features": ROWS[0], "explain": True}, {"features": ROWS[0]}, {"features": ROWS[0], "explain": 2}]
    server.ask("POST", "/predict/batch", {"instances": instances})
    server.ask("POST", "/predict", {"features": ROWS[0], "explain": 0})
    after = server.metrics()
    assert after["mlrf_explanations_total"] - before["mlrf_explanations_total"] == 4
    assert after["mlrf_instances_total"] - before["mlrf_instances_total"] == 6
    counter = "mlrf_requests_total;route=/explain;status=200"
    assert after[counter] - before[counter] == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/predict", {"features": ROWS[0], "explain": 2}),
        ("/predict", {"features": ROWS[0]}),
        ("/explain", {"features": ROWS[1]}),
        ("/predict/batch", {"instances": [{"features": ROWS[0], "explain": True}, {"features": ROWS[1]}]}),
        ("/predict/batch", {"instances": [{"features": ROWS[0]}], "explain": 1}),
        ("/models/binary/explain", {"features": ROWS[0]}),
        ("/models/three/explain", {"features": NUMBER_ROWS[0], "explain": 1}),
        ("/models/three/predict/batch", {"instances": [{"features": NUMBER_ROWS[1], "explain": 2}]}),
    ],
)
def test_requests_and_answers_are_those_of_the_contract(server, path, body):
    contract = server.ask("GET", "/openapi.json").json
    validate(contract)
    described = contract["paths"][path]["post"]
    (request_schema, response_schema) = (
        described["requestBody"]["content"]["application/json"]["schema"],
        described["responses"]["200"]["content"]["application/json"]["schema"],
    )
    validator(contract, request_schema).validate(body)
    answer = server.ask("POST", path, body)
    assert answer.status == 200
    validator(contract, response_schema).validate(answer.json)
    assert not validator(contract, request_schema).is_valid(body | {"explain": 0})
    if path.endswith("/explain"):
        unexplained = {key: value for key, value in answer.json.items() if key != "explanation"}
        assert not validator(contract, response_schema).is_valid(unexplained)


def test_docs_page_offers_explanations_if_available(server):
    page = server.ask("GET", "/docs").body.decode()
    assert '<button value="/explain">POST /models/trees/explain</button>' in page
    assert "/models/stumps/predict" in page
    assert "/models/stumps/explain" not in page
