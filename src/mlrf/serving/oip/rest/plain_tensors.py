"""Plain tensors: infer requests of one JSON tensor of numbers, which the kernel reads into a table, without an object for each.

It accepts only what is certainly valid: `{"inputs": [{"name", "shape", "datatype", "data"}]}` of FP64 or FP32, with an `id` or
without. All other bodies are decoded by `request_body`. Answers of FP64 are written from texts that were made once for the
model; they have the same bytes as those of `response_body`, which writes the others.
"""

from __future__ import annotations

from array import array

import msgspec

from mlrf import _kernel
from mlrf.serving.oip.infer import ModelInference
from mlrf.serving.oip.inference_run import TableRequest
from mlrf.serving.oip.messages import InferResponse
from mlrf.serving.oip.output_tensors import LABEL
from mlrf.serving.oip.rest.request_body import RestInferRequest
from mlrf.serving.oip.rest.response_body import write_response
from mlrf.serving.oip.tensor_reader import TensorReader
from mlrf.serving.runtime.thresholds import JSON_PIECE_VALUES

_encode = msgspec.json.encode


def kernel_reader(reader: TensorReader, most_rows: int) -> _kernel.JsonTensor:
    """Return the kernel's reader of plain requests for the features of a reader of tensors."""
    columns = [(rule.least, rule.most, rule.whole, rule.may_miss) for rule in reader.rules]
    return _kernel.JsonTensor(columns, [_encode(name).decode() for name in reader.one_tensor_names], most_rows)


class PlainTensors:
    """Reads and writes the plain requests for one model."""

    def __init__(self, model: ModelInference) -> None:
        self._model = model
        names = model.reader.one_tensor_names
        self._read = kernel_reader(model.reader, model.max_rows).read
        self._requested = [model.outputs.default(name) for name in names]
        """The output of each name of the tensor."""
        self._begin = b'{"model_name":%b,"model_version":%b' % (_encode(model.name), _encode(model.version))
        self._outputs: dict[str, tuple[bytes, bytes]] = {}
        """What an answer has between its id and its number of rows, and between that and its data, by the output's name."""
        for each in self._requested:
            name, kind = each.outputs[0]
            if kind != LABEL:
                (tensor,) = model.outputs.unpack(each, b"", 1)
                head = b',"parameters":%b,"outputs":[{"name":%b,"datatype":"FP64","shape":['
                rest = b"".join([b",%d" % n for n in tensor.shape[1:]])
                self._outputs[name] = head % (_encode(model.origin), _encode(name)), rest

    def read(self, body: bytes) -> TableRequest | None:
        """Return the request in a body, if it is a plain one."""
        tensor = self._read(body)
        if tensor is None:
            return None
        name, n_rows, table, request_id = tensor
        return self._requested[name], n_rows, table, request_id

    def write(self, read: TableRequest, packed: bytes) -> bytes:
        """Return the response with the data of its output."""
        requested, n_rows, _, request_id = read
        output = self._outputs.get(requested.outputs[0][0])
        if output is None or len(packed) > JSON_PIECE_VALUES * 8:
            model = self._model
            tensors = model.outputs.unpack(requested, packed, n_rows)
            response = InferResponse(model.name, model.version, request_id, model.origin, tensors)
            return write_response(RestInferRequest(model.name, (), id=request_id), response)
        numbers = array("d")
        numbers.frombytes(packed)
        named = b',"id":%b' % _encode(request_id) if request_id else b""
        return b'%b%b%b%d%b],"data":%b}]}' % (
            self._begin,
            named,
            output[0],
            n_rows,
            output[1],
            _encode(numbers.tolist()),
        )
