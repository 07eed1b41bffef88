"""Converts the bytes of an output tensor to values for JSON and protobuf, and back."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

from mlrf.serving.oip.datatypes import BYTES, DATATYPES, elements_of
from mlrf.serving.oip.messages import OutputTensor


def values_of(tensor: OutputTensor) -> Sequence[Any]:
    """Return the values of an output: numbers, booleans, or strings."""
    datatype = DATATYPES[tensor.datatype]
    if datatype is BYTES:
        return [each.decode() for each in elements_of(tensor.data, tensor.shape[0]) or ()]
    values = datatype.values_of(tensor.data)
    return [value == 1 for value in values] if datatype.name == "BOOL" else values


def data_of(datatype: str, values: Sequence[Any]) -> bytes:
    """Return the bytes of a tensor with these values; the inverse of `values_of`."""
    kind = DATATYPES[datatype]
    if kind is BYTES:
        texts = [value if isinstance(value, bytes) else str(value).encode() for value in values]
        return b"".join([len(text).to_bytes(4, "little") + text for text in texts])
    return array(kind.code, values).tobytes()
