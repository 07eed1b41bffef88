"""The schemas of the Open Inference Protocol in the OpenAPI document, which are the same for every model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlrf.core.bundle import Bundle
from mlrf.serving.oip.datatypes import DATATYPES
from mlrf.serving.pages.openapi_content import Content, json_content
from mlrf.serving.telemetry.metrics import INFERENCE_PARTS

_ANY = {"type": "object"}
_MAY_BE_NULL = {"type": ["object", "null"]}
_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _closed(optional: Sequence[str] = (), /, **properties: Any) -> dict[str, Any]:
    """Return the schema of an object with these members and no other."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


_DATATYPE = {"enum": list(DATATYPES)}
_SHAPE = _list({"type": "integer"})
_INPUT = {
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
_REQUESTED_OUTPUT = {
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
        "inputs": _list(_INPUT),
        "outputs": _list(_REQUESTED_OUTPUT) | {"type": ["array", "null"]},
    },
    "required": ["inputs"],
}
_METADATA_TENSOR = _closed(name=_TEXT, datatype=_DATATYPE, shape=_SHAPE)
_OUTPUT = _closed(
    ["parameters", "data"],
    name=_TEXT,
    datatype=_DATATYPE,
    shape=_SHAPE,
    parameters=_closed(binary_data_size=_COUNT),
    data=_list({"type": "number"}),
)
_ANSWER = _closed(
    ["id"],
    model_name=_TEXT,
    model_version=_TEXT,
    id=_TEXT,
    parameters=_closed(
        ["features_as_of", "features_stale"],
        bundle_version=_TEXT,
        features_as_of={"type": "string", "format": "date-time"},
        features_stale={"const": True},
    ),
    outputs=_list(_OUTPUT),
)
_METADATA = _closed(
    name=_TEXT, versions=_list(_TEXT), platform=_TEXT, inputs=_list(_METADATA_TENSOR), outputs=_list(_METADATA_TENSOR)
)
_CONFIGURED = _list(_closed(name=_TEXT, data_type=_TEXT, dims=_SHAPE))
_CONFIG = _closed(
    name=_TEXT,
    platform=_TEXT,
    backend=_TEXT,
    version_policy=_closed(specific=_closed(versions=_list({"type": "integer"}))),
    max_batch_size=_COUNT,
    input=_CONFIGURED,
    output=_CONFIGURED,
    parameters={"type": "object", "additionalProperties": _closed(string_value=_TEXT)},
)
_STATISTICS = _closed(
    model_stats=_list(
        _closed(
            name=_TEXT,
            version=_TEXT,
            last_inference=_COUNT,
            inference_count=_COUNT,
            execution_count=_COUNT,
            inference_stats=_closed(**dict.fromkeys(INFERENCE_PARTS, _closed(count=_COUNT, ns=_COUNT))),
            batch_stats={"type": "array"},
        )
    )
)
_INDEX = _list(_closed(name=_TEXT, version=_TEXT, state={"enum": ["READY", "UNAVAILABLE"]}, reason=_TEXT))
_YES = {"const": True}


def fixed_contents(bundles: Sequence[Bundle]) -> dict[str, Content]:
    """Return what the routes under `/v2` take and answer, by path; examples are of `bundles`."""
    server = _closed(name=_TEXT, version=_TEXT, extensions=_list(_TEXT))
    ready = {"type": "object", "properties": {"ready": {"type": "boolean"}}}
    acting = json_content(_closed(), {"type": "object", "properties": {"parameters": _ANY}})
    infer = json_content(_ANSWER, _INFER, examples={each.name: {"value": _example(each)} for each in bundles})
    # JSON, and behind it the tensors that have a binary_data_size.
    infer.response["application/octet-stream"] = {}
    return {
        "/v2": json_content(server),
        "/v2/health/live": json_content(_closed(live=_YES)),
        "/v2/health/ready": json_content(_closed(live=_YES, ready=_YES)),
        "/v2/models/stats": json_content(_STATISTICS),
        "/v2/repository/index": json_content(_INDEX, ready),
        "/v2/repository/models/{name}/load": acting,
        "/v2/repository/models/{name}/unload": acting,
        "/v2/models/{name}": json_content(_METADATA),
        "/v2/models/{name}/ready": json_content(_closed(name=_TEXT, ready=_YES)),
        "/v2/models/{name}/config": json_content(_CONFIG),
        "/v2/models/{name}/stats": json_content(_STATISTICS),
        "/v2/models/{name}/infer": infer,
    }


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
