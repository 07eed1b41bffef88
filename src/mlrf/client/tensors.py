"""Binary tensors of the Open Inference Protocol: encodes a table of rows, decodes the outputs' arrays."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from mlrf.client.http_messages import Response
from mlrf.core.errors import MlrfError

Array = npt.NDArray[np.float64]
LENGTH_HEADER = "Inference-Header-Content-Length"


def write_request(table: Array, outputs: Sequence[str]) -> tuple[bytes, dict[str, str]]:
    """Return the body and headers of an infer request for rows [n, F] in schema order (float64, NaN is missing)."""
    data = table.tobytes()
    document = {
        "inputs": [
            {
                "name": "features",
                "shape": list(table.shape),
                "datatype": "FP64",
                "parameters": {"binary_data_size": len(data)},
            }
        ],
        "outputs": [{"name": name, "parameters": {"binary_data": True}} for name in outputs],
    }
    header = msgspec.json.encode(document)
    return header + data, {LENGTH_HEADER: str(len(header)), "Content-Type": "application/octet-stream"}


def read_response(response: Response) -> dict[str, Array]:
    """Return the outputs of an infer response by name, in their shapes."""
    length = response.headers.get(LENGTH_HEADER)
    if length is None:
        raise MlrfError("the response has no binary tensors; check whether a proxy removes its headers")
    offset = int(length)
    document = msgspec.json.decode(response.content[:offset])
    arrays = {}
    for output in document["outputs"]:
        size = output["parameters"]["binary_data_size"]
        flat = np.frombuffer(response.content, dtype="<f8", count=size // 8, offset=offset)
        arrays[output["name"]] = flat.reshape(output["shape"])
        offset += size
    return arrays
