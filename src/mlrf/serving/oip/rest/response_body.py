"""Encodes an HTTP response: JSON, followed by the outputs that were requested as binary tensors."""

from __future__ import annotations

from array import array
from typing import Any

import msgspec

from mlrf.serving.http.router import Framed
from mlrf.serving.oip.json_arrays import write_values
from mlrf.serving.oip.messages import InferResponse, OutputTensor
from mlrf.serving.oip.output_values import data_of, values_of
from mlrf.serving.oip.rest.request_body import RestInferRequest
from mlrf.serving.runtime.thresholds import JSON_PIECE_VALUES

OCTETS = b"application/octet-stream"
HEADER_LENGTH = b"Inference-Header-Content-Length: %d\r\n"
"""The header line of a response with binary tensors: how many bytes of it are JSON."""
_encode = msgspec.json.encode


def write_response(request: RestInferRequest, response: InferResponse) -> bytes:
    """Return the response to a request: JSON, or `Framed` if binary tensors follow it."""
    blobs: list[bytes] = []
    outputs = []
    for each in response.outputs:
        output: dict[str, Any] = {"name": each.name, "datatype": each.datatype, "shape": each.shape}
        if request.binary.get(each.name, request.all_binary):
            output["parameters"] = {"binary_data_size": len(each.data)}
            blobs.append(each.data)
        elif each.datatype != "FP64":
            output["data"] = write_values(values_of(each))
        else:
            numbers = array("d")
            numbers.frombytes(each.data)
            output["data"] = numbers.tolist() if len(numbers) <= JSON_PIECE_VALUES else write_values(numbers)
        outputs.append(output)
    document: dict[str, Any] = {"model_name": response.model_name, "model_version": response.model_version}
    if response.id:
        document["id"] = response.id
    document["parameters"] = response.parameters
    document["outputs"] = outputs
    text = _encode(document)
    if not blobs:
        return text
    return Framed(b"".join([text, *blobs]), OCTETS, HEADER_LENGTH % len(text))


def read_response(answer: bytes, header_bytes: int) -> InferResponse:
    """Decode a response that was written with binary tensors: JSON, and the tensors after it."""
    document = msgspec.json.decode(answer[:header_bytes])
    outputs, start = [], header_bytes
    for each in document["outputs"]:
        if "data" in each:
            data = data_of(each["datatype"], each["data"])
        else:
            end = start + each["parameters"]["binary_data_size"]
            data, start = answer[start:end], end
        outputs.append(OutputTensor(each["name"], each["datatype"], each["shape"], data))
    head = document["model_name"], document["model_version"], document.get("id", "")
    return InferResponse(*head, document["parameters"], outputs)
