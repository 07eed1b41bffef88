"""Inference requests and responses, independent of the transport.

A transport decodes bytes to an `InferRequest` and encodes an `InferResponse` to bytes. It checks its own format (for example, a
binary size beyond the body), but not the meaning of the tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from mlrf.core.errors import InvalidTensorError
from mlrf.core.value_text import shown_name
from mlrf.serving.oip.datatypes import Buffer

Parameter = bool | int | float | str
NO_PARAMETERS: Mapping[str, Any] = MappingProxyType({})
MOST_DIMENSIONS = 2
"""Dimensions of an input: [rows], or [rows, columns]; one with more is refused for its shape."""
NOT_OFFERED = ("shared_memory_region", "classification")
"""Parameters of a tensor in Triton that must be refused, not ignored: the data would be elsewhere, or have another meaning."""


class InputTensor(msgspec.Struct, gc=False):
    """One input. `data` is a buffer in the layout of its datatype, or the values one by one (flat, row-major).

    Values are numbers, booleans, None for a missing float or string, and for BYTES `str` or `bytes`.
    """

    name: str
    datatype: str
    shape: Sequence[int]
    data: Buffer | Sequence[Any]


class InferRequest(msgspec.Struct, gc=False):
    """A request. An empty `model_version` means the served version; without `outputs` the default ones are returned."""

    model_name: str
    inputs: Sequence[InputTensor]
    model_version: str = ""
    id: str = ""
    parameters: Mapping[str, Any] = NO_PARAMETERS
    outputs: Sequence[str] = ()
    """The names of the requested outputs, in their order; the transport knows how each is encoded."""
    began_s: float = 0.0
    """When decoding began (`perf_counter`), for the statistics; 0 if it was not measured."""


class OutputTensor(msgspec.Struct, gc=False):
    """One output: `data` are its elements, little-endian and row-major."""

    name: str
    datatype: str
    shape: Sequence[int]
    data: bytes


class InferResponse(msgspec.Struct, gc=False):
    """A response; `parameters` state which bundle answered, and the as-of times of looked-up rows."""

    model_name: str
    model_version: str
    id: str
    parameters: Mapping[str, Parameter]
    outputs: Sequence[OutputTensor]


def not_offered(what: str, tensor: str, parameter: str) -> InvalidTensorError:
    """Return the error for an "input" or "output", by its name, with an unsupported parameter."""
    return InvalidTensorError(
        f"{what} {shown_name(tensor)}: this server does not support {parameter}; leave it out", parameter=parameter
    )
