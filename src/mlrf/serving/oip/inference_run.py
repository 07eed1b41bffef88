"""`InferenceRun`: an inference request in progress, with the encoder of its response and the rows found for it.

`TableRequest`: a plain request whose rows were read without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from mlrf.engines.interface import Rows
from mlrf.serving.lookup.stored_rows import FoundRow
from mlrf.serving.oip.messages import InferRequest, InferResponse, InputTensor
from mlrf.serving.oip.output_tensors import RequestedOutputs
from mlrf.serving.oip.row_lookup import Precomputed
from mlrf.serving.oip.statistics import RequestTimes

Encode = Callable[[Any, InferResponse], bytes]
"""Encodes the response to a decoded request; called in any thread."""


TableRequest = tuple[RequestedOutputs, int, Rows, str, bool]
"""A request whose only input has been read, a tensor of all features with valid numbers: the requested output, neither an
explanation nor leaves, the number of rows, their table [n, F], the id, and whether the output is to be binary."""
EncodeTable = Callable[[TableRequest, bytes], bytes]
"""Encodes the response to such a request from the data of its outputs (`Outputs.pack`); called in any thread."""


def _encode_nothing(_request: InferRequest, _response: InferResponse) -> bytes:
    raise AssertionError("the answer to a TableRequest is encoded by encode_packed")


class InferenceRun(RequestTimes, gc=False, kw_only=True):
    """One request in progress."""

    requested: RequestedOutputs
    request: InferRequest = msgspec.field(default_factory=partial(InferRequest, "", ()))
    encode: Encode = _encode_nothing
    encode_packed: Callable[[bytes], bytes] | None = None
    """Encodes the response to a `TableRequest`, instead of `encode`."""
    deadline_s: float = 0.0
    """The client's deadline; 0 for none."""
    by_key: bool = False
    base_margin: InputTensor | None = None
    """Where the margins of each row start, if the request says so; no longer among the inputs of `request`."""
    found: Sequence[FoundRow] = ()
    precomputed: Precomputed = ()
    """Precomputed contributions of the rows found, if contributions are requested."""
