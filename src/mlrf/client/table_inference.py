"""Inference on whole tables: in chunks that the server accepts, all answered by one version of the model."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence

import numpy as np

from mlrf.client.http_messages import Request, Response
from mlrf.client.served_model import ServedModel
from mlrf.client.tensors import Array, InferResponse, read_response, write_request
from mlrf.core.errors import BatchTooLargeError, BodyTooLargeError, InvalidRequestError

_CHUNK_ROWS = 10_000
"""The server's default for --max-infer-rows."""
_CHUNK_BYTES = 4 << 20
"""Half of the server's default for --max-body-bytes."""


class TableInference:
    """Makes the requests for whole tables; learns how many rows the server accepts at once, for each kind of request."""

    def __init__(self) -> None:
        self._chunk_rows: dict[tuple[str, ...], int] = {}

    def infer(
        self,
        served: ServedModel,
        table: Array,
        outputs: Sequence[str],
        base_margin: Array | None = None,
        parameters: Mapping[str, bool] | None = None,
    ) -> Generator[Request, Response, InferResponse]:
        """Yield the requests for a table [n, F] in schema order, and return its outputs, each [n, ...], and its parameters.

        `base_margin` [n, K] is where the margins of each row start, `parameters` are those of the requests.

        ModelNotFoundError if the version was replaced.
        """
        path = f"/v2/models/{served.name}/versions/{served.digest}/infer"
        # The protocol calls the prediction of several classes `probabilities`.
        is_multiclass = served.classes is not None and len(served.classes) > 2  # noqa: PLR2004
        names = ["probabilities" if name == "prediction" and is_multiclass else name for name in outputs]
        kind = (*names, *(parameters or ()))
        parts: list[InferResponse] = []
        start = 0
        while start < len(table) or not parts:
            chunk = table[start : start + self._rows_a_chunk(table, kind)]
            if not len(chunk):
                raise InvalidRequestError("the table has no rows")
            inputs = {"features": chunk}
            if base_margin is not None:
                inputs["base_margin"] = base_margin[start : start + len(chunk)]
            body, headers = write_request(inputs, names, parameters or {})
            try:
                response = yield Request("POST", path, body, headers)
            except (BatchTooLargeError, BodyTooLargeError) as error:
                self._chunk_rows[kind] = _fewer_rows(error, len(chunk), len(body))
                continue
            parts.append(read_response(response))
            start += len(chunk)
        arrays = [part.outputs for part in parts]
        outputs_of_all = {
            name: _joined(name, arrays, is_one=name == "shap_base" and base_margin is None) for name in names
        }
        return InferResponse(outputs_of_all, parts[0].parameters)

    def _rows_a_chunk(self, table: Array, kind: tuple[str, ...]) -> int:
        most_rows = self._chunk_rows.get(kind, _CHUNK_ROWS)
        return max(1, min(most_rows, _CHUNK_BYTES // int(table[:1].nbytes or 1)))


def _joined(name: str, parts: Sequence[Mapping[str, Array]], *, is_one: bool) -> Array:
    if is_one:
        return parts[0][name]
    return np.concatenate([part[name] for part in parts])


def _fewer_rows(error: BatchTooLargeError | BodyTooLargeError, n_rows: int, n_bytes: int) -> int:
    """Return how many rows a request may have, after the server refused one as too large.

    Raises the error if one row is too large.
    """
    if isinstance(error, BatchTooLargeError):
        most_rows = int(error.details.get("max_rows", n_rows // 2))
    else:
        most_rows = n_rows * int(error.details.get("max_bytes", n_bytes // 2)) // (n_bytes + 1)
    if n_rows == 1 or most_rows < 1:
        raise error
    return min(most_rows, n_rows - 1)
