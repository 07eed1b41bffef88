"""HTTP errors that advise another request, by a part of each message: a request that gets the error, and the one that it advises."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Sequence
from typing import Any

from advice import messages
from bundles import NUMBERS

ROW = [1.0, 2.0, 3.0]
NAMED = dict(zip(NUMBERS.names, ROW, strict=True))
JSON, CSV, BINARY = "Content-Type: application/json", "Content-Type: text/csv", "Inference-Header-Content-Length"
Request = tuple[str, Any, Sequence[str]]
INFER, INVOKE = "/v2/models/sales/infer", "/invocations"


def post(path: str, body: Any, *headers: str) -> Request:
    return path, body, headers


def one(
    name: str = "features", datatype: str = "FP64", shape: Any = (1, 3), data: Any = ROW, **more: Any
) -> dict[str, Any]:
    """An input of the Open Inference Protocol."""
    return {"name": name, "datatype": datatype, "shape": list(shape), "data": data, **more}


def infer(*inputs: dict[str, Any], **more: Any) -> Request:
    return post(INFER, {"inputs": list(inputs), **more}, JSON)


def binary(size: int, declared: int | None = None, more: bytes = b"", **members: Any) -> Request:
    """A request whose numbers stand after the JSON."""
    tensor = one()
    del tensor["data"]
    head = json.dumps({"inputs": [tensor | members | {"parameters": {"binary_data_size": size}}]}).encode()
    return post(INFER, head + bytes(24) + more, f"{BINARY}: {len(head) if declared is None else declared}")


def predict(body: Any, *headers: str) -> Request:
    return post("/predict", body, *headers)


def batch(body: Any) -> Request:
    return post("/predict/batch", body)


GOOD, GOOD_BATCH = predict({"features": NAMED}), batch({"instances": [{"features": NAMED}]})
ROUTES: dict[str, tuple[Request, Request]] = {
    "the body holds {}{} rows": (
        post(INVOKE, {"instances": [ROW] * 9}, JSON),
        post(INVOKE, {"instances": [ROW] * 4}, JSON),
    ),
    'has no "vary"': (post("/curve", {"features": NAMED}), post("/curve", {"features": NAMED, "vary": "x0"})),
    "a curve has no explanation": (
        post("/curve", {"features": NAMED, "vary": "x0", "explain": True}),
        post("/curve", {"features": NAMED, "vary": "x0"}),
    ),
    "a curve has no leaves": (
        post("/curve", {"features": NAMED, "vary": "x0", "leaves": True}),
        post("/curve", {"features": NAMED, "vary": "x0"}),
    ),
    "is path-dependent, of features; leave out the parameter": (
        infer(one(), outputs=[{"name": "shap_interactions"}], parameters={"background": True}),
        infer(one(), outputs=[{"name": "shap_interactions"}]),
    ),
    "the body is empty; send a JSON object": (predict(b""), GOOD),
    "data[{}] has {} values, but": (
        batch({"columns": ["x0", "x1", "x2"], "data": [[1, 2]]}),
        batch({"columns": ["x0", "x1", "x2"], "data": [[1, 2, None]]}),
    ),
    'the body has no "instances"': (batch({}), GOOD_BATCH),
    "features is an array of rows": (predict({"features": [ROW, ROW]}), batch({"instances": [{"features": ROW}] * 2})),
    "the batch contains no instances": (batch({"instances": []}), GOOD_BATCH),
    "the batch contains {} instances": (batch({"instances": [{"features": ROW}] * 9}), GOOD_BATCH),
    'served without rows by key; send "features"': (predict({"key": {"id": 1}}), GOOD),
    "Content-Encoding supported is gzip": (
        predict(b"x", "Content-Encoding: br"),
        predict(gzip.compress(json.dumps({"features": NAMED}).encode()), "Content-Encoding: gzip"),
    ),
    "declared as JSON: send": (predict({"features": NAMED}, "Content-Type: text/plain"), GOOD),
    "is requested twice; name it once": (
        infer(one(), outputs=[{"name": "prediction"}] * 2),
        infer(one(), outputs=[{"name": "prediction"}]),
    ),
    "is not an output of this model": (
        infer(one(), outputs=[{"name": "y"}]),
        infer(one(), outputs=[{"name": "prediction"}]),
    ),
    "follow the last tensor of the body": (binary(24, more=b"x"), binary(24)),
    "but the body has {} bytes; send the length": (binary(24, declared=9999), binary(24)),
    "has no data; send data": (infer({"name": "features", "datatype": "FP64", "shape": [1, 3]}), infer(one())),
    "bytes of the body are left": (binary(32), binary(24)),
    "has both data and binary_data_size": (binary(24, data=ROW), infer(one())),
    "the parameters are not an object": (infer(one(), parameters=[]), infer(one(), parameters={})),
    "the body is not an inference request: {}; send": (post(INFER, {}), infer(one())),
    "its data is not an array of": (infer(one(data=["a", "b", "c"])), infer(one(data=[1, 2, 3]))),
    "is BYTES, but its values are numbers": (
        infer(*(one(name, "BYTES", [1, 1], ["1"]) for name in NUMBERS.names)),
        infer(*(one(name, "FP64", [1, 1], [1]) for name in NUMBERS.names)),
    ),
    "is not supported; send one of": (infer(one(datatype="FP8")), infer(one(datatype="FP64"))),
    "send the right amount of data": (infer(one(data=[1.0])), infer(one(data=[1.0, 2.0, 3.0]))),
    "is not [rows, {}]; send rows": (infer(one(shape=[3], data=ROW)), infer(one(shape=[1, 3]))),
    "two inputs are named": (infer(one(), one()), infer(one())),
    "is not a feature of the model; leave it out": (
        infer(*(one(name, "FP64", [1, 1], [1]) for name in (*NUMBERS.names, "more"))),
        infer(*(one(name, "FP64", [1, 1], [1]) for name in NUMBERS.names)),
    ),
    "a dimension of the shape {} is negative": (infer(one(shape=[-1, 3])), infer(one(shape=[1, 3]))),
    "more than the {} of a request": (infer(one(shape=[9, 3], data=ROW * 9)), infer(one(shape=[4, 3], data=ROW * 4))),
    "has no rows; send one or more": (infer(one(shape=[0, 3], data=[])), infer(one())),
    "is neither [rows] nor [rows, 1]": (
        infer(*(one(name, "FP64", [1, 1, 1], [1]) for name in NUMBERS.names)),
        infer(*(one(name, "FP64", [1, 1], [1]) for name in NUMBERS.names)),
    ),
    "but {} has {}; send the same number": (
        infer(*(one(name, "FP64", [n, 1], [1] * n) for name, n in zip(NUMBERS.names, (1, 1, 2), strict=True))),
        infer(*(one(name, "FP64", [2, 1], [1, 2]) for name in NUMBERS.names)),
    ),
    "the body is empty; send CSV": (post(INVOKE, b"", CSV), post(INVOKE, b"x0,x1,x2\n1,2,3\n", CSV)),
    "is not supported by this route": (
        post(INVOKE, b"x", "Content-Type: application/x-parquet"),
        post(INVOKE, b"x0,x1,x2\n1,2,3\n", CSV),
    ),
    "the CSV needs a header": (
        post(INVOKE, b"1,2,3\n", CSV),
        post(INVOKE, b"1,2,3\n", CSV + "; header=absent"),
    ),
    "unknown member {} in the request body; send": (
        post(INVOKE, {"rows": [ROW]}, JSON),
        post(INVOKE, {"instances": [ROW]}, JSON),
    ),
    "the model has no parameters": (
        post(INVOKE, {"instances": [ROW], "params": {"a": 1}}, JSON),
        post(INVOKE, {"instances": [ROW], "params": {}}, JSON),
    ),
    "must be a row (an array or an object)": (
        post(INVOKE, {"instances": ROW}, JSON),
        post(INVOKE, {"instances": [ROW]}, JSON),
    ),
}
"""By a part of the message, which names one message of the source."""

ELSEWHERE = {
    "a column gives one base margin a row": "wire/test_leaves_and_base_margins.py",
    "does not hold numbers; send a column": "wire/test_leaves_and_base_margins.py",
    "two columns of base margins": "wire/test_leaves_and_base_margins.py",
    "belongs to a row: send": "wire/test_leaves_and_base_margins.py",
    "are two names of one member": "wire/test_leaves_and_base_margins.py",
    "both Content-Length and Transfer-Encoding": "wire/test_hostile_corpus.py",
    "Accept: {} is not supported": "wire/test_platforms.py",
    "could be a category or a category code": "wire/test_natural_bodies.py",
    "the batch contains about {} values": "wire/test_http_refusals.py",
    'the body has both "features" and "key"': "wire/test_by_key.py",
    '"overrides" replace stored values': "wire/test_by_key.py",
    "the stream contains no rows": "wire/test_lower_remedies.py",
    "the push contains no rows": "wire/test_by_key.py",
    "lacks {}; push a complete row": "wire/test_by_key.py",
    "has no as-of time": "wire/test_by_key.py",
    "s old, more than {} s; push a newer one": "wire/test_by_key.py",
    "almost empty chunks": "wire/test_hostile_corpus.py",
    "is not supported; send HTTP/1.1": "wire/test_hostile_corpus.py",
    "the stream holds": "wire/test_arrow.py",
    "the stream has no column": "wire/test_arrow.py",
    "drop it, or start the server": "wire/test_arrow.py",
    "is of the Arrow type": "wire/test_arrow.py",
    "are compressed; send them": "wire/test_arrow.py",
    "a delta); send it whole": "wire/test_arrow.py",
    "more than {}; send rows in one tensor": "wire/test_inference.py",
    "the parameters have {} bytes": "wire/test_inference.py",
    "before it processed this request": "wire/test_grpc.py",
    "send the request to another one": "wire/test_grpc.py",
    "before its message was complete": "wire/test_grpc_limits.py",
    "send it faster, or call again": "wire/test_grpc_limits.py",
    "raw_input_contents too": "wire/test_grpc.py",
    "raw_input_contents has": "wire/test_grpc.py",
    "this server does not support {}; leave it out": "wire/test_inference.py",
    "is not served; send {}, or no version": "wire/test_inference_operations.py",
    "its parameters are": "wire/test_repository.py",
    "of an answer; send at most": "wire/test_inference.py",
    "is not {}; send another datatype": "wire/test_inference.py",
    "the feature's categories are strings": "wire/test_inference.py",
    "the field is {}, which {} cannot represent": "wire/test_inference.py",
    "the body is not an inference request: the shape of input": "wire/test_inference.py",
    "which is not a feature; {}": "wire/test_platforms.py",
    "values, more than {} rows of {} features": "wire/test_platform_limits.py",
}
"""Messages that need a model or a client of another kind, and the tests of what they advise."""


def pattern_of(part: str) -> re.Pattern[str]:
    """What an answer with the message that has this part looks like."""
    _, _, part = part.rpartition(".py ")
    found = [text for text in messages("serving") if part in text]
    return re.compile("|".join(".*".join(map(re.escape, text.split("{}"))) for text in found), re.DOTALL)
