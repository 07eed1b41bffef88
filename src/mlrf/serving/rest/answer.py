"""From a response to the bytes of its answer: JSON, and behind it the outputs that were asked for as binary tensors.

What is made here is whole in itself: four bytes that hold the length of the JSON (0 where there is nothing else), and the
answer.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

import msgspec

from mlrf.serving.inference.messages import InferResponse
from mlrf.serving.rest.body import Asked

PREFIX_BYTES = 4
_encode = msgspec.json.encode


def writer(asked: Asked) -> Callable[[InferResponse], bytes]:
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
                told["data"] = numbers.tolist()
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
