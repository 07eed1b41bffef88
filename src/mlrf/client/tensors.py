"""Binary tensors of the Open Inference Protocol: encodes a table of rows, decodes the outputs' arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from mlrf.client.errors import reading
from mlrf.client.http_messages import Response
from mlrf.core.errors import MlrfError

Array = npt.NDArray[np.float64]
_DTYPES = {"FP64": ("<f8", 8), "INT32": ("<i4", 4)}
LENGTH_HEADER = "Inference-Header-Content-Length"


class InferResponse(NamedTuple):
    """The outputs of an infer response by name, in their shapes, and its parameters."""

    outputs: dict[str, Array]
    parameters: Mapping[str, Any]


def write_request(
    inputs: Mapping[str, Array], outputs: Sequence[str], parameters: Mapping[str, bool]
) -> tuple[bytes, dict[str, str]]:
    """Return the body and headers of an infer request for float64 inputs by name, of which NaN is missing."""
    blobs = {name: np.ascontiguousarray(values, dtype="<f8").tobytes() for name, values in inputs.items()}
    document: dict[str, Any] = {
        "inputs": [
            {
                "name": name,
                "shape": list(values.shape),
                "datatype": "FP64",
                "parameters": {"binary_data_size": len(blobs[name])},
            }
            for name, values in inputs.items()
        ],
        "outputs": [{"name": name, "parameters": {"binary_data": True}} for name in outputs],
    }
    if parameters:
        document["parameters"] = parameters
    header = msgspec.json.encode(document)
    body = b"".join((header, *blobs.values()))
    return body, {LENGTH_HEADER: str(len(header)), "Content-Type": "application/octet-stream"}


def read_response(response: Response) -> InferResponse:
    """Return the outputs and parameters of an infer response."""
    length = response.headers.get(LENGTH_HEADER)
    if length is None:
        raise MlrfError("the response has no binary tensors; check whether a proxy removes its headers")
    arrays = {}
    with reading(response.content):
        offset = int(length)
        document = msgspec.json.decode(response.content[:offset])
        for output in document["outputs"]:
            size = output["parameters"]["binary_data_size"]
            dtype, width = _DTYPES[output["datatype"]]
            flat: Array = np.frombuffer(response.content, dtype=dtype, count=size // width, offset=offset)
            arrays[output["name"]] = flat.reshape(output["shape"])
            offset += size
        return InferResponse(arrays, document.get("parameters", {}))
