"""The Open Inference Protocol's part of the OpenAPI document: paths by template, for they are the same for every model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlrf.core.bundle import Bundle
from mlrf.serving.oip.datatypes import DATATYPES
from mlrf.serving.telemetry.metrics import INFERENCE_PARTS

_ANY = {"type": "object"}
_MAY_BE_NULL = {"type": ["object", "null"]}
_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_STATUSES = {
    "400": "Malformed HTTP, JSON or binary tensors",
    "401": "A key is wanted",
    "403": "The key lacks a scope",
    "404": "No such model, version or key",
    "405": "The route does not take this method",
    "408": "The request took too long to arrive",
    "409": "The model was not loaded; every worker goes on as before",
    "411": "The request declares no length",
    "413": "Too many bytes or rows",
    "415": "A content encoding other than gzip and deflate",
    "417": "An expectation other than 100-continue",
    "422": "A tensor that the model does not take",
    "431": "Headers too large",
    "500": "Internal error; the log has the request id",
    "503": "Stopping, or more requests than can be answered in time",
    "504": "The time of X-Request-Timeout-Ms was over",
}
_ACTS = {
    "load": "Take the model's current version into service, in every worker (keys of the scope admin)",
    "unload": "Take the model out of service, in every worker, until it is loaded (keys of the scope admin)",
}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _told(optional: Sequence[str] = (), /, **properties: Any) -> dict[str, Any]:
    """Return what an answer is: these members and no other."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


_DATATYPE = {"enum": list(DATATYPES)}
_SHAPE = _list({"type": "integer"})
_ASKED_TENSOR = {
    "type": "object",
    "properties": {
        "name": _TEXT,
        "shape": _list({"type": "integer", "minimum": 1}),
        "datatype": _DATATYPE,
        "parameters": {"type": "object", "properties": {"binary_data_size": _COUNT}},
        "data": {"type": "array"},
    },
    "required": ["name", "shape", "datatype"],
}
_ASKED_OUTPUT = {
    "type": "object",
    "properties": {
        "name": _TEXT,
        "parameters": {"type": "object", "properties": {"binary_data": {"type": "boolean"}}},
    },
    "required": ["name"],
}
_INFER = {
    "type": "object",
    "properties": {
        "id": {"type": ["string", "integer", "null"]},
        "parameters": _MAY_BE_NULL,
        "inputs": _list(_ASKED_TENSOR),
        "outputs": _list(_ASKED_OUTPUT) | {"type": ["array", "null"]},
    },
    "required": ["inputs"],
}
_TOLD_TENSOR = _told(name=_TEXT, datatype=_DATATYPE, shape=_SHAPE)
_OUTPUT = _told(
    ["parameters", "data"],
    name=_TEXT,
    datatype=_DATATYPE,
    shape=_SHAPE,
    parameters=_told(binary_data_size=_COUNT),
    data=_list({"type": "number"}),
)
_ANSWER = _told(
    ["id"],
    model_name=_TEXT,
    model_version=_TEXT,
    id=_TEXT,
    parameters=_told(
        ["features_as_of", "features_stale"],
        bundle_version=_TEXT,
        features_as_of={"type": "string", "format": "date-time"},
        features_stale={"const": True},
    ),
    outputs=_list(_OUTPUT),
)
_METADATA = _told(
    name=_TEXT, versions=_list(_TEXT), platform=_TEXT, inputs=_list(_TOLD_TENSOR), outputs=_list(_TOLD_TENSOR)
)
_CONFIGURED = _list(_told(name=_TEXT, data_type=_TEXT, dims=_SHAPE))
_CONFIG = _told(
    name=_TEXT,
    platform=_TEXT,
    backend=_TEXT,
    version_policy=_told(specific=_told(versions=_list({"type": "integer"}))),
    max_batch_size=_COUNT,
    input=_CONFIGURED,
    output=_CONFIGURED,
    parameters={"type": "object", "additionalProperties": _told(string_value=_TEXT)},
)
_STATISTICS = _told(
    model_stats=_list(
        _told(
            name=_TEXT,
            version=_TEXT,
            last_inference=_COUNT,
            inference_count=_COUNT,
            execution_count=_COUNT,
            inference_stats=_told(**dict.fromkeys(INFERENCE_PARTS, _told(count=_COUNT, ns=_COUNT))),
            batch_stats={"type": "array"},
        )
    )
)
_INDEX = _list(_told(name=_TEXT, version=_TEXT, state={"enum": ["READY", "UNAVAILABLE"]}, reason=_TEXT))
_YES = {"const": True}


def inference_paths(bundles: Sequence[Bundle], known: Sequence[str]) -> dict[str, Any]:
    """Return the paths under `/v2`: `bundles` are served, and the models `known` may be loaded or unloaded."""
    server = _told(name=_TEXT, version=_TEXT, extensions=_list(_TEXT))
    ready = {"type": "object", "properties": {"ready": {"type": "boolean"}}}
    paths: dict[str, Any] = {
        "/v2": {"get": _call("The server, and the extensions that it has", server)},
        "/v2/health/live": {"get": _call("Whether the process lives", _told(live=_YES))},
        "/v2/health/ready": {"get": _call("Whether the server answers correctly now", _told(live=_YES, ready=_YES))},
        "/v2/models/stats": {"get": _call("What was counted of all models", _STATISTICS)},
        "/v2/repository/index": {"post": _call("The models and their states", _INDEX, body=ready)},
    }
    name = {"name": "name", "in": "path", "required": True, "schema": {"enum": [each.name for each in bundles]}}
    of_known = [{**name, "schema": {"enum": list(known)}}]
    for act, summary in _ACTS.items():
        call = _call(summary, _told(), body={"type": "object", "properties": {"parameters": _ANY}})
        paths[f"/v2/repository/models/{{name}}/{act}"] = {"parameters": of_known, "post": call}
    version = {"name": "version", "in": "path", "required": True, "schema": _TEXT}
    infer = _call("Tensors to tensors, in JSON or binary", _ANSWER, body=_INFER)
    infer["requestBody"]["content"]["application/json"]["examples"] = {
        each.name: {"value": _example(each)} for each in bundles
    }
    # JSON, and behind it the tensors that have a binary_data_size.
    infer["responses"]["200"]["content"]["application/octet-stream"] = {}
    for prefix, parameters in (
        ("/v2/models/{name}", [name]),
        ("/v2/models/{name}/versions/{version}", [name, version]),
    ):
        described = {
            "": {"get": _call("Inputs and outputs of the model", _METADATA)},
            "/ready": {"get": _call("Whether the model answers", _told(name=_TEXT, ready=_YES))},
            "/config": {"get": _call("The model's configuration, in Triton's words", _CONFIG)},
            "/stats": {"get": _call("What was counted of the model", _STATISTICS)},
            "/infer": {"post": infer},
        }
        for path, item in described.items():
            paths[prefix + path] = {"parameters": parameters, **item}
    return paths


def _call(summary: str, answer: dict[str, Any], *, body: dict[str, Any] | None = None) -> dict[str, Any]:
    errors = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
    told = {"description": "The answer", "content": {"application/json": {"schema": answer}}}
    responses = {"200": told, **{status: {"description": text, **errors} for status, text in _STATUSES.items()}}
    call: dict[str, Any] = {"summary": summary, "responses": responses}
    if body is not None:
        call["requestBody"] = {"required": body is _INFER, "content": {"application/json": {"schema": body}}}
    return call


def _example(bundle: Bundle) -> dict[str, Any]:
    """Return a request of one row, a tensor a feature."""
    inputs = [
        {"name": name, "shape": [1], "datatype": _datatype_of(value), "data": [value]}
        for name, value in bundle.schema.example().items()
    ]
    return {"inputs": inputs}


def _datatype_of(value: object) -> str:
    match value:
        case bool():
            return "BOOL"
        case int():
            return "INT64"
        case str():
            return "BYTES"
    return "FP64"
