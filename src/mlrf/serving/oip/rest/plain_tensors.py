"""Plain tensors: infer requests of one tensor of numbers, which the kernel reads into a table, without an object for each.

It accepts only what is certainly valid: `{"inputs": [{"name", "shape", "datatype", "data"}]}` of FP64 or FP32, or binary data
in place of `data`, with or without an `id`, one named output (but explanations and leaves), and the parameter
`binary_data_output`. All other bodies are decoded by `request_body`. Answers of FP64 are written from texts that were made once
for the model; they have the same bytes as those of `response_body`, which writes the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from mlrf import _kernel
from mlrf.serving.http.router import Framed
from mlrf.serving.oip.datatypes import FP64
from mlrf.serving.oip.infer import ModelInference
from mlrf.serving.oip.inference_run import TableRequest
from mlrf.serving.oip.messages import InferResponse
from mlrf.serving.oip.output_tensors import LABEL
from mlrf.serving.oip.rest.request_body import RestInferRequest
from mlrf.serving.oip.rest.response_body import HEADER_LENGTH, OCTETS, write_response
from mlrf.serving.oip.tensor_reader import TensorReader
from mlrf.serving.runtime.thresholds import JSON_PIECE_VALUES

_encode = msgspec.json.encode
_MOST_BYTES = JSON_PIECE_VALUES * FP64.width

ReadTable = Callable[[bytes, int | None], TableRequest | None]


def kernel_reader(
    reader: TensorReader, by_input: Mapping[str, Any], by_output: Mapping[str, Any]
) -> _kernel.JsonTensor:
    """Return the kernel's reader of plain requests for the features of a reader of tensors.

    It returns, with the rows, the object for the output in a request, or for its input if it names no output.
    """
    columns = [(rule.least, rule.most, rule.whole, rule.may_miss) for rule in reader.rules]
    inputs, outputs = ([(_encode(name).decode(), each) for name, each in by.items()] for by in (by_input, by_output))
    return _kernel.JsonTensor(columns, inputs, outputs, reader.max_rows)


class PlainTensors:
    """Reads and writes the plain requests for one model."""

    def __init__(self, model: ModelInference) -> None:
        self._model = model
        by_input = {name: model.outputs.default(name) for name in model.reader.one_tensor_names}
        by_output = {
            name: each for name, each in model.outputs.single.items() if not (each.explains or each.reports_leaves)
        }
        self.read: ReadTable = kernel_reader(model.reader, by_input, by_output).read
        """Returns the request in a body with so many bytes of JSON (None: all), if it is a plain one."""
        self._begin = b'{"model_name":%b,"model_version":%b' % (_encode(model.name), _encode(model.version))
        self._outputs: dict[str, tuple[bytes, bytes]] = {}
        """What an answer has between its id and its number of rows, and between that and its data, by the output's name."""
        for each in (*by_input.values(), *by_output.values()):
            name, kind = each.outputs[0]
            if kind != LABEL:
                (tensor,) = model.outputs.unpack(each, b"", 1)
                head = b',"parameters":%b,"outputs":[{"name":%b,"datatype":"FP64","shape":['
                rest = b"".join([b",%d" % n for n in tensor.shape[1:]])
                self._outputs[name] = head % (_encode(model.origin), _encode(name)), rest

    def write(self, read: TableRequest, packed: bytes) -> bytes:
        """Return the response with the data of its output."""
        requested, n_rows, _, request_id, is_binary = read
        output = self._outputs.get(requested.outputs[0][0])
        if output is None or len(packed) > _MOST_BYTES:
            model = self._model
            tensors = model.outputs.unpack(requested, packed, n_rows)
            response = InferResponse(model.name, model.version, request_id, model.origin, tensors)
            return write_response(RestInferRequest(model.name, (), id=request_id, all_binary=is_binary), response)
        named = b',"id":%b' % _encode(request_id) if request_id else b""
        head = b"%b%b%b%d%b" % (self._begin, named, output[0], n_rows, output[1])
        if not is_binary:
            return b'%b],"data":%b}]}' % (head, _encode(FP64.values_of(packed).tolist()))
        text = b'%b],"parameters":{"binary_data_size":%d}}]}' % (head, len(packed))
        return Framed(text + packed, OCTETS, HEADER_LENGTH % len(text))
