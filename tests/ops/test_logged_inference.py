"""The prediction log of the Open Inference Protocol: inputs, outputs and version as JSON, whatever their wire format."""

from __future__ import annotations

import gzip
import json
import math
import struct
import zlib

import pytest

from bundles import write_tree_bundle
from grpc_peer import INFERENCE, LIMIT_S, Peer, address_of
from inference_rows import ROW, a_tensor_a_feature, one_tensor
from inference_wires import GrpcWire, ParsedRequest, RestWire, wires
from mlrf.core.bundle import read_bundle
from mlrf.serving.oip.grpc.message_types import message
from running import eventually, serving

ROUTE = "/v2/models/{name}/infer"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_tree_bundle(tmp_path_factory.mktemp("logged") / "sample")


def records(server, folder, n):
    """The records of `n` predictions, in the order of their ids."""

    def written():
        return server.metrics()["mlrf_prediction_log_records_total"] == n

    eventually(written, what=f"{n} records")
    lines = [line for file in folder.glob("*.jsonl") for line in file.read_text().splitlines()]
    return sorted(map(json.loads, lines), key=lambda each: each["request"].get("id", ""))


def test_every_form_is_logged_with_the_same_inputs_and_outputs(bundle, tmp_path):
    rows = [ROW, [None, *ROW[1:]], [0.1, 5, 0, 2, 2, 9, 1.5]]
    flat = [value for row in rows for value in row]
    options = ["--prediction-log", str(tmp_path), "--grpc-port", "0"]
    with serving(bundle, workers=2, options=options) as server, Peer(address_of(server)) as peer:
        ways = list(wires(server, peer).values())
        expected = ways[0].infer(ParsedRequest(one_tensor(rows, "FP64"), id="0")).outputs["prediction"]
        for number, wire in enumerate((*ways, *ways), 1):
            inputs = one_tensor(rows, "FP64") if number % 2 else a_tensor_a_feature(rows, "FP64")
            wire.infer(ParsedRequest(inputs, id=str(number), outputs=["prediction"]))
        assert ways[1].infer(ParsedRequest(one_tensor([ROW[1:]], "FP64"))).status == 422
        logged = records(server, tmp_path, 9)
    version = read_bundle(bundle).short_version
    for number, record in enumerate(logged):
        on_grpc = number and isinstance(ways[(number - 1) % 4], GrpcWire)
        assert record["route"] == (INFERENCE + "ModelInfer" if on_grpc else ROUTE)
        assert record["answer"]["parameters"] == {"bundle_version": version}
        (output,) = record["answer"]["outputs"]
        assert (output["name"], output["shape"], output["data"]) == ("prediction", [3], expected)
        sent = {each["name"]: each["data"] for each in record["request"]["inputs"]}
        if number % 2 or not number:
            assert sent == {"features": flat}
        else:
            assert sent == {each.name: each.values for each in a_tensor_a_feature(rows, "FP64")}


def test_what_is_compressed_or_says_nan_is_logged_as_json(bundle, tmp_path):
    document = {
        "inputs": [{"name": "features", "shape": [200, 7], "datatype": "FP64", "data": [math.nan, *ROW[1:]] * 200}]
    }
    body = json.dumps(document).encode()
    request = ParsedRequest(one_tensor([ROW] * 200, "FP64"), id="binary")
    binary, length = RestWire(None, binary=True).message(request)
    with serving(bundle, options=["--prediction-log", str(tmp_path)]) as server:
        path = "/v2/models/sample/infer"
        coded = ["Content-Encoding: gzip", "Accept-Encoding: gzip"]
        answer = server.ask("POST", path, gzip.compress(body), coded)
        assert answer.headers["content-encoding"] == "gzip"
        coded = ["Content-Encoding: deflate", "Accept-Encoding: deflate", f"Inference-Header-Content-Length: {length}"]
        coded_answer = server.ask("POST", path, zlib.compress(binary), coded)
        assert coded_answer.headers["content-encoding"] == "deflate"
        first, second = records(server, tmp_path, 2)
    assert first["request"]["inputs"][0]["data"] == [None, *ROW[1:]] * 200
    assert first["answer"] == json.loads(gzip.decompress(answer.body))
    assert second["request"]["inputs"][0]["data"] == ROW * 200
    numbers = struct.unpack("<200d", zlib.decompress(coded_answer.body)[-1600:])
    assert second["answer"]["outputs"][0]["data"] == list(numbers)


def test_each_request_of_a_stream_is_logged(bundle, tmp_path):
    bodies = [
        GrpcWire(None, raw=True).message(ParsedRequest(one_tensor([ROW], "FP64"), id=str(n)))[0] for n in range(3)
    ]
    options = ["--prediction-log", str(tmp_path), "--grpc-port", "0"]
    with serving(bundle, options=options) as server, Peer(address_of(server)) as peer:
        call = peer.channel.stream_stream(INFERENCE + "ModelStreamInfer")(iter(bodies), timeout=LIMIT_S)
        answers = [message("ModelStreamInferResponse").FromString(each).infer_response for each in call]
        logged = records(server, tmp_path, 3)
    for answer, record in zip(answers, logged, strict=True):
        assert record["request"]["id"] == record["answer"]["id"] == answer.id
        assert record["answer"]["outputs"][0]["data"] == list(struct.unpack("<d", answer.raw_output_contents[0]))


def test_what_is_passed_over_in_a_body_leaves_the_log_readable(bundle, tmp_path):
    with serving(bundle, options=["--prediction-log", str(tmp_path)]) as server:
        sound, _ = RestWire(server, binary=False).message(ParsedRequest(one_tensor([ROW], "FP64"), id="seven"))
        body = sound.replace(b'"id"', b'"\xff\xfe": 1, "id"')
        assert server.ask("POST", "/v2/models/sample/infer", body).status == 200
        (record,) = records(server, tmp_path, 1)
    assert record["request"]["id"] == "seven"
