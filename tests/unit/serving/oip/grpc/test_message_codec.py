"""Answers over gRPC are written by hand, and are what protobuf itself would write."""

from __future__ import annotations

import struct
from array import array

import msgspec
import pytest

from mlrf.serving.oip.grpc.message_codec import read_request, read_response, streamed, write_response
from mlrf.serving.oip.grpc.message_types import message
from mlrf.serving.oip.grpc.protobuf_wire import delimited, varint
from mlrf.serving.oip.messages import InferRequest, InferResponse, InputTensor, OutputTensor

RESPONSE, PARAMETER = message("ModelInferResponse"), message("InferParameter")
ONE = (OutputTensor("prediction", "FP64", [1], bytes(8)),)
REQUEST = InferRequest("m", [InputTensor("features", "FP64", [1, 1], bytes(8))])
FIELDS = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}


def by_protobuf(response):
    written = RESPONSE(model_name=response.model_name, model_version=response.model_version, id=response.id)
    for name, value in response.parameters.items():
        written.parameters[name].CopyFrom(PARAMETER(**{FIELDS[type(value)]: value}))
    for each in response.outputs:
        written.outputs.add(name=each.name, datatype=each.datatype, shape=each.shape)
        written.raw_output_contents.append(each.data)
    return written


def outputs(*shapes):
    return [OutputTensor(f"output {i}", "FP64", shape, bytes([i]) * 8) for i, shape in enumerate(shapes)]


@pytest.mark.parametrize(
    "response",
    [
        InferResponse("m", "1", "", {}, ONE),
        InferResponse("m" * 127, "12", "x", {}, ONE),
        InferResponse("m" * 128, "1" * 300, "Ä" * 64, {}, ONE),
        InferResponse("m", "1", "", {}, []),
        InferResponse("m", "1", "\0\n€🌍" * 4000, {"ü": "€" * 200}, ONE),
        InferResponse("m", "1", "", {}, outputs([], [0], [0, 7], [-1, 7], [-(1 << 63), (1 << 63) - 1])),
        InferResponse("m", "1", "", {}, outputs([1], [1, 27], [127, 128], [10_000, 300, 7], [1 << 40])),
        *(
            InferResponse("m", "1", "", {"a": value}, ONE)
            for value in (True, False, 1, 0, -1, 1 << 62, 1.0, 0.0, "1", "")
        ),
        *(
            InferResponse("m", "1", "", {}, [OutputTensor("o", "FP64", [size], b"\xff" * size)])
            for size in (0, 127, 128, 16_383, 16_384, 1 << 21)
        ),
    ],
)
def test_an_answer_is_byte_for_byte_what_protobuf_writes(response):
    assert write_response(REQUEST, response) == by_protobuf(response).SerializeToString()


@pytest.mark.parametrize(
    ("datatype", "contents", "data"),
    [
        ("FP64", {"fp64_contents": [0.1, -0.0, 1e300]}, struct.pack("<3d", 0.1, -0.0, 1e300)),
        ("INT64", {"int64_contents": [-1, 0, 1 << 62]}, struct.pack("<3q", -1, 0, 1 << 62)),
        ("BOOL", {"bool_contents": [True, False, True]}, b"\1\0\1"),
        ("BYTES", {"bytes_contents": [b"a", b"", "süd".encode()]}, b"\1\0\0\0a\0\0\0\0\4\0\0\0s\xc3\xbcd"),
    ],
)
def test_values_are_answered_by_values_as_protobuf_writes_them(datatype, contents, data):
    request = InferRequest("m", [InputTensor("features", "FP64", [1, 1], [0.5])])
    response = InferResponse(
        "m", "1", "7", {}, [OutputTensor("o", datatype, [3], data), OutputTensor("p", "FP64", [1], bytes(8))]
    )
    written = RESPONSE(model_name="m", model_version="1", id="7")
    written.outputs.add(name="o", datatype=datatype, shape=[3], contents=contents)
    written.outputs.add(name="p", datatype="FP64", shape=[1], contents={"fp64_contents": [0.0]})
    body = write_response(request, response)
    assert body == written.SerializeToString()
    assert read_response(body) == msgspec.structs.replace(
        response, outputs=[msgspec.structs.replace(each, shape=tuple(each.shape)) for each in response.outputs]
    )


def test_parameters_of_all_types_are_distinguished():
    parameters = {"bundle_version": "3eeac7eb3f55", "stale": True, "count": 1, "share": 1.0}
    response = InferResponse("m", "1", "7", parameters, ONE)
    assert RESPONSE.FromString(write_response(REQUEST, response)) == by_protobuf(response)


def test_stream_answer_is_final_for_its_request():
    response = InferResponse("m", "1", "7", {"bundle_version": "3eeac7eb3f55"}, outputs([1], [1, 27]))
    decoded = message("ModelStreamInferResponse").FromString(streamed(write_response(REQUEST, response)))
    assert decoded.error_message == ""
    assert decoded.infer_response.parameters["triton_final_response"].bool_param
    del decoded.infer_response.parameters["triton_final_response"]
    assert decoded.infer_response == by_protobuf(response)


def test_a_number_has_as_many_digits_as_it_needs():
    kind = message("ServerMetadataResponse")
    for size in (0, 1, 127, 128, 300, 16_384):
        assert delimited(1, b"x" * size) == (kind(name="x" * size).SerializeToString() or b"\x0a\x00")


@pytest.mark.parametrize(
    ("datatype", "field", "code"), [("FP32", "fp32_contents", "f"), ("FP64", "fp64_contents", "d")]
)
@pytest.mark.parametrize("n", [4096, 4097, 100_000])
def test_many_floats_are_read_without_an_object_each(datatype, field, code, n):
    values = [*(float("nan"), float("inf"), -0.0), *(k / 8 for k in range(n - 3))]
    inputs = [{"name": "x", "datatype": datatype, "shape": [n], "contents": {field: values}}]
    body = message("ModelInferRequest")(model_name="m", inputs=inputs).SerializeToString()
    (tensor,) = read_request(body).inputs
    assert isinstance(tensor.data, memoryview if n > 4096 else list)
    assert (bytes(tensor.data) if n > 4096 else array(code, tensor.data).tobytes()) == array(code, values).tobytes()


def test_fields_that_contents_lack_are_not_among_the_values():
    contents = b"\xf8\x06\x01" + b"\x3a" + varint(8 * 5000) + bytes(8 * 5000) + b"\xf8\x06\x01"
    tensor = b"\x0a\x01x\x12\x04FP64\x1a\x02" + varint(5000) + b"\x2a" + varint(len(contents)) + contents
    (read,) = read_request(b"\x0a\x01m\x2a" + varint(len(tensor)) + tensor).inputs
    assert bytes(read.data) == bytes(8 * 5000)


def test_many_integers_are_read():
    inputs = [{"name": "x", "datatype": "INT64", "shape": [5000], "contents": {"int64_contents": range(5000)}}]
    (tensor,) = read_request(message("ModelInferRequest")(inputs=inputs).SerializeToString()).inputs
    assert tensor.data == list(range(5000))
