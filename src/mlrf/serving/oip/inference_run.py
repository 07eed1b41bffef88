"""`InferenceRun`: an inference request in progress, with the encoder of its response and the rows found for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mlrf.serving.lookup.stored_rows import FoundRow
from mlrf.serving.oip.messages import InferRequest, InferResponse, InputTensor
from mlrf.serving.oip.output_tensors import RequestedOutputs
from mlrf.serving.oip.row_lookup import Precomputed
from mlrf.serving.oip.statistics import RequestTimes

Encode = Callable[[Any, InferResponse], bytes]
"""Encodes the response to a decoded request; called in any thread."""


class InferenceRun(RequestTimes, gc=False, kw_only=True):
    """One request in progress."""

    request: InferRequest
    encode: Encode
    requested: RequestedOutputs
    deadline_s: float = 0.0
    """The client's deadline; 0 for none."""
    by_key: bool = False
    base_margin: InputTensor | None = None
    """Where the margins of each row start, if the request says so; no longer among the inputs of `request`."""
    found: Sequence[FoundRow] = ()
    precomputed: Precomputed = ()
    """Precomputed contributions of the rows found, if contributions are requested."""
