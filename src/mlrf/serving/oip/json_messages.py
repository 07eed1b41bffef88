"""Encodes requests and responses of any transport as the protocol's JSON, for the prediction log."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from mlrf.core.errors import MalformedRequestError
from mlrf.serving.oip.datatypes import BYTES, DATATYPES, Buffer, elements_of
from mlrf.serving.oip.json_arrays import write_values
from mlrf.serving.oip.messages import InferRequest, InferResponse, InputTensor
from mlrf.serving.oip.output_values import values_of

_encode = msgspec.json.encode


def request_json(request: InferRequest) -> bytes:
    """Return the JSON of a request that was answered; missing floats are null."""
    document: dict[str, Any] = {"model_name": request.model_name}
    if request.model_version:
        document["model_version"] = request.model_version
    if request.id:
        document["id"] = request.id
    if request.parameters:
        document["parameters"] = request.parameters
    document["inputs"] = [
        {"name": each.name, "shape": each.shape, "datatype": each.datatype, "data": write_values(_values(each))}
        for each in request.inputs
    ]
    if request.outputs:
        document["outputs"] = [{"name": name} for name in request.outputs]
    return _encode(document)


def response_json(response: InferResponse) -> bytes:
    """Return a response."""
    outputs = [
        {
            "name": each.name,
            "datatype": each.datatype,
            "shape": each.shape,
            "data": write_values(values_of(each)),
        }
        for each in response.outputs
    ]
    document: dict[str, Any] = {"model_name": response.model_name, "model_version": response.model_version}
    if response.id:
        document["id"] = response.id
    return _encode(document | {"parameters": response.parameters, "outputs": outputs})


def _values(tensor: InputTensor) -> Sequence[Any]:
    datatype, data = DATATYPES.get(tensor.datatype), tensor.data
    if datatype is None:
        raise MalformedRequestError(f"there is no datatype {tensor.datatype!r}")
    if isinstance(data, Buffer) and datatype is not BYTES:
        values = datatype.values_of(data)
        return [value == 1 for value in values] if datatype.name == "BOOL" else values
    elements = elements_of(data, math.prod(tensor.shape)) or () if isinstance(data, Buffer) else data
    return [each.decode(errors="replace") if isinstance(each, bytes) else each for each in elements]
