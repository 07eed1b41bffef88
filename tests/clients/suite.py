"""The arguments of every suite on its command line, as one JSON document, and how it reports success.

address     HOST:PORT of a server with the model `sample`
row         a row of it, categories as codes, and
prediction  what the native API answers for it
columns     the same row as [name, datatype, value] a feature, categories by value
requests    others: {"inputs": [[name, datatype, shape, values]], "predictions"}, one a datatype and form; null is NaN
reasons     of that row: {"shap_values", "shap_base"}
key         a row by key: {"inputs", "prediction", "as_of"}
digest      of the bundle
"""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import numpy as np

MODEL = "sample"
KINDS = {
    "FP64": np.float64, "FP32": np.float32, "BOOL": np.bool_, "INT8": np.int8, "INT16": np.int16, "INT32": np.int32,
    "INT64": np.int64, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64, "BYTES": np.object_,
}  # fmt: skip
MANY = 200
"""Rows that make a message, and an answer, long enough to be worth compressing."""


def arguments():
    """The document, its members as attributes."""
    return SimpleNamespace(**json.loads(sys.argv[1]))


def array_of(datatype, shape, values):
    """Values as NumPy has them; a missing float is NaN."""
    present = [np.nan if value is None and datatype != "BYTES" else value for value in values]
    return np.array(present, dtype=KINDS[datatype]).reshape(shape)


def tensor(client, name, datatype, shape, values, **how):
    """An input of a client; `how` it is to be sent."""
    made = client.InferInput(name, list(shape), datatype)
    made.set_data_from_numpy(array_of(datatype, shape, values), **how)
    return made


def tensors(client, inputs, **how):
    return [tensor(client, *each, **how) for each in inputs]


def wide(client, row, n=1, **how):
    """The form of one tensor: a row, n times."""
    return [tensor(client, "features", "FP64", [n, len(row)], row * n, **how)]


def refusal(error_kind, call, *words):
    """The error of a call that must have one, with these words in it."""
    try:
        call()
    except error_kind as error:
        for word in words:
            assert word in str(error), error
        return error
    raise AssertionError(f"{words}: not refused")


def done():
    print("every client was answered")
