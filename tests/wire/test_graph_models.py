"""Graphs of operators over real sockets: the API of every other model, and the same bits as ONNX Runtime."""

import json

import numpy as np
import onnxruntime as ort
import pandas as pd
import pytest

import graph_models as models
import mlrf
from contract_validation import validator
from grpc_peer import Peer, address_of
from inference_wires import ParsedRequest, Tensor, wires
from mlrf.core.publishing import publish
from mlrf.core.repository import ModelDirectory
from raw_http import Client
from running import serving

PIPELINE = models.made("pipeline")[1]
NETWORK = models.dense(1200, 1500, 3, last="Softmax")
"""Four megabytes of products a row: more than the loop waits for."""


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs")
    for name, proto, options in (
        ("pipeline", PIPELINE, {"key": ["customer:integer"]}),
        ("network", NETWORK, {"classes": ["a", "b", "c"]}),
        ("types", models.several_types(), {}),
    ):
        (folder / f"{name}.onnx").write_bytes(proto.SerializeToString())
        publish(mlrf.build(folder / f"{name}.onnx", folder / name, name=name, **options), folder / "models")
    return folder / "models"


@pytest.fixture(scope="module")
def server(repository, tmp_path_factory):
    admin = tmp_path_factory.mktemp("admin") / "socket"
    options = ["--default", "pipeline", "--state-dir", str(admin.parent / "state"), "--admin", f"unix:{admin}"]
    options += ["--grpc-port", "0"]
    with serving(repository, options=options) as running:
        running.admin_path = admin
        yield running
        assert running.troubles == []


def customer(index):
    row = models.frame().iloc[index].to_dict()
    return {name: None if value != value else value for name, value in row.items()}  # noqa: PLR0124


def directly(rows):
    """ONNX Runtime's probability of the second class, each row asked alone."""
    session = ort.InferenceSession(PIPELINE.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = [session.run(None, models.direct_feed(PIPELINE, pd.DataFrame([row]))) for row in rows]
    return [labels[0] for labels, _ in outputs], [maps[0]["stays"] for _, maps in outputs]


def test_single_and_batch_are_onnx_runtimes_to_the_bit(server):
    rows = [customer(index) for index in range(60)]
    labels, expected = directly([row | {"age": np.nan if row["age"] is None else row["age"]} for row in rows])
    with server.client() as client:
        single = [client.ask("POST", "/predict", {"features": row}).json for row in rows]
    together = server.ask("POST", "/predict/batch", {"instances": [{"features": row} for row in rows]}).json
    assert [answer["prediction"] for answer in single] == together["predictions"] == expected
    assert [answer["label"] for answer in single] == together["labels"] == labels
    again = [server.ask("POST", "/predict", {"features": rows[0]}).json for _ in range(3)]
    assert (again[-1]["cached"], again[-1]["prediction"]) == (True, expected[0])


def test_slow_graph_answers_off_the_event_loop(server):
    rows = np.random.default_rng(2).normal(size=(3, 1200)).astype(np.float32)
    session = ort.InferenceSession(NETWORK.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = [session.run(None, {"x": row[None]})[0][0].tolist() for row in rows]
    single = [server.ask("POST", "/models/network/predict", {"features": row.tolist()}).json for row in rows]
    body = {"instances": [{"features": row.tolist()} for row in rows]}
    together = server.ask("POST", "/models/network/predict/batch", body).json
    assert [answer["prediction"] for answer in single] == together["predictions"] == expected
    assert [answer["label"] for answer in single] == ["abc"[int(np.argmax(row))] for row in expected]


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"city": "Bonn"}, "UNKNOWN_CATEGORY", "'city'"),
        ({"city": 3}, "UNKNOWN_CATEGORY", "'city'"),
        ({"age": "old"}, "INVALID_FEATURE", "'age'"),
        ({"visits": None}, "INVALID_FEATURE", "may not be missing"),
        ({"visits": 1.5}, "INVALID_FEATURE", "an integer"),
        ({"more": 1}, "UNKNOWN_FEATURE", "more"),
    ],
)
def test_bad_values_are_refused_by_name(server, change, code, words):
    answer = server.ask("POST", "/predict", {"features": customer(1) | change})
    assert (answer.status, answer.json["code"]) == (422, code)
    assert words in answer.json["error"]


def test_unknown_category_can_be_treated_as_missing(server):
    body = {"features": customer(1) | {"city": "Bonn"}, "unknown_categories": "missing"}
    assert server.ask("POST", "/predict", body).json["prediction"] == directly([customer(1) | {"city": "Bonn"}])[1][0]


def test_explanations_are_refused_by_name(server):
    for path, body in (
        ("/explain", {"features": customer(1)}),
        ("/predict", {"features": customer(1), "explain": True}),
    ):
        answer = server.ask("POST", path, body)
        assert (answer.status, answer.json["code"]) == (422, "NOT_EXPLAINABLE")
        assert "graph of operators" in answer.json["error"]


def test_rows_by_key_hold_strings_too(server):
    rows = [{"key": {"customer": index}, "features": customer(index)} for index in range(3)]
    with Client(server.admin_path) as admin:
        assert admin.ask("POST", "/admin/models/pipeline/features", {"rows": rows}).status == 200
    answer = server.ask("POST", "/predict", {"key": {"customer": 2}, "return_features": True}).json
    assert answer["prediction"] == directly([customer(2)])[1][0]
    assert answer["features"] == customer(2)


# The Open Inference Protocol


@pytest.fixture(scope="module")
def ways(server):
    with Peer(address_of(server)) as peer:
        yield wires(server, peer)


@pytest.fixture(params=["REST, JSON", "REST, binary", "gRPC, values", "gRPC, raw"])
def wire(request, ways):
    return ways[request.param]


def tensors(server, model, rows):
    """Instances by name as the tensors that the model's metadata tell of."""
    document = server.ask("GET", f"/v2/models/{model}").json["inputs"]
    return [Tensor(t["name"], t["datatype"], [row[t["name"]] for row in rows], [len(rows), 1]) for t in document]


def natively(server, model, rows):
    answer = server.ask("POST", f"/models/{model}/predict/batch", {"instances": [{"features": row} for row in rows]})
    assert answer.status == 200, answer.body
    return answer.json


def test_strings_and_numbers_of_a_graph_travel_in_every_form(server, wire):
    rows = [customer(code) for code in range(20)]
    expected = natively(server, "pipeline", rows)
    inputs = tensors(server, "pipeline", rows)
    assert {each.datatype for each in inputs} == {"FP64", "BYTES", "INT64"}
    response = wire.infer(ParsedRequest(inputs, "pipeline", outputs=["probabilities", "prediction"]))
    assert response.outputs == {
        "probabilities": np.ravel(expected["probabilities"]).tolist(),
        "prediction": expected["predictions"],
    }
    assert response.shapes == {"probabilities": [20, 2], "prediction": [20]}
    # One tensor of all features holds categories by their place.
    categories = next(m for m in server.ask("GET", "/models").json["models"] if m["name"] == "pipeline")["features"]
    codes = {f["name"]: {category: code for code, category in enumerate(f.get("categories", ()))} for f in categories}
    flat = [codes[name].get(value, value) for row in rows for name, value in row.items()]
    response = wire.infer(ParsedRequest([Tensor("features", "FP64", flat, [20, 5])], "pipeline"))
    assert response.outputs == {"prediction": expected["predictions"]}


def test_graph_input_types_are_described_and_accepted(server, wire):
    rows = [
        {"small": s, "big": b, "on": s > 0, "exact_0": s / 3, "exact_1": -b / 7} for s, b in ((5, 1 << 40), (-7, 3))
    ]
    document = {each["name"]: each["datatype"] for each in server.ask("GET", "/v2/models/types").json["inputs"]}
    assert document == {"features": "FP64"}
    expected = natively(server, "types", rows)["predictions"]
    datatypes = ("INT8", "INT64", "BOOL", "FP64", "FP64")
    inputs = [Tensor(n, kind, [row[n] for row in rows], [2]) for n, kind in zip(rows[0], datatypes, strict=True)]
    assert wire.infer(ParsedRequest(inputs, "types")).outputs == {"prediction": expected}
    flat = [float(value) for row in rows for value in row.values()]
    assert wire.infer(ParsedRequest([Tensor("features", "FP64", flat, [2, 5])], "types")).outputs == {
        "prediction": expected
    }


def test_slow_graph_answers_every_form_off_the_event_loop(server, wire):
    rows = np.random.default_rng(3).normal(size=(3, 1200)).astype(np.float32)
    expected = np.ravel(natively(server, "network", rows.tolist())["predictions"]).tolist()
    for datatype in ("FP32", "FP64"):
        response = wire.infer(
            ParsedRequest([Tensor("features", datatype, rows.ravel().tolist(), [3, 1200])], "network", id="x")
        )
        assert (response.outputs, response.shapes, response.id) == (
            {"probabilities": expected},
            {"probabilities": [3, 3]},
            "x",
        )


def test_what_a_graph_does_not_take_or_give_is_refused_by_name(server, wire):
    rows = [customer(1), customer(2) | {"city": "Bonn"}]
    response = wire.infer(ParsedRequest(tensors(server, "pipeline", rows), "pipeline"))
    assert (response.code, response.outputs) == ("UNKNOWN_CATEGORY", {})
    assert all(word in response.error for word in ("city", "row 1", "Bonn"))
    response = wire.infer(ParsedRequest(tensors(server, "pipeline", rows[:1]), "pipeline", outputs=["shap_values"]))
    assert response.code == "NOT_EXPLAINABLE"
    assert "graph of operators" in response.error


def test_rows_of_a_graph_are_looked_up_in_every_form(server, wire):
    row = {"key": {"customer": 7}, "features": customer(7), "as_of": "2026-02-01T00:00:00Z"}
    with Client(server.admin_path) as admin:
        assert admin.ask("POST", "/admin/models/pipeline/features", {"rows": [row]}).status == 200
    response = wire.infer(ParsedRequest([Tensor("customer", "INT64", [7], [1])], "pipeline"))
    assert response.outputs["prediction"] == directly([customer(7)])[1]
    assert response.parameters["features_as_of"] == "2026-02-01T00:00:00Z"


def test_the_models_and_the_contract_are_described(server):
    pipeline = next(m for m in server.ask("GET", "/models").json["models"] if m["name"] == "pipeline")
    assert (pipeline["engine"], pipeline["classes"]) == ("onnxruntime", ["leaves", "stays"])
    document = server.ask("GET", "/openapi.json").json
    body = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    validator(document, body["schema"]).validate(body["example"])
    assert server.ask("POST", "/predict", body["example"]).status == 200
    assert b"a graph of 12 operators" in server.ask("GET", "/docs").body


def test_another_version_is_taken_into_service(server, repository, tmp_path):
    proto = models.made("pipeline")[1]
    (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
    sampled = mlrf.build(
        tmp_path / "model.onnx", tmp_path / "b", name="pipeline", key=["customer:integer"], sample=models.frame()
    )
    publish(sampled, repository)
    with Client(server.admin_path) as admin:
        answer = admin.ask("POST", "/admin/models/pipeline/load", {})
    assert (answer.status, answer.json["number"]) == (200, ModelDirectory(repository / "pipeline").pointer().number)
    assert server.ask("POST", "/predict", {"features": customer(1)}).json["version"] == answer.json["version"]
    assert json.loads(answer.body)["number"] == 2
