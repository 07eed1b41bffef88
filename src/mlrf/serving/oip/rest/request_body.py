"""Decodes an infer request: JSON, followed by the tensors of the binary extension."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from mlrf.core.errors import InvalidTensorError, MalformedRequestError
from mlrf.core.lazy_pattern import lazy_pattern
from mlrf.core.value_text import clip, shown_name
from mlrf.serving.oip.counts import CountLimits, check_parameters
from mlrf.serving.oip.datatypes import DATATYPES
from mlrf.serving.oip.json_arrays import TooManyValuesError, read_values
from mlrf.serving.oip.messages import (
    MOST_DIMENSIONS,
    NO_PARAMETERS,
    NOT_OFFERED,
    InferRequest,
    InputTensor,
    not_offered,
)
from mlrf.serving.oip.rest.number_arrays import cut_number_arrays
from mlrf.serving.runtime.thresholds import COUNTED_BYTES, JSON_PIECE_BYTES

_NO_NUMBER = lazy_pattern(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|\b(?:NaN|Infinity)\b', re.DOTALL)
"""Also matches strings, and an unterminated one up to the end of the text: otherwise its end would be searched from each
quote."""


_WORDS = {b"NaN": b"null", b"Infinity": b"1e999"}
_NO_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_MAX_SHAPE_BYTES = 4096
_LIMITS = CountLimits()
_NO_BLOBS = memoryview(b"")


class _InputParameters(msgspec.Struct, gc=False):
    binary_data_size: int | UnsetType = UNSET
    shared_memory_region: Any = UNSET


class _Input(msgspec.Struct, gc=False):
    name: str
    shape: Raw
    datatype: str
    parameters: _InputParameters | None = None
    data: Raw | UnsetType = UNSET


class _OutputParameters(msgspec.Struct, gc=False):
    binary_data: bool | UnsetType = UNSET
    shared_memory_region: Any = UNSET
    classification: Any = UNSET


class _Output(msgspec.Struct, gc=False):
    name: str
    parameters: _OutputParameters | None = None


class _Document(msgspec.Struct, gc=False):
    inputs: list[_Input]
    id: str | int | None = None
    parameters: Raw | UnsetType = UNSET
    outputs: list[_Output] | None = None


class RestInferRequest(InferRequest, gc=False):
    """A request, and which outputs are encoded as binary tensors: those in `binary` as it says, all others by `all_binary`."""

    binary: Mapping[str, bool] = NO_PARAMETERS
    all_binary: bool = False


_decode = msgspec.json.Decoder(_Document).decode
_decode_shape = msgspec.json.Decoder(list[int]).decode
_decode_parameters = msgspec.json.Decoder(dict[str, Any] | None).decode


def read_request(
    model: str,
    body: bytes | memoryview,
    header_bytes: int | None,
    began_s: float,
    most_values: int = sys.maxsize,
    limits: CountLimits = _LIMITS,
) -> RestInferRequest:
    """Return the request in a body; `header_bytes` is the length of its JSON, None if there is nothing else.

    A tensor whose shape has more than `most_values` is returned without its values, and will be refused for its shape.
    MalformedRequestError for a body that is not such a request; InvalidTensorError if a tensor's data does not match it.
    """
    text, blobs = (body, _NO_BLOBS) if header_bytes is None else _parted(body, header_bytes)
    if len(text) > COUNTED_BYTES:
        limits.check_json(text)
    raw, arrays = cut_number_arrays(bytes(text)) if len(text) > JSON_PIECE_BYTES else (text, None)
    try:
        document = _decode(raw)
    except _NO_JSON:
        document = _document(bytes(raw))
    inputs = _inputs(document.inputs, blobs, arrays, most_values)
    if arrays:
        # Arrays that belong to no input might not be JSON, and the prediction log stores the body.
        _document(bytes(text))
    parameters = NO_PARAMETERS if document.parameters is UNSET else _parameters(document.parameters)
    request = RestInferRequest(
        model,
        inputs,
        id="" if document.id is None else str(document.id),
        parameters=parameters,
        began_s=began_s,
        all_binary=parameters.get("binary_data_output") is True,
    )
    if document.outputs:
        request.outputs = [each.name for each in document.outputs]
        request.binary = _binary_outputs(document.outputs)
    return request


def _inputs(
    sent: Sequence[_Input], blobs: memoryview, arrays: dict[bytes, bytes] | None, most_values: int
) -> list[InputTensor]:
    """Return the tensors of a document; the binary ones are in `blobs`, in their order and without gaps."""
    inputs, start = [], 0
    for each in sent:
        size: int | UnsetType = UNSET
        if each.parameters is not None:
            if each.parameters.shared_memory_region is not UNSET:
                raise not_offered("input", each.name, "shared_memory_region")
            size = each.parameters.binary_data_size
        shape = _shape(each)
        if size is UNSET:
            inputs.append(InputTensor(each.name, each.datatype, shape, _values(each, shape, arrays, most_values)))
            continue
        if size < 0 or start + size > len(blobs):
            raise InvalidTensorError(
                f"input {shown_name(each.name)}: binary_data_size is {size}, but only {len(blobs) - start} bytes of the body "
                "are left; send the size of its data",
                input=clip(each.name),
            )
        if each.data is not UNSET:
            raise InvalidTensorError(
                f"input {shown_name(each.name)} has both data and binary_data_size; send one of them",
                input=clip(each.name),
            )
        inputs.append(InputTensor(each.name, each.datatype, shape, blobs[start : start + size]))
        start += size
    if start != len(blobs):
        raise MalformedRequestError(
            f"{len(blobs) - start} bytes follow the last tensor of the body; the binary_data_size of the inputs must add up "
            "to the bytes after the JSON"
        )
    return inputs


def _parameters(raw: Raw) -> Mapping[str, Any]:
    text = bytes(raw)
    check_parameters(len(text))
    try:
        return _decode_parameters(text) or NO_PARAMETERS
    except _NO_JSON as error:
        raise MalformedRequestError(f"the parameters are not an object: {error}; send {{name: value}}") from error


def _binary_outputs(outputs: Sequence[_Output]) -> dict[str, bool]:
    """Return for each output that states it whether it is binary; InvalidTensorError for other parameters."""
    binary = {}
    for each in outputs:
        if each.parameters is None:
            continue
        for name in NOT_OFFERED:
            if getattr(each.parameters, name) is not UNSET:
                raise not_offered("output", each.name, name)
        if each.parameters.binary_data is not UNSET:
            binary[each.name] = each.parameters.binary_data
    return binary


def _parted(body: bytes | memoryview, header_bytes: int) -> tuple[memoryview, memoryview]:
    if header_bytes > len(body):
        raise MalformedRequestError(
            f"Inference-Header-Content-Length is {header_bytes}, but the body has {len(body)} bytes; send the length of "
            "its JSON",
            header_bytes=header_bytes,
            body_bytes=len(body),
        )
    whole = memoryview(body)
    return whole[:header_bytes], whole[header_bytes:]


def _document(text: bytes) -> _Document:
    """Decode a document that may contain NaN; raises MalformedRequestError."""
    try:
        return _decode(text)
    except _NO_JSON as error:
        if b"NaN" in text or b"Infinity" in text:
            # Clients write NaN for a missing float, and infinities, although JSON has neither.
            mended = _NO_NUMBER.sub(lambda found: _WORDS.get(found[0], found[0]), text)
            with suppress(*_NO_JSON):
                return _decode(mended)
        raise MalformedRequestError(
            f'the body is not an inference request: {error}; send {{"inputs": [{{"name", "shape", "datatype", "data"}}]}}, '
            "and with binary data Inference-Header-Content-Length"
        ) from error


def _shape(tensor: _Input) -> list[int]:
    """Return the shape of a tensor; MalformedRequestError if it is invalid, or longer than any valid one."""
    text = bytes(tensor.shape)
    try:
        if len(text) <= _MAX_SHAPE_BYTES:
            return _decode_shape(text)
        reason = f"{len(text)} bytes are more than any shape needs"
    except _NO_JSON as error:
        reason = str(error)
    raise MalformedRequestError(
        f"the body is not an inference request: the shape of input {shown_name(tensor.name)}: {reason}; send [rows, columns]"
    )


def _values(tensor: _Input, shape: Sequence[int], arrays: dict[bytes, bytes] | None, most_values: int) -> Sequence[Any]:
    if tensor.data is UNSET:
        raise InvalidTensorError(
            f"input {shown_name(tensor.name)} has no data; send data, or binary_data_size and the bytes after the JSON",
            input=clip(tensor.name),
        )
    text = bytes(tensor.data)
    if arrays:
        text = arrays.pop(text, text)
    datatype = DATATYPES.get(tensor.datatype)
    # TensorReader refuses so many dimensions; multiplying a whole body of them would block the interpreter for minutes.
    if datatype is None or len(shape) > MOST_DIMENSIONS:
        return ()
    most = max(0, math.prod(shape))
    if most > most_values:
        return ()
    try:
        return read_values(text, datatype, shape, most)
    except TooManyValuesError as error:
        raise InvalidTensorError(
            f"input {shown_name(tensor.name)}: its shape needs {most} values, but there are more",
            input=clip(tensor.name),
            expected=most,
        ) from error
    except _NO_JSON as error:
        raise InvalidTensorError(
            f"input {shown_name(tensor.name)}: its data is not an array of {tensor.datatype}: {error}; send values of that "
            "datatype, flat or nested as the shape says, or name the datatype of the data",
            input=clip(tensor.name),
            datatype=tensor.datatype,
        ) from error
