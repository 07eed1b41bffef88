"""The Open Inference Protocol's part of the OpenAPI document: paths by template, for they are the same for every model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_ANY = {"type": "object"}
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
_TENSOR = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "datatype": {"type": "string"},
        "parameters": _ANY,
        "data": {"type": "array"},
    },
    "required": ["name", "shape", "datatype"],
}
_INFER = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "parameters": _ANY,
        "inputs": {"type": "array", "items": _TENSOR},
        "outputs": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
    },
    "required": ["inputs"],
}


def inference_paths(names: Sequence[str], known: Sequence[str]) -> dict[str, Any]:
    """Return the paths under `/v2`: `names` are served, and `known` may be loaded or unloaded."""
    paths: dict[str, Any] = {
        "/v2": {"get": _call("The server, and the extensions that it has")},
        "/v2/health/live": {"get": _call("Whether the process lives")},
        "/v2/health/ready": {"get": _call("Whether the server answers correctly now")},
        "/v2/models/stats": {"get": _call("What was counted of all models")},
        "/v2/repository/index": {
            "post": _call(
                "The models and their states", body={"type": "object"}, answer={"type": "array", "items": _ANY}
            )
        },
    }
    name = {"name": "name", "in": "path", "required": True, "schema": {"enum": list(names)}}
    of_known = [{**name, "schema": {"enum": list(known)}}]
    for act, summary in _ACTS.items():
        call = _call(summary, body={"type": "object", "properties": {"parameters": _ANY}})
        paths[f"/v2/repository/models/{{name}}/{act}"] = {"parameters": of_known, "post": call}
    version = {"name": "version", "in": "path", "required": True, "schema": {"type": "string"}}
    for prefix, parameters in (
        ("/v2/models/{name}", [name]),
        ("/v2/models/{name}/versions/{version}", [name, version]),
    ):
        described = {
            "": {"get": _call("Inputs and outputs of the model")},
            "/ready": {"get": _call("Whether the model answers")},
            "/config": {"get": _call("The model's configuration, in Triton's words")},
            "/stats": {"get": _call("What was counted of the model")},
            "/infer": {"post": _call("Tensors to tensors, in JSON or binary", body=_INFER)},
        }
        for path, item in described.items():
            paths[prefix + path] = {"parameters": parameters, **item}
    return paths


def _call(summary: str, *, body: dict[str, Any] | None = None, answer: dict[str, Any] | None = None) -> dict[str, Any]:
    errors = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
    told = {"description": "The answer", "content": {"application/json": {"schema": answer or _ANY}}}
    responses = {"200": told, **{status: {"description": text, **errors} for status, text in _STATUSES.items()}}
    call: dict[str, Any] = {"summary": summary, "responses": responses}
    if body is not None:
        call["requestBody"] = {"required": body is _INFER, "content": {"application/json": {"schema": body}}}
    return call
