"""`leaves` and `base_margin` in requests of models of real libraries: to the bit, cached apart, refused by name elsewhere."""

from __future__ import annotations

import json

import lightgbm as lgb
import numpy as np
import pyarrow as pa
import pytest
import xgboost as xgb

import mlrf
from arrow_streams import stream
from bundles import ALL_KINDS, write_tree_bundle
from mlrf.client import Client
from mlrf.core.errors import InvalidRequestError
from running import eventually, serving

ARROW = "application/vnd.apache.arrow.stream"
RANDOM = np.random.default_rng(3)
ROWS = RANDOM.normal(size=(200, 4)).round(1)
NUMBERS = ROWS[:, 0] + ROWS[:, 1] ** 2
CLASSES = np.digitize(NUMBERS, [0.5, 1.5])


@pytest.fixture(scope="module")
def three():
    return xgb.train({"objective": "multi:softprob", "num_class": 3, "max_depth": 4}, xgb.DMatrix(ROWS, CLASSES), 5)


@pytest.fixture(scope="module")
def counts():
    return lgb.train({"objective": "poisson", "verbose": -1, "num_threads": 1}, lgb.Dataset(ROWS, CLASSES), 5)


@pytest.fixture(scope="module")
def server(three, counts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("leaves")
    bundles = [mlrf.build(model, folder / name, name=name) for name, model in (("three", three), ("counts", counts))]
    (folder / "log").mkdir()
    options = ["--prediction-log", str(folder / "log")]
    with serving(*bundles, write_tree_bundle(folder / "plain", name="plain"), options=options) as server:
        server.bundles, server.log_folder = bundles, folder / "log"
        yield server
        assert server.troubles == []


def ask(server, path, body, status=200):
    answer = server.ask("POST", path, body)
    assert answer.status == status, answer.json
    return answer.json


def test_leaves_come_where_they_are_asked_for(server, three):
    expected = three.predict(xgb.DMatrix(ROWS[:3]), pred_leaf=True).tolist()
    row = {"features": ROWS[0].tolist()}
    assert ask(server, "/models/three/predict", row | {"leaves": True})["leaves"] == expected[0]
    assert "leaves" not in ask(server, "/models/three/predict", row | {"leaves": False})
    explained = ask(server, "/models/three/explain", row | {"leaves": True})
    assert explained["leaves"] == expected[0]
    assert explained["explanation"] == ask(server, "/models/three/explain", row)["explanation"]
    instances = [{"features": each.tolist()} for each in ROWS[:3]]
    whole = ask(server, "/models/three/predict/batch", {"instances": instances, "leaves": True})
    assert whole["leaves"] == expected
    some = ask(server, "/models/three/predict/batch", {"instances": [instances[0], instances[1] | {"leaves": True}]})
    assert some["leaves"] == [None, expected[1]]
    named = {"columns": [f"f{i}" for i in range(4)], "data": ROWS[:3].tolist(), "leaves": True}
    assert ask(server, "/models/three/predict/batch", named)["leaves"] == expected


def test_margins_start_at_base_margins_as_in_xgboost(server, three):
    starts = RANDOM.normal(size=(3, 3))
    margins = three.predict(xgb.DMatrix(ROWS[:3], base_margin=starts), output_margin=True)
    probabilities = mlrf.load(server.bundles[0]).predict(ROWS[:3], base_margin=starts)
    instances = [
        {"features": row.tolist(), "base_margin": start.tolist()} for row, start in zip(ROWS, starts, strict=False)
    ]
    answer = ask(server, "/models/three/predict/batch", {"instances": instances, "explain": True})
    assert answer["predictions"] == probabilities.tolist()
    for row, (explanation, margin) in enumerate(zip(answer["explanations"], margins.tolist(), strict=True)):
        assert explanation["margin"] == margin
        shares = np.array([list(each.values()) for each in explanation["contributions"].values()])
        np.testing.assert_allclose(explanation["base"] + shares.sum(axis=1), margin, rtol=0, atol=1e-12)
        alone = ask(server, "/models/three/explain", instances[row])
        np.testing.assert_allclose(alone["explanation"]["base"], explanation["base"], rtol=1e-12)
        assert alone["explanation"]["margin"] == margin
        assert alone["prediction"] == answer["predictions"][row]
    library = three.predict(xgb.DMatrix(ROWS[:3], base_margin=starts), pred_contribs=True)[:, :, -1]
    np.testing.assert_allclose([each["base"] for each in answer["explanations"]], library, atol=1e-5)


def test_instances_without_base_margins_keep_the_model_s_own(server):
    rows = [{"features": row.tolist()} for row in ROWS[:3]]
    plain = ask(server, "/models/three/predict/batch", {"instances": rows})["predictions"]
    mixed = [rows[0], rows[1] | {"base_margin": [9.0, 0.0, 0.0]}, rows[2]]
    answer = ask(server, "/models/three/predict/batch", {"instances": mixed})["predictions"]
    assert (answer[0], answer[2]) == (plain[0], plain[2])
    assert answer[1][0] > 0.99


@pytest.mark.parametrize("name", ["base_margin", "init_score"])
def test_an_initial_score_is_added_as_lightgbm_says(server, counts, name):
    raw = counts.predict(ROWS[:1], raw_score=True)[0]
    body = {"features": ROWS[0].tolist(), name: 0.75}
    answer = ask(server, "/models/counts/explain", body)
    assert answer["explanation"]["margin"] == raw + 0.75
    assert answer["prediction"] == pytest.approx(np.exp(raw + 0.75), rel=1e-15)


def test_answers_are_cached_by_base_margin(server):
    def predict(start):
        return ask(server, "/models/counts/predict", {"features": ROWS[7].tolist(), "base_margin": start})

    answers = [predict(start) for start in (0.5, 0.5, 0.5, 0.75, 0.75, 0.75)]
    assert [each["cached"] for each in answers] == [False, False, True, False, False, True]
    assert len({each["prediction"] for each in answers}) == 2


@pytest.mark.parametrize("name", ["base_margin", "init_score"])
@pytest.mark.parametrize("accept", [[], [f"Accept: {ARROW}"]])
def test_a_column_of_base_margins_gives_what_the_members_give(server, name, accept):
    starts = RANDOM.normal(size=7)
    instances = [
        {"features": row.tolist(), "base_margin": start} for row, start in zip(ROWS, starts.tolist(), strict=False)
    ]
    expected = ask(server, "/models/counts/predict/batch", {"instances": instances})["predictions"]
    table = pa.table({name: starts, **{f"Column_{i}": ROWS[:7, i] for i in range(4)}})
    content = stream(table, max_chunksize=3)
    for _ in range(2):  # in the worker's thread, then on the event loop
        answer = server.ask("POST", "/models/counts/predict/batch", content, [f"Content-Type: {ARROW}", *accept])
        assert answer.status == 200, answer
        arrow = pa.ipc.open_stream(answer.body).read_all()["prediction"].to_pylist() if accept else None
        assert (arrow or answer.json["predictions"]) == expected


def test_the_log_has_the_base_margins_of_a_column(server):
    table = pa.table({"base_margin": [0.5, -1.0], **{f"Column_{i}": ROWS[:2, i] for i in range(4)}})
    headers = [f"Content-Type: {ARROW}", "X-Request-ID: bases-1"]
    answer = server.ask("POST", "/models/counts/predict/batch", stream(table), headers).json

    def logged():
        lines = [
            json.loads(line) for file in server.log_folder.glob("*.jsonl") for line in file.read_text().splitlines()
        ]
        return next((line for line in lines if line["request_id"] == "bases-1"), None)

    line = eventually(logged, what="the line in the log")
    assert ask(server, "/models/counts/predict/batch", line["request"])["predictions"] == answer["predictions"]
    assert line["answer"]["predictions"] == answer["predictions"]


@pytest.mark.parametrize(
    ("model", "columns", "sentence"),
    [
        ("three", {"base_margin": [0.5]}, "three has 3 outputs; send base_margin in JSON or as a tensor"),
        ("counts", {"base_margin": ["a"]}, "the column base_margin does not hold numbers"),
        ("counts", {"base_margin": [0.5], "init_score": [0.5]}, "two columns of base margins"),
        ("counts", {"base_margin": [None]}, "base_margin must be finite numbers"),
        ("plain", {"init_score": [0.5]}, "takes no base_margin"),
    ],
)
def test_a_column_of_base_margins_that_cannot_be_used_is_refused(server, model, columns, sentence):
    names = [f"Column_{i}" for i in range(4)] if model == "counts" else [f"f{i}" for i in range(4)]
    features = ALL_KINDS.example() if model == "plain" else dict.fromkeys(names, 0.5)
    content = pa.Table.from_pylist([features])
    for name, values in columns.items():
        content = content.append_column(name, pa.array(values, None if values[0] is not None else pa.float64()))
    answer = server.ask("POST", f"/models/{model}/predict/batch", stream(content), [f"Content-Type: {ARROW}"])
    assert (answer.status, sentence in answer.json["error"]) == (422, True), answer.json


def infer(server, model, inputs, outputs, status=200):
    tensors = [
        {"name": n, "shape": list(np.shape(v)), "datatype": "FP64", "data": v.tolist()} for n, v in inputs.items()
    ]
    body = {"inputs": tensors, "outputs": [{"name": name} for name in outputs]}
    answer = server.ask("POST", f"/v2/models/{model}/infer", body)
    assert answer.status == status, answer.json
    return {each["name"]: each for each in answer.json["outputs"]} if status == 200 else answer.json


def test_leaves_and_base_margins_are_tensors(server, three, counts):
    leaves = infer(server, "three", {"features": ROWS[:3]}, ["leaves"])["leaves"]
    assert (leaves["datatype"], leaves["shape"]) == ("INT32", [3, 15])
    assert leaves["data"] == three.predict(xgb.DMatrix(ROWS[:3]), pred_leaf=True).reshape(-1).tolist()
    again = infer(server, "three", {"features": ROWS[:3]}, ["probabilities", "leaves"])
    assert again["leaves"] == leaves
    starts = RANDOM.normal(size=(3, 3))
    model = mlrf.load(server.bundles[0])
    for inputs in (
        {"features": ROWS[:3], "base_margin": starts},
        {"base_margin": starts, **{f"f{i}": ROWS[:3, i] for i in range(4)}},
    ):
        answer = infer(server, "three", inputs, ["probabilities", "shap_values", "shap_base"])
        assert answer["probabilities"]["data"] == model.predict(ROWS[:3], base_margin=starts).reshape(-1).tolist()
        explanation = model.explain(ROWS[:3], base_margin=starts)
        assert answer["shap_base"]["shape"] == [3, 3]
        np.testing.assert_allclose(answer["shap_base"]["data"], explanation.base.reshape(-1), rtol=1e-12)
    raw = counts.predict(ROWS[:2], raw_score=True)
    answer = infer(server, "counts", {"features": ROWS[:2], "init_score": np.array([0.5, -0.5])}, ["prediction"])
    np.testing.assert_allclose(answer["prediction"]["data"], np.exp(raw + np.array([0.5, -0.5])), rtol=1e-15)
    first = infer(server, "counts", {"features": ROWS[:2], "init_score": np.array([0.0, 0.0])}, ["prediction"])
    assert first["prediction"]["data"] != answer["prediction"]["data"]


def test_the_protocol_refuses_what_does_not_fit(server):
    for inputs, message in (
        ({"features": ROWS[:2], "base_margin": np.zeros(3)}, "must have the shape [2] or [2, 1]"),
        ({"features": ROWS[:2], "base_margin": np.zeros((2, 3))}, "must have the shape"),
        ({"features": ROWS[:2], "base_margin": np.zeros(2), "init_score": np.zeros(2)}, "not an input"),
        ({"base_margin": np.zeros(2)}, "not an input"),
    ):
        assert message in infer(server, "counts", inputs, ["prediction"], 422)["error"]
    assert "no leaf numbers" in infer(server, "plain", {"features": np.zeros((1, 7))}, ["leaves"], 422)["error"]
    parameters = server.ask("GET", "/v2/models/three").json["parameters"]
    assert parameters["outputs_on_demand"] == "shap_values, shap_interactions, shap_base, leaves"
    assert "leaves" not in server.ask("GET", "/v2/models/plain").json["parameters"]["outputs_on_demand"]


def test_the_client_returns_the_model_s_own(server):
    starts = RANDOM.normal(size=(20, 3))
    model = mlrf.load(server.bundles[0])
    record = dict(zip(model.schema.names, ROWS[0].tolist(), strict=True))
    with Client(f"http://127.0.0.1:{server.port}", model="three") as client:
        assert np.array_equal(client.leaves(ROWS[:20]), model.leaves(ROWS[:20]))
        assert client.leaves(record) == model.leaves([record])[0].tolist()
        assert np.array_equal(
            client.predict(ROWS[:20], base_margin=starts), model.predict(ROWS[:20], base_margin=starts)
        )
        assert (
            client.predict(record, base_margin=starts[0]) == model.predict([record], base_margin=starts[:1])[0].tolist()
        )
        explanation = client.explain(ROWS[:20], base_margin=starts)
        np.testing.assert_allclose(explanation.base, model.explain(ROWS[:20], base_margin=starts).base, rtol=1e-12)
        assert np.array_equal(explanation[3:5].base, explanation.base[3:5])
        with pytest.raises(InvalidRequestError, match="base_margin must be numbers"):
            client.predict(ROWS[:20], base_margin=starts[:3])


@pytest.mark.parametrize(
    ("path", "members", "message"),
    [
        ("plain/predict", {"leaves": True}, "has no leaf numbers"),
        ("plain/predict", {"base_margin": 0.5}, "takes no base_margin"),
        ("three/predict", {"base_margin": 0.5}, "each of the model's 3 outputs, not 1"),
        ("three/predict", {"base_margin": [1e39, 0, 0]}, "finite numbers of float32"),
        ("three/predict", {"base_margin": ["1", 0, 0]}, "must be a number"),
        ("three/predict", {"base_margin": True}, "must be a number"),
        ("three/predict", {"base_margin": 10**400}, "range of float64"),
        ("three/predict", {"base_margin": [0, 0, 0], "init_score": [0, 0, 0]}, "two names of one member"),
        ("three/predict", {"leaves": 1}, "must be true or false"),
        ("three/curve", {"leaves": True, "vary": "f0"}, "no leaves and no base_margin"),
    ],
)
def test_what_has_no_meaning_is_refused_by_name(server, path, members, message):
    row = server.ask("GET", "/models").json["models"]
    example = next(each["example"] for each in row if each["name"] == path.partition("/")[0])
    answer = ask(server, f"/models/{path}", {"features": example} | members, 422)
    assert message in answer["error"]


def test_a_batch_has_no_base_margin_of_its_own(server):
    body = {"instances": [{"features": ROWS[0].tolist()}], "base_margin": [0.5]}
    assert "belongs to a row" in ask(server, "/models/counts/predict/batch", body, 422)["error"]
