"""From a response to the bytes of its answer: JSON, and behind it the outputs that were asked for as binary tensors.

What is made here is whole in itself: four bytes that hold the length of the JSON (0 where there is nothing else), and the
answer.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

import msgspec

from mlrf.serving.oip.json_arrays import write_values
from mlrf.serving.oip.messages import InferResponse, OutputTensor
from mlrf.serving.oip.rest.request_body import ParsedRequest

PREFIX_BYTES = 4
_AT_ONCE_VALUES = 4096
_encode = msgspec.json.encode


def writer(asked: ParsedRequest) -> Callable[[InferResponse], bytes]:
    """Return what writes the response to a request."""

    def write(response: InferResponse) -> bytes:
        blobs: list[bytes] = []
        outputs = []
        for each in response.outputs:
            told: dict[str, Any] = {"name": each.name, "datatype": each.datatype, "shape": each.shape}
            if asked.binary.get(each.name, asked.all_binary):
                told["parameters"] = {"binary_data_size": len(each.data)}
                blobs.append(each.data)
            else:
                numbers = array("d")
                numbers.frombytes(each.data)
                told["data"] = numbers.tolist() if len(numbers) <= _AT_ONCE_VALUES else write_values(numbers)
            outputs.append(told)
        document: dict[str, Any] = {"model_name": response.model_name, "model_version": response.model_version}
        if response.id:
            document["id"] = response.id
        document["parameters"] = response.parameters
        document["outputs"] = outputs
        text = _encode(document)
        if not blobs:
            return bytes(PREFIX_BYTES) + text
        return b"".join([len(text).to_bytes(PREFIX_BYTES, "little"), text, *blobs])

    return write


def read_answer(answer: bytes, header_bytes: int) -> InferResponse:
    """Return the response that was written with binary tensors, as so many bytes of JSON and what is behind them."""
    document = msgspec.json.decode(answer[:header_bytes])
    outputs, place = [], header_bytes
    for each in document["outputs"]:
        if "data" in each:
            data = array("d", each["data"]).tobytes()
        else:
            end = place + each["parameters"]["binary_data_size"]
            data, place = answer[place:end], end
        outputs.append(OutputTensor(each["name"], each["datatype"], each["shape"], data))
    told = document["model_name"], document["model_version"], document.get("id", "")
    return InferResponse(*told, document["parameters"], outputs)
