"""The rows of logged requests, for scoring them again: features by name, or in schema order, of every form of request.

1. A prediction by key has the features that the log kept.
2. The forms are those of the log: native bodies, into which bodies of other platforms are rewritten, and tensors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mlrf.core import json_infinities
from mlrf.core.errors import InvalidRequestError

RECORD_COLUMNS = ("time", "request_id", "route", "model", "version", "instance", "key")
"""What a logged row can be identified by: `instance` is its number in the request, `key` its key as JSON."""
LOG_MEMBERS = frozenset({"time", "request_id", "route", "request", "answer"})
"""The members that every record has, by which a log is recognized."""
_ONE_TENSOR = frozenset({"features", "input__0", "input-0", "input-1", "predict"})


def rows_of_request(request: Any, features: Any) -> list[Any]:
    """Return the features of each instance: an object, an array in schema order, or an InvalidRequestError for none.

    `features` are the stored rows that the log kept: an object, a list with null for what was not by key, or None.
    InvalidRequestError, the end of a sentence about the request, if it has no form that is known.
    """
    try:
        return _rows_of(request, features)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise InvalidRequestError(f"has no form that is known ({error})") from error


def decoded(text: bytes | msgspec.Raw) -> Any:
    """Return the decoded JSON of a record; InvalidRequestError, the end of a sentence about the request, if it is none."""
    try:
        return json_infinities.decode(text)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidRequestError(f"is no JSON: {error}") from error


def _rows_of(request: Any, features: Any) -> list[Any]:
    if isinstance(features, Mapping):
        return [features]
    if isinstance(request, Mapping):
        if "inputs" in request:
            return list(features) if isinstance(features, Sequence) else _rows_of_tensors(request["inputs"])
        if "instances" in request:
            kept = features if isinstance(features, Sequence) else [None] * len(request["instances"])
            return [
                _of_instance(each) if row is None else row for each, row in zip(request["instances"], kept, strict=True)
            ]
        if "columns" in request and "data" in request:
            return [dict(zip(request["columns"], values, strict=True)) for values in request["data"]]
    return [_of_instance(request)]


def keys_of_request(request: Any, n_rows: int) -> list[Any]:
    """Return the key of each instance of a native request, None for one without."""
    if isinstance(request, Mapping) and isinstance(request.get("instances"), Sequence):
        instances = request["instances"]
    else:
        instances = [request] * n_rows
    return [each.get("key") if isinstance(each, Mapping) else None for each in instances][:n_rows]


def _of_instance(instance: Any) -> Any:
    if not isinstance(instance, Mapping):
        return instance
    if "features" in instance:
        return instance["features"]
    if "key" in instance:
        return InvalidRequestError("a prediction by key whose stored features the log does not have")
    return instance


def _rows_of_tensors(inputs: Any) -> list[Any]:
    """Return the rows of the tensors of a request: one of all features, or one for each."""
    if len(inputs) == 1 and inputs[0]["name"] in _ONE_TENSOR and len(inputs[0]["shape"]) == 2:  # noqa: PLR2004  rows x features
        count, width = inputs[0]["shape"]
        values = inputs[0]["data"]
        if len(values) != count * width:
            raise ValueError(f"{len(values)} values are not those of {count} rows of {width}")
        return [values[at * width : (at + 1) * width] for at in range(count)]
    columns = {each["name"]: each["data"] for each in inputs}
    count = max(math.prod(each["shape"]) for each in inputs)
    if any(len(values) != count for values in columns.values()):
        raise ValueError("its tensors have other numbers of values than their shapes")
    return [{name: values[row] for name, values in columns.items()} for row in range(count)]
