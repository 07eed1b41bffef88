"""Plain tensors: infer requests of one JSON tensor of numbers, which the kernel reads into a table, without an object for each.

It accepts only what is certainly valid: `{"inputs": [{"name", "shape", "datatype", "data"}]}` of FP64 or FP32, with an `id` or
without. All other bodies are decoded by `request_body`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from mlrf import _kernel
from mlrf.core.column_rules import ColumnRule
from mlrf.serving.oip.messages import TableRequest
from mlrf.serving.oip.rest.request_body import RestInferRequest

ReadPlain = Callable[[bytes], TableRequest | None]


def plain_reader(model: str, names: Sequence[str], rules: Sequence[ColumnRule], most_rows: int) -> ReadPlain:
    """Return what reads the plain requests for a model; None for any other body.

    `names` are those of a tensor of all features; `rules` say which numbers each feature takes.
    """
    columns = [(rule.least, rule.most, rule.whole, rule.may_miss) for rule in rules]
    read = _kernel.JsonTensor(columns, [msgspec.json.encode(name).decode() for name in names], most_rows).read

    def read_plain(body: bytes) -> TableRequest | None:
        tensor = read(body)
        if tensor is None:
            return None
        name, n_rows, table, request_id = tensor
        return TableRequest(RestInferRequest(model, (), id=request_id), names[name], n_rows, table)

    return read_plain
