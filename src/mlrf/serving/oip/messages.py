"""Inference requests and responses, independent of the transport.

A transport makes an `InferRequest` of the bytes it was sent, and bytes of an `InferResponse`; it checks what belongs to its own
form (a binary size that goes beyond the body), and nothing of what the tensors mean.
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
"""Of an input: [rows], or [rows, columns]; one of more is refused by its shape alone."""
NOT_OFFERED = ("shared_memory_region", "classification")
"""What Triton lets a tensor's parameters ask, and must not be passed over: the client would read elsewhere."""


class InputTensor(msgspec.Struct, gc=False):
    """One input. `data` is a buffer in the layout of its datatype, or the values one by one (flat, row-major).

    Values are numbers, booleans, None for a missing float or string, and for BYTES `str` or `bytes`.
    """

    name: str
    datatype: str
    shape: Sequence[int]
    data: Buffer | Sequence[Any]


class InferRequest(msgspec.Struct, gc=False):
    """What is asked. An empty `model_version` is the version that is served; without `outputs` the default ones come."""

    model_name: str
    inputs: Sequence[InputTensor]
    model_version: str = ""
    id: str = ""
    parameters: Mapping[str, Any] = NO_PARAMETERS
    outputs: Sequence[str] = ()
    """The names of the outputs asked for, in their order; how each is to be written is the transport's to know."""
    began_s: float = 0.0
    """When its reading began (`perf_counter`), for the statistics; 0 where nobody took the time."""


class OutputTensor(msgspec.Struct, gc=False):
    """One output: `data` holds its elements little-endian and row-major."""

    name: str
    datatype: str
    shape: Sequence[int]
    data: bytes


class InferResponse(msgspec.Struct, gc=False):
    """What is told; `parameters` say which bundle answered, and when looked-up rows were true."""

    model_name: str
    model_version: str
    id: str
    parameters: Mapping[str, Parameter]
    outputs: Sequence[OutputTensor]


def not_offered(what: str, tensor: str, parameter: str) -> InvalidTensorError:
    """Return the error of an "input" or "output", by its name, that asks what is not offered."""
    return InvalidTensorError(
        f"{what} {shown_name(tensor)}: this server does not support {parameter}; leave it out", parameter=parameter
    )
