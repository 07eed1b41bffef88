"""What the header fields of a gRPC call say, and which repeated fields are refused."""

from __future__ import annotations

import pytest

from mlrf.core.errors import MalformedRequestError
from mlrf.serving.oip.grpc.call_head import read_call_head

FIELDS = {
    b":method": b"POST",
    b":path": b"/inference.GRPCInferenceService/ModelInfer",
    b"content-type": b"application/grpc",
    b"grpc-timeout": b"2S",
    b"grpc-encoding": b"gzip",
    b"authorization": b"Bearer a.b",
    b"x-request-id": b"one",
    b"user-agent": b"test",
}


def test_a_head_says_what_its_fields_say():
    head = read_call_head([*FIELDS.items()])
    assert (head.path, head.timeout_s, head.encoding) == ("/inference.GRPCInferenceService/ModelInfer", 2.0, b"gzip")
    assert (head.authorization, head.request_id) == (b"Bearer a.b", b"one")
    assert head.fault is None
    assert head.http_status == b""


@pytest.mark.parametrize("name", [b"content-type", b"grpc-timeout", b"grpc-encoding", b"x-request-id"])
@pytest.mark.parametrize("is_same", [True, False])
def test_a_field_that_decides_something_is_sent_once(name, is_same):
    head = read_call_head([*FIELDS.items(), (name, FIELDS[name] if is_same else b"1S")])
    assert isinstance(head.fault, MalformedRequestError)
    assert f"two {name.decode()} fields" in str(head.fault)


def test_two_keys_are_none_and_other_metadata_may_be_repeated():
    head = read_call_head([*FIELDS.items(), (b"authorization", b"Bearer a.b"), (b"user-agent", b"other")])
    assert head.authorization == b""
    assert head.fault is None
