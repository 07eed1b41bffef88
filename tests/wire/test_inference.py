"""The Open Inference Protocol over sockets: the native API's numbers to the bit, both forms, every datatype, and every refusal."""

from __future__ import annotations

import gzip
import json
import random
import struct
import zlib
from dataclasses import replace

import pytest

ROW = [9.5, 3, 1, 1, 1, 7, 0.25]
"""Of the model `sample`, categories as codes."""
COLUMNS = {
    "price": ("FP64", 9.5),
    "count": ("INT64", 3),
    "promo": ("BOOL", True),
    "store": ("BYTES", "süd"),
    "size": ("INT16", 20),
    "code": ("UINT8", 7),
    "depth": ("FP32", 0.25),
}
CODES = {
    "FP64": "d", "FP32": "f", "BOOL": "B", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q",
    "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q",
}  # fmt: skip
PATH = "/v2/models/sample/infer"


def tensor(data, *, name="features", shape=None, datatype="FP64", **more):
    return {
        "name": name,
        "shape": [1, len(data)] if shape is None else shape,
        "datatype": datatype,
        "data": data,
    } | more


def infer(server, *inputs, path=PATH, headers=(), **more):
    return server.ask("POST", path, json.dumps({"inputs": list(inputs), **more}).encode(), headers)


def binary(server, inputs, blobs, *, path=PATH, length=None, headers=(), **more):
    document = json.dumps({"inputs": inputs, **more}).encode()
    lines = [f"Inference-Header-Content-Length: {len(document) if length is None else length}", *headers]
    return server.ask("POST", path, document + blobs, lines)


def native(server, features, model="sample"):
    body = json.dumps({"features": features}).encode()
    return server.ask("POST", f"/models/{model}/predict", body, ["Content-Type: application/json"]).json


def numbers_of(answer, index=-1):
    """The float64 of the last output of a binary answer."""
    n = int(answer.headers["inference-header-content-length"])
    document = json.loads(answer.body[:n])["outputs"][index]
    blob = answer.body[-document["parameters"]["binary_data_size"] :]
    return list(struct.unpack(f"<{len(blob) // 8}d", blob))


@pytest.mark.parametrize("datatype", sorted(CODES))
def test_numeric_datatypes_equal_the_native_api(server, datatype):
    row = [1, 3, 1, 1, 1, 7, 1] if datatype != "BOOL" else [1, 1, 1, 1, 1, 1, 1]
    expected = native(server, [*row[:2], True, *row[3:]])["prediction"]
    values = [bool(x) for x in row] if datatype == "BOOL" else row
    answer = infer(server, tensor(values, datatype=datatype))
    assert answer.status == 200, answer.body
    assert answer.json["outputs"] == [{"name": "prediction", "datatype": "FP64", "shape": [1], "data": [expected]}]
    blob = struct.pack(f"<7{CODES[datatype]}", *row)
    description = {
        "name": "features",
        "shape": [1, 7],
        "datatype": datatype,
        "parameters": {"binary_data_size": len(blob)},
    }
    answer = binary(server, [description], blob, parameters={"binary_data_output": True})
    assert numbers_of(answer) == [expected]


def test_a_tensor_a_feature_takes_categories_by_value(server):
    expected = native(server, {name: value for name, (_, value) in COLUMNS.items()})["prediction"]
    inputs = [tensor([v], name=name, shape=[1], datatype=kind) for name, (kind, v) in COLUMNS.items()]
    assert infer(server, *inputs).json["outputs"][0]["data"] == [expected]
    tensors, blobs = [], b""
    for name, (kind, value) in reversed(COLUMNS.items()):
        text = str(value).encode()
        blob = struct.pack("<I", len(text)) + text if kind == "BYTES" else struct.pack("<" + CODES[kind], value)
        tensors.append({"name": name, "shape": [1, 1], "datatype": kind, "parameters": {"binary_data_size": len(blob)}})
        blobs += blob
    assert numbers_of(binary(server, tensors, blobs, parameters={"binary_data_output": True})) == [expected]


def test_what_is_missing_is_nan_null_or_the_word_of_clients(server):
    expected = native(server, [None, *ROW[1:2], True, *ROW[3:]])["prediction"]
    assert infer(server, tensor([None, *ROW[1:]])).json["outputs"][0]["data"] == [expected]
    # What json.dumps makes of NaN is not JSON.
    assert infer(server, tensor([float("nan"), *ROW[1:]])).json["outputs"][0]["data"] == [expected]
    assert infer(server, tensor([[None, *ROW[1:]]], shape=[1, 7])).json["outputs"][0]["data"] == [expected]


@pytest.mark.parametrize("feature", [name for name in COLUMNS if name != "depth"])
def test_null_is_missing_in_a_tensor_of_every_datatype(server, feature):
    values = {name: None if name == feature else value for name, (_, value) in COLUMNS.items()}
    expected = native(server, values)["prediction"]
    for kind in {COLUMNS[feature][0], *(("INT64", "BOOL", "UINT8") if COLUMNS[feature][0] != "BYTES" else ())}:
        inputs = [
            tensor([values[name]], name=name, shape=[1, 1], datatype=kind if name == feature else own)
            for name, (own, _) in COLUMNS.items()
        ]
        assert infer(server, *inputs).json["outputs"][0]["data"] == [expected], kind


def test_metadata_are_had_with_a_slash_too(server):
    assert server.ask("GET", "/v2/").json == server.ask("GET", "/v2").json


def test_null_in_place_of_what_may_be_left_out_is_as_if_it_were(server):
    """As MLServer's clients write a request: every member of its type, null where nobody set it."""
    expected = infer(server, tensor(ROW)).json
    sent = tensor(ROW) | {"parameters": {"content_type": None, "headers": None}}
    document = {"id": None, "parameters": None, "inputs": [sent], "outputs": None}
    answer = server.ask("POST", PATH, json.dumps(document).encode())
    assert (answer.status, answer.json) == (200, expected)
    assert "id" not in expected
    output = {"name": "predict", "parameters": None}
    answer = server.ask(
        "POST",
        PATH,
        json.dumps(document | {"inputs": [tensor(ROW) | {"parameters": None}], "outputs": [output]}).encode(),
    )
    assert answer.json["outputs"][0]["data"] == expected["outputs"][0]["data"]


def test_many_rows_computed_off_the_loop_equal_single_rows(server):
    chosen = random.Random(7)
    rows = [[chosen.uniform(0, 9), 3, chosen.random() < 0.5, 1, 1, 7, 0.25] for _ in range(10_000)]
    flat = [float(x) for row in rows for x in row]
    blob = struct.pack(f"<{len(flat)}d", *flat)
    description = {
        "name": "features",
        "shape": [10_000, 7],
        "datatype": "FP64",
        "parameters": {"binary_data_size": len(blob)},
    }
    answer = binary(
        server, [description], blob, parameters={"binary_data_output": True}, headers=["Accept-Encoding: gzip"]
    )
    assert answer.headers["content-encoding"] == "gzip"
    made = numbers_of(replace(answer, body=gzip.decompress(answer.body)))
    for row in (0, 4_999, 9_999):
        assert made[row] == native(server, rows[row])["prediction"]
    plain = infer(server, tensor(flat, shape=[10_000, 7]))
    assert plain.json["outputs"][0]["data"] == made


def test_bodies_and_answers_may_be_compressed(server):
    body = json.dumps({"inputs": [tensor(ROW * 200, shape=[200, 7])]}).encode()
    plain = server.ask("POST", PATH, body)
    for name, pack, unpack in (("gzip", gzip.compress, gzip.decompress), ("deflate", zlib.compress, zlib.decompress)):
        answer = server.ask("POST", PATH, pack(body), [f"Content-Encoding: {name}", f"Accept-Encoding: {name}"])
        assert (answer.status, answer.headers["content-encoding"]) == (200, name)
        assert unpack(answer.body) == plain.body
        assert server.ask("POST", PATH, pack(body)[:-6], [f"Content-Encoding: {name}"]).status == 400


def test_outputs_are_named_as_requested(server):
    three = [0.5, 1.5, 2.5]
    probabilities = native(server, three, "three")["probabilities"]
    path = "/v2/models/three/infer"
    for name in ("probabilities", "output__0", "prediction"):
        (output,) = infer(server, tensor(three), path=path, outputs=[{"name": name}]).json["outputs"]
        assert (output["name"], output["shape"], output["data"]) == (name, [1, 3], probabilities)
    for name, named in (
        ("input__0", "output__0"),
        ("input-0", "output-0"),
        ("input-1", "output-1"),
        ("predict", "predict"),
        ("features", "probabilities"),
    ):
        (output,) = infer(server, tensor(three, name=name), path=path).json["outputs"]
        assert (output["name"], output["data"]) == (named, probabilities)
    answer = infer(server, tensor(ROW), path="/v2/models/binary/infer", outputs=[{"name": "probabilities"}], id="7")
    expected = native(server, [*ROW[:2], True, *ROW[3:]], "binary")
    assert answer.json["outputs"][0]["data"] == expected["probabilities"]
    assert (answer.json["id"], answer.json["parameters"]["bundle_version"]) == ("7", expected["version"])


def test_a_version_is_named_by_number_or_digest(server):
    digest = server.ask("GET", "/models").json["models"][0]["digest"]
    for version in ("1", digest[:6], digest[:12], digest[:13], digest):
        assert server.ask("GET", f"/v2/models/sample/versions/{version}/ready").status == 200
        assert infer(server, tensor(ROW), path=f"/v2/models/sample/versions/{version}/infer").status == 200
        answer = server.ask("GET", f"/v2/models/sample/versions/{version}/nothing")
        assert (answer.status, answer.code) == (404, "ROUTE_NOT_FOUND")
    assert server.ask("GET", "/v2/models/sample/versions//ready").code == "ROUTE_NOT_FOUND"
    for path in (
        "/v2/models/sample/versions/2",
        f"/v2/models/sample/versions/{digest[:5]}/ready",
        "/v2/models/none",
        "/v2/models/none/infer",
    ):
        answer = server.ask("GET", path)
        assert (answer.status, answer.code) == (404, "MODEL_NOT_FOUND")


BAD = {
    "a wrong name": [tensor(ROW, name="nothing")],
    "a column too many": [tensor([*ROW, 1])],
    "too few values": [tensor(ROW[:6], shape=[1, 7])],
    "a negative dimension": [tensor(ROW, shape=[-1, 7])],
    "a huge dimension": [tensor(ROW, shape=[1 << 62, 7])],
    "no row": [tensor([], shape=[0, 7])],
    "one dimension": [tensor(ROW, shape=[7])],
    "another datatype": [tensor(ROW, datatype="FP16")],
    "text for numbers": [tensor(list("abcdefg"), datatype="BYTES")],
    "no integers": [tensor(ROW, datatype="INT64")],
    "an integer beyond its datatype": [tensor([300, 3, 1, 1, 1, 7, 1], datatype="INT8")],
    "a category that is none": [tensor([9.5, 3, 1, 3, 1, 7, 0.25])],
    "a boolean that is none": [tensor([9.5, 3, 2, 1, 1, 7, 0.25])],
    "half a count": [tensor([9.5, 3.5, 1, 1, 1, 7, 0.25])],
    "what may not be missing": [tensor([9.5, 3, 1, 1, 1, 7, None])],
    "two of a name": [tensor(ROW), tensor(ROW)],
    "a missing tensor": [tensor([1.0], name="price", shape=[1])],
    "no data": [{"name": "features", "shape": [1, 7], "datatype": "FP64"}],
    "no inputs": [],
}


@pytest.mark.parametrize("inputs", BAD.values(), ids=BAD)
def test_what_is_wrong_is_refused_by_name(server, inputs):
    answer = infer(server, *inputs)
    assert 400 <= answer.status < 500, answer.body
    assert answer.json["error"]
    if inputs:
        assert "input" in answer.json["details"]


def test_binary_sizes_that_do_not_add_up_are_refused(server):
    blob = struct.pack("<7d", *ROW)
    description = {"name": "features", "shape": [1, 7], "datatype": "FP64"}
    for size, length, sent in ((55, None, blob), (56, None, blob + b"\0"), (64, None, blob), (-8, None, blob)):
        answer = binary(server, [description | {"parameters": {"binary_data_size": size}}], sent, length=length)
        assert answer.status in (400, 422), answer.body
    for length in (10**9, "x", -1, 3):
        answer = binary(server, [description | {"parameters": {"binary_data_size": 56}}], blob, length=length)
        assert answer.status == 400
    assert infer(server, tensor(ROW), outputs=[{"name": "nothing"}]).code == "INVALID_TENSOR"
    assert infer(server, tensor(ROW * 10_001, shape=[10_001, 7])).code == "BATCH_TOO_LARGE"


def test_the_statistics_count_rows_and_failures(server):
    before = server.ask("GET", "/v2/models/exp/stats").json["model_stats"][0]
    path = "/v2/models/exp/infer"
    assert infer(server, tensor([0.5] * 6, shape=[2, 3]), path=path).status == 200
    assert infer(server, tensor([0.5] * 5, shape=[2, 3]), path=path).status == 422
    after = server.ask("GET", "/v2/models/exp/stats").json["model_stats"][0]
    assert after["inference_count"] - before["inference_count"] == 2
    assert after["execution_count"] - before["execution_count"] == 1
    counts = {
        part: after["inference_stats"][part]["count"] - before["inference_stats"][part]["count"]
        for part in ("success", "fail")
    }
    assert counts == {"success": 1, "fail": 1}


@pytest.mark.parametrize("timeout", [0, 60_000_000])
def test_a_request_may_name_the_microseconds_it_waits(server, timeout):
    assert infer(server, tensor(ROW), parameters={"timeout": timeout}).status == 200


def test_a_request_whose_microseconds_are_over_is_not_answered(server):
    answer = infer(server, tensor(ROW), parameters={"timeout": 1})
    assert (answer.status, answer.code) == (504, "DEADLINE_EXCEEDED")


@pytest.mark.parametrize("timeout", [-1, 1.5, "1", True, 1 << 62])
def test_invalid_timeout_parameter_is_refused(server, timeout):
    answer = infer(server, tensor(ROW), parameters={"timeout": timeout})
    assert (answer.status, answer.json["details"]["parameter"]) == (422, "timeout")
