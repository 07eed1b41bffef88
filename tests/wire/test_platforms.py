"""Bodies of KServe v1, MLflow, SageMaker and Vertex AI over real sockets: the bits of the native routes, in each platform's shape."""

from __future__ import annotations

import gzip
import json
import subprocess

import pytest

from bundles import ALL_KINDS, NUMBERS, write_stump_bundle, write_tree_bundle
from mlrf.core.bundle import LinkEntry
from mlrf.core.schema import Feature, Kind, Schema
from mlrf.serving.auth.keys import make_key, write_keys
from running import command, eventually, resident_bytes, serving

EXAMPLE = ALL_KINDS.example()
OTHER = EXAMPLE | {"price": None, "store": "east", "size": 10, "promo": False}
NAMES = list(EXAMPLE)
CODED = [9.5, 3, True, 1, 1, 7, 0.25]
ROWS = [EXAMPLE, OTHER]
MIXED = Schema(
    (
        Feature("amount", Kind.NUMERIC, example=0.5),
        Feature("store", Kind.CATEGORICAL, ("north", "süd"), example="süd"),
        Feature("flag", Kind.BOOLEAN, example=True),
    )
)
"""No number could be a category and a code."""
TEXT_CODES = Schema((Feature("x", Kind.NUMERIC), Feature("zone", Kind.CATEGORICAL, ("1", "2"))))


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("platforms")
    classes = {"task": "binary", "link": LinkEntry("sigmoid"), "classes": ["no", "yes"]}
    return {
        "sample": write_tree_bundle(folder / "sample"),
        "mixed": write_stump_bundle(folder / "mixed", name="mixed", schema=MIXED),
        "zones": write_stump_bundle(folder / "zones", name="zones", schema=TEXT_CODES),
        "labels": write_stump_bundle(folder / "labels", name="labels", schema=NUMBERS, predict_returns="label", **classes),
        "numbers": write_stump_bundle(folder / "numbers", name="numbers", schema=NUMBERS, **classes),
        "three": write_stump_bundle(
            folder / "three", name="three", schema=NUMBERS, task="multiclass", link=LinkEntry("softmax"),
            classes=["a", 'b"', "c,d"], n_outputs=3,
        ),
    }  # fmt: skip


@pytest.fixture(scope="module")
def several(paths):
    with serving(*paths.values()) as server:
        yield server


@pytest.fixture(scope="module")
def sagemaker(paths):
    with serving(*paths.values(), options=["--platform", "sagemaker", "--default", "mixed"]) as server:
        yield server


def native(server, rows, model="sample"):
    """The bytes of the predictions that the native route gives."""
    body = {"instances": [{"features": row} for row in rows]}
    answer = server.ask("POST", f"/models/{model}/predict/batch", body)
    assert answer.status == 200, answer.body
    return predictions_of(answer.body)


def predictions_of(body):
    """The JSON text of `predictions`, to be compared as bytes."""
    document = json.loads(body, parse_float=str)
    return document["predictions"]


def post(server, path, body, content_type="application/json", *headers):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return server.ask("POST", path, content, [f"Content-Type: {content_type}", *headers])


SPLIT = {"columns": NAMES[::-1], "index": [5, 6], "data": [[row[name] for name in NAMES[::-1]] for row in ROWS]}
COLUMNS = {name: [row[name] for row in ROWS] for name in NAMES}
FORMS = {
    "dataframe_split": {"dataframe_split": SPLIT},
    "dataframe_records": {"dataframe_records": ROWS},
    "instances": {"instances": ROWS},
    "inputs as rows": {"inputs": ROWS},
    "inputs as columns": {"inputs": COLUMNS},
    "empty params": {"instances": ROWS, "params": {}},
    "frames by column": {"instances": [COLUMNS]},
    "frames by row label": {"instances": [{name: {"0": c[0], "1": c[1]} for name, c in COLUMNS.items()}]},
}


@pytest.mark.parametrize("form", FORMS)
def test_mlflow_forms_have_the_bits_of_the_native_route(several, form):
    answer = post(several, "/models/sample/invocations", FORMS[form])
    assert answer.status == 200, answer.body
    assert predictions_of(answer.body) == native(several, ROWS)


@pytest.mark.parametrize("rows", [ROWS, [COLUMNS]])
def test_kserve_v1_has_the_bits_of_the_native_route(several, rows):
    answer = post(several, "/v1/models/sample:predict", {"instances": rows})
    assert answer.status == 200, answer.body
    assert predictions_of(answer.body) == native(several, ROWS)
    answer = post(several, "/v1/models/sample:explain", {"instances": rows})
    explained = several.ask(
        "POST", "/predict/batch", {"instances": [{"features": row} for row in ROWS], "explain": True}
    )
    assert explained.json["explanations"] == answer.json["explanations"]


def test_arrays_are_in_schema_order(several):
    rows = [[0.5, 1, True], [None, 0, False]]
    for path, body in (
        ("/v1/models/mixed:predict", {"instances": rows}),
        ("/models/mixed/invocations", {"inputs": rows}),
        ("/models/mixed/invocations", {"dataframe_split": {"data": rows}}),
        ("/models/mixed/invocations", {"dataframe_split": {"columns": [0, 1, 2], "data": rows}}),
    ):
        answer = post(several, path, body)
        assert answer.status == 200, answer.body
        assert predictions_of(answer.body) == native(several, rows, "mixed")


def test_a_number_that_could_be_a_category_is_refused_in_arrays(several):
    answer = post(several, "/v1/models/sample:predict", {"instances": [CODED]})
    assert (answer.status, answer.json["details"]["feature"]) == (422, "size")
    assert "name the columns" in answer.json["error"]
    assert several.ask("POST", "/models/sample/predict", {"features": CODED}).status == 200
    answer = post(several, "/models/zones/invocations", b"1,2\n", "text/csv; header=absent")
    assert (answer.status, answer.json["details"]["feature"]) == (422, "zone")


def test_states_of_kserve_v1(several):
    assert several.ask("GET", "/v1/models").json == {
        "models": ["sample", "mixed", "zones", "labels", "numbers", "three"]
    }
    assert several.ask("GET", "/v1/models/sample").json == {"name": "sample", "ready": True}
    assert several.ask("GET", "/v1/models/none").json["code"] == "MODEL_NOT_FOUND"
    assert post(several, "/v1/models/none:predict", {"instances": []}).json["code"] == "MODEL_NOT_FOUND"


def test_predict_is_what_the_object_that_was_built_predicts(several):
    rows = [[0.1, 0.2, 0.3], [5.0, 6.0, 7.0]]
    labels = several.ask("POST", "/models/labels/predict/batch", {"instances": [{"features": r} for r in rows]}).json
    assert post(several, "/v1/models/labels:predict", {"instances": rows}).json == {"predictions": labels["labels"]}
    answer = post(several, "/models/numbers/invocations", {"inputs": rows})
    assert predictions_of(answer.body) == native(several, rows, "numbers")


BAD = {
    "no form": ({}, 422, "INVALID_REQUEST"),
    "two forms": ({"instances": ROWS, "inputs": ROWS}, 422, "INVALID_REQUEST"),
    "an unknown member": ({"instances": ROWS, "explain": True}, 422, "INVALID_REQUEST"),
    "parameters": ({"instances": ROWS, "params": {"a": 1}}, 422, "INVALID_REQUEST"),
    "an array": (ROWS, 422, "INVALID_REQUEST"),
    "no rows": ({"instances": []}, 422, "EMPTY_BATCH"),
    "too many rows": ({"instances": [[0]] * 10_001}, 413, "BATCH_TOO_LARGE"),
    "too many rows by column": ({"inputs": {"price": [1] * 10_001}}, 413, "BATCH_TOO_LARGE"),
    "a scalar row": ({"instances": [1, 2]}, 422, "INVALID_REQUEST"),
    "a short row of a frame": ({"dataframe_split": {"columns": NAMES, "data": [[1]]}}, 422, "FEATURE_COUNT"),
    "a column twice": ({"dataframe_split": {"columns": ["price", "price"], "data": []}}, 422, "INVALID_REQUEST"),
    "an unknown column": ({"dataframe_records": [EXAMPLE | {"x": 1}]}, 422, "UNKNOWN_FEATURE"),
    "a missing column": ({"dataframe_records": [{"price": 1}]}, 422, "MISSING_FEATURE"),
    "columns of two lengths": ({"inputs": {**COLUMNS, "price": [1]}}, 422, "INVALID_REQUEST"),
    "not JSON": (b'{"instances": [NaN]}', 400, "MALFORMED_REQUEST"),
    "an unknown category": ({"instances": [EXAMPLE | {"store": "west"}]}, 422, "UNKNOWN_CATEGORY"),
    "deep": (b'{"instances": ' + b"[" * 10**5 + b"]" * 10**5 + b"}", 400, "MALFORMED_REQUEST"),
}


@pytest.mark.parametrize("case", BAD)
def test_refusals(several, case):
    body, status, code = BAD[case]
    answer = post(several, "/models/sample/invocations", body)
    assert (answer.status, answer.json["code"]) == (status, code), answer.body


def test_invocations_without_a_name_need_a_default(several, sagemaker):
    answer = post(several, "/invocations", {"instances": ROWS})
    assert (answer.status, answer.json["code"]) == (404, "MODEL_NOT_FOUND")
    assert "--default sample" in answer.json["error"]
    assert "/models/sample/invocations" in answer.json["error"]
    assert post(sagemaker, "/invocations", {"instances": [[0.5, 1, True]]}).status == 200


def test_csv_needs_an_exact_header_without_a_platform(several):
    whole = b"flag,amount,store\ntrue,0.5,north\nFalse,,\xc3\xbc\n".replace(b"\xc3\xbc", "süd".encode())
    rows = [{"flag": True, "amount": 0.5, "store": "north"}, {"flag": False, "amount": None, "store": "süd"}]
    answer = post(several, "/models/mixed/invocations", whole, "text/csv")
    assert answer.status == 200, answer.body
    assert predictions_of(answer.body) == native(several, rows, "mixed")
    answer = post(several, "/models/mixed/invocations", b"0.5,1,true\n", "text/csv")
    assert (answer.status, answer.json["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert "--platform sagemaker" in answer.json["error"]
    answer = post(several, "/models/mixed/invocations", b"amount,store\n1,north\n", "text/csv")
    assert (answer.status, answer.json["code"]) == (422, "MISSING_FEATURE")
    answer = post(several, "/models/mixed/invocations", b"0.5,1,true\n", "text/csv; header=absent")
    assert predictions_of(answer.body) == native(several, [[0.5, 1, True]], "mixed")


CSV_ROWS = {
    "0.5,1,true": [0.5, 1, True],
    " +.5 ,0,0": [0.5, 0, False],
    "nan,,1.0": [None, None, True],
    "1e5,NaN,": [100000.0, None, None],
}


@pytest.mark.parametrize("line", CSV_ROWS)
def test_csv_of_sagemaker_has_no_header(sagemaker, line):
    answer = post(sagemaker, "/invocations", f"{line}\r\n0.25,0,false\r\n".encode(), "text/csv")
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.body.decode().splitlines() == native(sagemaker, [CSV_ROWS[line], [0.25, 0, False]], "mixed")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"1,2", 422),
        (b"a,0,1", 422),
        (b"inf,0,1", 422),
        (b"1e999,0,1", 422),
        (b"amount,0,1", 422),
        (b"1,9,1", 422),
        (b"", 400),
    ],
)
def test_csv_that_is_refused(sagemaker, body, status):
    assert post(sagemaker, "/invocations", body, "text/csv").status == status


def test_large_refused_bodies_do_not_pile_up(sagemaker):
    (worker,) = sagemaker.workers()
    body = b"," * 8_000_000
    for _ in range(3):
        assert post(sagemaker, "/invocations", body, "text/csv").status == 422
    before = resident_bytes(worker)
    for _ in range(12):
        post(sagemaker, "/invocations", body, "text/csv")
    # One body's text takes some 60 MB while it is read; kept in reference cycles, twelve took 400.
    assert resident_bytes(worker) < before + (150 << 20)


def test_json_lines_and_accept_of_sagemaker(sagemaker):
    rows = [[0.5, 1, True], [0.25, 0, False]]
    expected = native(sagemaker, rows, "mixed")
    lines = b'[0.5, 1, true]\n{"features": [0.25, 0, false]}\n'
    answer = post(sagemaker, "/invocations", lines, "application/jsonlines")
    assert [json.loads(line, parse_float=str) for line in answer.body.splitlines()] == [
        {"prediction": p} for p in expected
    ]
    answer = post(sagemaker, "/invocations", rows, "application/json")
    assert json.loads(answer.body, parse_float=str) == expected
    assert (
        predictions_of(post(sagemaker, "/invocations", {"instances": [{"features": r} for r in rows]}).body) == expected
    )
    answer = post(sagemaker, "/invocations", rows, "application/json", "Accept: text/csv")
    assert answer.body.decode().splitlines() == expected
    assert post(sagemaker, "/invocations", rows, "application/json", "Accept: text/*").body == answer.body
    answer = post(sagemaker, "/invocations", b"0.5,1,true\n0.25,0,false\n", "text/csv", "Accept: application/json")
    assert predictions_of(answer.body) == expected
    weighted = "Accept: text/csv;q=0.2, application/x-npy, application/json; q=0.9"
    assert (
        json.loads(post(sagemaker, "/invocations", rows, "application/json", weighted).body, parse_float=str)
        == expected
    )
    for refused in ("application/x-npy", "text/csv;q=0"):
        assert post(sagemaker, "/invocations", rows, "application/json", f"Accept: {refused}").status == 415
    assert post(sagemaker, "/invocations", rows, "application/x-parquet").status == 415
    answer = post(sagemaker, "/models/three/invocations", [[1, 2, 3]], "application/json", "Accept: text/csv")
    assert answer.body.decode().strip().split(",") == native(sagemaker, [[1, 2, 3]], "three")[0]


def test_bodies_in_gzip_and_bodies_that_are_read_off_the_loop(several):
    body = json.dumps({"dataframe_records": ROWS * 50}).encode()
    assert len(body) > 16 << 10 or len(body * 2) > 16 << 10
    padded = body + b" " * (20 << 10)
    expected = native(several, ROWS * 50)
    assert predictions_of(post(several, "/models/sample/invocations", padded).body) == expected
    packed = gzip.compress(padded)
    answer = post(several, "/models/sample/invocations", packed, "application/json", "Content-Encoding: gzip")
    assert predictions_of(answer.body) == expected


def test_vertex_takes_its_paths_and_port_from_the_environment(paths, monkeypatch):
    monkeypatch.setenv("AIP_PREDICT_ROUTE", "/v1/endpoints/7/deployedModels/8:predict")
    monkeypatch.setenv("AIP_HEALTH_ROUTE", "/v1/endpoints/7/deployedModels/8")
    monkeypatch.setenv("AIP_HTTP_PORT", "not read: --port is given")
    with serving(paths["mixed"], options=["--platform", "vertex"]) as server:
        rows = [[0.5, 1, True]]
        answer = post(server, "/v1/endpoints/7/deployedModels/8:predict", {"instances": rows, "parameters": {}})
        assert predictions_of(answer.body) == native(server, rows, "mixed")
        assert server.ask("GET", "/v1/endpoints/7/deployedModels/8").status == 200
        assert post(server, "/invocations", b"1,1,1", "text/csv").status == 415
        assert post(server, "/invocations", {"inputs": rows}).status == 422


def test_vertex_may_call_its_route_predict(paths, monkeypatch):
    monkeypatch.setenv("AIP_PREDICT_ROUTE", "/predict")
    monkeypatch.setenv("AIP_HEALTH_ROUTE", "/health")
    with serving(paths["mixed"], options=["--platform", "vertex"]) as server:
        rows = [[0.5, 1, True], [1.5, 0, False]]
        answer = post(server, "/predict", {"instances": rows})
        assert predictions_of(answer.body) == native(server, rows, "mixed")
        assert "model" not in answer.json
        one = server.ask("POST", "/models/mixed/predict", {"features": rows[0]})
        assert str(one.json["prediction"]) == native(server, rows, "mixed")[0]
        described = server.ask("GET", "/openapi.json").json["paths"]
        assert "/models/mixed/predict" in described
        assert "/predict" not in described
        assert server.ask("GET", "/health").status == 200


def test_a_path_of_another_route_is_refused_at_the_start(paths):
    done = subprocess.run(
        command([paths["mixed"]], "--predict-route", "/predict"),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "--predict-route: /predict is already used by another route" in done.stderr


def test_health_needs_no_key_and_predictions_do(paths, tmp_path):
    key, entry = make_key("a", ["predict"])
    write_keys(tmp_path / "keys.toml", {entry.id: entry})
    with serving(paths["mixed"], options=["--keys", str(tmp_path / "keys.toml")]) as server:
        for path in ("/ping", "/health", "/version"):
            assert server.ask("GET", path).status == 200
        body = {"instances": [[0.5, 1, True]]}
        assert post(server, "/invocations", body).status == 401
        assert post(server, "/v1/models/mixed:predict", body).status == 401
        allowed = f"Authorization: Bearer {key}"
        assert post(server, "/invocations", body, "application/json", allowed).status == 200
        assert post(server, "/v1/models/mixed:predict", body, "application/json", allowed).status == 200
        assert post(server, "/v1/models/mixed:explain", body, "application/json", allowed).status == 403


def test_prediction_log_has_native_request_and_answer(paths, tmp_path):
    options = ["--prediction-log", tmp_path, "--platform", "sagemaker", "--default", "mixed"]
    with serving(*paths.values(), options=options) as server:
        assert post(server, "/models/sample/invocations", {"dataframe_split": SPLIT}).status == 200
        assert post(server, "/invocations", b"2.5,0,true\n", "text/csv").status == 200
        eventually(lambda: server.metrics().get("mlrf_prediction_log_records_total") == 2, what="two records")
    records = [json.loads(line) for file in tmp_path.glob("*.jsonl") for line in file.read_text().splitlines()]
    named = [[row["features"] for row in each["request"]["instances"]] for each in records]
    assert sorted(map(len, named)) == [1, 2]
    assert max(named, key=len) == ROWS
    answers = sorted((each["answer"] for each in records), key=lambda answer: isinstance(answer, list))
    assert len(answers[0]["predictions"]) == 2
    assert len(answers[1]) == 1, "a line of CSV is a string"


@pytest.mark.parametrize("path", ["/models/mixed/invoke", "/models/mixed/invocations", "/invocations"])
def test_sagemaker_names_a_model_and_gets_its_attributes_back(sagemaker, path):
    row = MIXED.example()
    expected = native(sagemaker, [row], "mixed")
    for attributes in ("id=7; trace=abc", "x" * 1024):
        line = f"X-Amzn-SageMaker-Custom-Attributes: {attributes}"
        for accept, shape in (("application/json", lambda v: v), ("text/csv", None)):
            answer = post(sagemaker, path, {"instances": [row]}, "application/json", line, f"Accept: {accept}")
            assert (answer.status, answer.headers["x-amzn-sagemaker-custom-attributes"]) == (200, attributes)
            assert answer.headers["content-type"].startswith(accept)
            if shape is not None:
                assert predictions_of(answer.body) == expected
    too_long = post(
        sagemaker, path, {"instances": [row]}, "application/json", f"X-Amzn-SageMaker-Custom-Attributes: {'x' * 1025}"
    )
    assert (too_long.status, too_long.code) == (422, "INVALID_REQUEST")
    assert "x-amzn-sagemaker-custom-attributes" not in post(sagemaker, path, {"instances": [row]}).headers


def test_sagemaker_paths_exist_only_with_its_platform(several):
    line = "X-Amzn-SageMaker-Custom-Attributes: id=7"
    answer = post(several, "/models/mixed/invocations", {"instances": [MIXED.example()]}, "application/json", line)
    assert answer.status == 200
    assert "x-amzn-sagemaker-custom-attributes" not in answer.headers
    assert post(several, "/models/mixed/invoke", {"instances": [MIXED.example()]}).status == 404


def test_platforms_and_inference_protocol_share_the_row_limit(several):
    rows = [EXAMPLE | {"price": index / 8} for index in range(2500)]
    for body in ({"instances": rows}, {"dataframe_records": rows}):
        path = "/models/sample/invocations" if "dataframe_records" in body else "/v1/models/sample:predict"
        answer = post(several, path, body)
        assert answer.status == 200
        parts = [native(several, rows[start : start + 100]) for start in range(0, 2500, 100)]
        assert predictions_of(answer.body) == [each for part in parts for each in part]
    refused = post(several, "/models/sample/invocations", {"instances": [[0]] * 10_001})
    assert "raise --max-infer-rows" in refused.json["error"]


def test_v1_takes_json_that_curl_declares_as_a_form(several):
    form = ["Content-Type: application/x-www-form-urlencoded"]
    body = {"instances": [EXAMPLE]}
    for action in ("predict", "explain"):
        path = f"/v1/models/sample:{action}"
        assert several.ask("POST", path, body, headers=form).json == several.ask("POST", path, body).json
    assert several.ask("POST", "/v1/models/sample:predict", b"a=1&b=2", headers=form).status == 400
    assert several.ask("POST", "/v1/models/sample:predict", body, headers=["Content-Type: text/plain"]).status == 415
    gzipped = [*form, "Content-Encoding: gzip"]
    assert several.ask("POST", "/v1/models/sample:predict", body, headers=gzipped).status == 415
