"""Limits of the repeated fields of a request, for every transport: counted before any object is created.

An empty field takes two bytes to send and a microsecond or more to create: eight megabytes of empty inputs took ten seconds.
Counting them takes one pass over the bytes and a few milliseconds.
"""

from __future__ import annotations

from mlrf import _kernel
from mlrf.core.errors import MalformedRequestError
from mlrf.serving.runtime.slow_numbers import check_numbers
from mlrf.serving.runtime.thresholds import COUNTED_BYTES

MAX_INPUTS = 4096
"""The minimum limit; a server of a wider model allows twice its number of features."""
_MAX_OUTPUTS = 4096
_MAX_PARAMETERS = 4096
_MAX_DIMENSIONS = 1 << 17
_MAX_NUMBERS = 1 << 20
_MAX_TEXTS = 1 << 18
_MAX_FIELDS = 1 << 19
_MAX_PARAMETER_BYTES = 64 << 10
_PARTS = ("inputs", "outputs", "parameters", "raw_input_contents", "dimensions", "numbers", "strings", "fields")


class CountLimits:
    """The limits of one server, derived from the models it serves."""

    def __init__(self, max_inputs: int = 0, max_values: int = 0) -> None:
        """`max_inputs`: features of the widest model; `max_values`: most values of a request to any model."""
        n_inputs = max(MAX_INPUTS, 2 * max_inputs)
        n_parameters = max(_MAX_PARAMETERS, 2 * n_inputs)
        n_dimensions = max(_MAX_DIMENSIONS, 4 * n_inputs)
        n_fields = max(_MAX_FIELDS, 8 * n_inputs)
        n_numbers, n_texts = max(_MAX_NUMBERS, max_values), max(_MAX_TEXTS, min(max_values, _MAX_NUMBERS))
        self._most = (
            n_inputs,
            _MAX_OUTPUTS,
            n_parameters,
            n_inputs,
            n_dimensions,
            n_numbers,
            n_texts,
            n_fields,
        )
        self._max_objects = 2 * n_inputs + _MAX_OUTPUTS

    def check_message(self, body: bytes) -> None:
        """Raise MalformedRequestError if a ModelInferRequest has too many elements of a repeated field."""
        if len(body) <= COUNTED_BYTES:
            return
        for part, n, most in zip(_PARTS, _kernel.count_wire(body, self._most[-1]), self._most, strict=True):
            if n > most:
                raise _too_many(part, n, most)

    def check_json(self, text: bytes | memoryview) -> None:
        """Raise MalformedRequestError if a document has more objects than inputs, outputs and their parameters allow.

        BatchTooLargeError if it has too many numbers that take long to convert.
        """
        text = bytes(text)
        if (n := text.count(b"{")) > self._max_objects:
            raise _too_many("objects", n, self._max_objects)
        check_numbers(text)


def check_parameters(size: int) -> None:
    """Raise MalformedRequestError for parameters with too many bytes of JSON."""
    if size > _MAX_PARAMETER_BYTES:
        raise MalformedRequestError(
            f"the parameters have {size} bytes, more than {_MAX_PARAMETER_BYTES}; send only those that the server knows"
        )


def _too_many(part: str, n: int, most: int) -> MalformedRequestError:
    return MalformedRequestError(
        f"the request has {n} {part}, more than {most}; send rows in one tensor, or in several requests",
        part=part,
        n=n,
        max=most,
    )
