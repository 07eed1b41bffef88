"""The protobuf codec of inference: decodes a ModelInferRequest, encodes a ModelInferResponse."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

from mlrf.core.errors import InvalidTensorError, MalformedRequestError
from mlrf.core.value_text import clip, shown_name
from mlrf.serving.oip.counts import CountLimits
from mlrf.serving.oip.grpc.message_types import message, parsed
from mlrf.serving.oip.grpc.protobuf_wire import delimited, head, varint
from mlrf.serving.oip.messages import (
    MOST_DIMENSIONS,
    NO_PARAMETERS,
    NOT_OFFERED,
    InferRequest,
    InferResponse,
    InputTensor,
    OutputTensor,
    not_offered,
)
from mlrf.serving.oip.output_values import data_of, values_of

_LIMITS = CountLimits()
_REQUEST = message("ModelInferRequest")
_RESPONSE = message("ModelInferResponse")
_OUTPUT = message("inference.ModelInferResponse.InferOutputTensor")
_STREAMED = message("ModelStreamInferResponse")
_PARAMETER = message("InferParameter")
_VALUES = message("InferTensorContents")
_CHOICES = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}
_FINAL = _RESPONSE(parameters={"triton_final_response": _PARAMETER(bool_param=True)}).SerializeToString()
"""Appended to a response's bytes, which merges it into the message: Triton's clients then expect no other response."""
_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""The field with the values of a datatype."""
_PACKED = {"fp32_contents": (b"\x32", 4), "fp64_contents": (b"\x3a", 8)}
"""The fields whose packed values are as in memory: their tags, and the bytes of a value."""
_MANY_VALUES = 4096
"""More numbers than this are not made objects: a million took 35 ms, also for a message that is then refused."""


def read_request(body: bytes, began_s: float = 0.0, limits: CountLimits = _LIMITS) -> InferRequest:
    """Return the decoded ModelInferRequest; raises MalformedRequestError, or InvalidTensorError for its contents."""
    limits.check_message(body)
    request = parsed(_REQUEST, body)
    inputs, raw = request.inputs, request.raw_input_contents
    if raw:
        if len(raw) != len(inputs):
            raise InvalidTensorError(
                f"raw_input_contents has {len(raw)} tensors for {len(inputs)} inputs; send one for each, in the same order"
            )
        tensors = [_raw(tensor, data) for tensor, data in zip(inputs, raw, strict=True)]
    else:
        tensors = [_typed(tensor) for tensor in inputs]
    return InferRequest(
        request.model_name,
        tensors,
        request.model_version,
        request.id,
        _values(request.parameters) if request.parameters else NO_PARAMETERS,
        [_output(each) for each in request.outputs],
        began_s,
    )


def write_response(request: InferRequest, response: InferResponse) -> bytes:
    """Return a ModelInferResponse, in the form of the request: raw contents to raw contents, values to values.

    Triton's clients send raw contents and read nothing else; KServe's read the form that they sent.
    """
    parts = [_model(response.model_name, response.model_version)]
    if response.id:
        parts.append(delimited(3, response.id.encode()))
    for name, value in response.parameters.items():
        parts.append(_parameter(name, value))
    outputs = response.outputs
    if isinstance(request.inputs[0].data, bytes):
        parts += [_output_tensor(each.name, each.datatype, *each.shape) for each in outputs]
        for each in outputs:
            parts += (head(6, len(each.data)), each.data)
    else:
        for each in outputs:
            described, contents = _described(each.name, each.datatype, *each.shape), _contents(each)
            parts += (head(5, len(described) + len(contents)), described, contents)
    return b"".join(parts)


def read_response(body: bytes) -> InferResponse:
    """Return the decoded form of a ModelInferResponse written by this server."""
    answer = parsed(_RESPONSE, body)
    raw = answer.raw_output_contents or [
        data_of(each.datatype, getattr(each.contents, _CONTENTS[each.datatype])) for each in answer.outputs
    ]
    outputs = [
        OutputTensor(each.name, each.datatype, tuple(each.shape), data)
        for each, data in zip(answer.outputs, raw, strict=True)
    ]
    return InferResponse(answer.model_name, answer.model_version, answer.id, _values(answer.parameters), outputs)


def streamed(response: bytes) -> bytes:
    """Return the message of a stream that carries a ModelInferResponse."""
    return b"".join((head(2, len(response) + len(_FINAL)), response, _FINAL))


def streamed_fault(body: bytes, details: str) -> bytes:
    """Return the stream message for a request that failed."""
    answer = _STREAMED(error_message=details)
    with suppress(MalformedRequestError):
        _LIMITS.check_message(body)
        request = parsed(_REQUEST, body)
        answer.infer_response.model_name = request.model_name
        answer.infer_response.id = request.id
    written: bytes = answer.SerializeToString()
    return written


def _raw(tensor: Any, data: bytes) -> InputTensor:
    if tensor.HasField("contents") and tensor.contents.ByteSize():
        raise InvalidTensorError(
            f"input {shown_name(tensor.name)} has contents, but the request has raw_input_contents too; send one of them",
            input=clip(tensor.name),
        )
    if tensor.parameters:
        _check_offered("input", tensor)
    return InputTensor(tensor.name, tensor.datatype, tuple(tensor.shape), data)


def _typed(tensor: Any) -> InputTensor:
    if tensor.parameters:
        _check_offered("input", tensor)
    field = _CONTENTS.get(tensor.datatype)
    values: Sequence[Any] = ()
    if field is not None:
        contents = tensor.contents
        for present, _ in contents.ListFields():
            if present.name != field:
                raise InvalidTensorError(
                    f"input {shown_name(tensor.name)}: values of {tensor.datatype} belong in {field}, not {present.name}",
                    input=clip(tensor.name),
                    datatype=tensor.datatype,
                )
        values = getattr(contents, field)
        # Too many dimensions are refused at once: copying and multiplying as many as fit in a message takes long.
        if len(tensor.shape) <= MOST_DIMENSIONS and len(values) == math.prod(tensor.shape):
            values = _packed_values(contents, field) if len(values) > _MANY_VALUES else list(values)
    return InputTensor(tensor.name, tensor.datatype, tuple(tensor.shape), values)


def _packed_values(contents: Any, field: str) -> Sequence[Any] | memoryview:
    """Return the values of contents that have only this field; of floats the bytes, as they are in memory."""
    values: Sequence[Any] = getattr(contents, field)
    if field not in _PACKED:
        return values  # as protobuf has them: a message whose shape is refused makes no objects
    tag, width = _PACKED[field]
    n_bytes = len(values) * width
    before = tag + varint(n_bytes)
    packed = contents.SerializeToString()
    return memoryview(packed)[len(before) :][:n_bytes] if packed.startswith(before) else list(values)


def _output(tensor: Any) -> str:
    if tensor.parameters:
        _check_offered("output", tensor)
    name: str = tensor.name
    return name


def _check_offered(what: str, tensor: Any) -> None:
    for name in NOT_OFFERED:
        if name in tensor.parameters:
            raise not_offered(what, tensor.name, name)


def _values(parameters: Mapping[str, Any]) -> dict[str, Any]:
    values = {}
    for name, parameter in parameters.items():
        field = parameter.WhichOneof("parameter_choice")
        values[name] = None if field is None else getattr(parameter, field)
    return values


@lru_cache
def _model(name: str, version: str) -> bytes:
    return delimited(1, name.encode()) + delimited(2, version.encode())


@lru_cache(typed=True)
def _parameter(name: str, value: bool | float | str) -> bytes:
    """Return an entry of a response's parameters. A server has few different ones, except the times of looked-up rows."""
    written: bytes = _RESPONSE(parameters={name: _PARAMETER(**{_CHOICES[type(value)]: value})}).SerializeToString()
    return written


@lru_cache
def _output_tensor(name: str, datatype: str, *shape: int) -> bytes:
    return delimited(5, _described(name, datatype, *shape))


@lru_cache
def _described(name: str, datatype: str, *shape: int) -> bytes:
    """Return the fields of an InferOutputTensor before its contents."""
    written: bytes = _OUTPUT(name=name, datatype=datatype, shape=shape).SerializeToString()
    return written


def _contents(tensor: OutputTensor) -> bytes:
    """Return the field `contents` of an InferOutputTensor."""
    if tensor.datatype == "FP64":
        # Packed doubles have the same layout in protobuf as in memory.
        return delimited(5, delimited(7, tensor.data))
    values = [each.encode() if isinstance(each, str) else each for each in values_of(tensor)]
    return delimited(5, _VALUES(**{_CONTENTS[tensor.datatype]: values}).SerializeToString())


def model_name_of(body: bytes) -> bytes:
    """Return the model that a ModelInferRequest names, if that is its first field, as clients write it; otherwise b""."""
    return body[2 : 2 + body[1]] if body[:1] == _MODEL_NAME and len(body) > 1 else b""


_MODEL_NAME = b"\x0a"
"""The tag of field 1, a string; model names are shorter than 128 bytes, so one byte of length follows."""
