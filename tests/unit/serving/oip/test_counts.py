"""Requests with millions of fields are refused for their number, before any is created; protobuf itself gives the expected counts."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from mlrf import _kernel
from mlrf.core.errors import MalformedRequestError
from mlrf.serving.oip.grpc.message_codec import read_request
from mlrf.serving.oip.grpc.message_types import message
from mlrf.serving.oip.rest import request_body

SIZE = 4 << 20
TENSOR = b'{"name":"","shape":[],"datatype":"","data":[]}'
SOUND = b'{"name":"features","shape":[1,3],"datatype":"FP64","data":[1,2,3]}'


def field(number, content):
    """A field that has a length, of less than 256 MB."""
    size = b"".join(bytes((len(content) >> shift & 127 | 128,)) for shift in (0, 7, 14)) + bytes((len(content) >> 21,))
    return bytes((number << 3 | 2,)) + size + content


def many(unit):
    return unit * (SIZE // len(unit))


MESSAGES = {
    "inputs": many(b"\x2a\0"),
    "outputs": many(b"\x32\0"),
    "parameters": many(b"\x22\0"),
    "raw_input_contents": many(b"\x3a\0"),
    "fields": many(b"\x78\1"),
    "dimensions": field(5, field(3, many(b"\1"))),
    "parameters of a tensor": field(5, many(b"\x22\0")),
    "strings": field(5, field(5, many(b"\x42\0"))),
    "numbers": field(5, field(5, field(1, many(b"\1")))),
}
DOCUMENTS = {
    "inputs": b'{"inputs":[%b]}' % many(TENSOR + b",")[:-1],
    "outputs": b'{"inputs":[%b],"outputs":[%b]}' % (SOUND, many(b'{"name":""},')[:-1]),
    "parameters": b'{"inputs":[%b],"parameters":{"a":[%b]}}' % (SOUND, many(b"[],")[:-1]),
    "shape": b'{"inputs":[{"name":"a","shape":[%b],"datatype":"FP64","data":[]}]}' % many(b"1,")[:-1],
}


def refused(read):
    """Refused without more memory than a few copies of the bytes, nor much time."""
    tracemalloc.start()
    began_s = time.process_time()
    try:
        with pytest.raises(MalformedRequestError):
            read()
        assert tracemalloc.get_traced_memory()[1] < 4 * SIZE
    finally:
        tracemalloc.stop()
    assert time.process_time() - began_s < 0.5


@pytest.mark.parametrize("body", MESSAGES.values(), ids=MESSAGES)
def test_message_of_millions_of_fields_is_refused(body):
    refused(lambda: read_request(body))


@pytest.mark.parametrize("body", DOCUMENTS.values(), ids=DOCUMENTS)
def test_document_of_millions_of_objects_is_refused(body):
    refused(lambda: request_body.read_request("m", body, None, 0.0, 1000))


def test_the_numbers_are_those_of_protobuf():
    parameter = {"a": {"bool_param": True}}
    contents = {"fp64_contents": [0.5] * 3, "int_contents": [-1, 300], "bytes_contents": [b"", b"x"]}
    tensor = {"name": "a", "shape": [1, 300, -1], "parameters": parameter, "contents": contents}
    body = message("ModelInferRequest")(
        model_name="m",
        inputs=[tensor, tensor],
        outputs=[{"name": "o", "parameters": parameter}],
        parameters=parameter,
        raw_input_contents=[b"", b"12345678"],
    ).SerializeToString()
    inputs, outputs, parameters, raw, dimensions, numbers, texts, fields = _kernel.count_wire(body, 1000)
    assert (inputs, outputs, parameters, raw) == (2, 1, 4, 2)
    assert (dimensions, numbers, texts) == (6, 10, 4)
    assert fields > 20
    assert _kernel.count_wire(body, 3)[-1] == 4


@pytest.mark.parametrize(
    "body", [b"\x2a", b"\x2a\xff", b"\x2a" + b"\xff" * 9 + b"\1", b"\x29\0", b"\xff" * 20, b"\x2e", b""]
)
def test_non_protobuf_bytes_end_the_count(body):
    assert _kernel.count_wire(body, 1000)[0] == 0
