"""The schemas of the Open Inference Protocol in the OpenAPI document, which are the same for every model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlrf.core.bundle import Bundle
from mlrf.serving import route_paths as paths
from mlrf.serving.oip.datatypes import DATATYPES
from mlrf.serving.pages.openapi_content import Content, json_content, nullable, object_of, reference
from mlrf.serving.telemetry.metrics import INFERENCE_PARTS

_TEXT = {"type": "string"}
_FLAG = {"type": "boolean"}
_COUNT = {"type": "integer", "minimum": 0}
_YES = _FLAG | {"description": "Always true; otherwise the status says why not"}
_SHAPE = {"type": "array", "items": {"type": "integer"}}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _open(required: Sequence[str] = (), /, **properties: Any) -> dict[str, Any]:
    """Return the schema of an object with these members and any other."""
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


def _closed(optional: Sequence[str] = (), /, **properties: Any) -> dict[str, Any]:
    """Return the schema of an object with these members and no other."""
    return object_of(properties, [name for name in properties if name not in optional])


_TENSOR = {"name": _TEXT, "datatype": reference("Datatype"), "shape": _SHAPE}
_TEXTS = {"type": "object", "additionalProperties": _TEXT}
OIP_SCHEMAS: dict[str, Any] = {
    "Datatype": {"type": "string", "enum": list(DATATYPES)},
    "InferInput": _open(
        ["name", "shape", "datatype"],
        name=_TEXT,
        shape=_list({"type": "integer", "minimum": 1}),
        datatype=reference("Datatype"),
        parameters=_open(binary_data_size=_COUNT),
        data=_list({}),
    ),
    "InferRequestedOutput": _open(["name"], name=_TEXT, parameters=_open(binary_data=_FLAG)),
    "InferRequest": _open(
        ["inputs"],
        id={"type": ["string", "integer", "null"]},
        parameters=nullable({"type": "object"}),
        inputs=_list(reference("InferInput")),
        outputs=nullable(_list(reference("InferRequestedOutput"))),
    ),
    "InferOutput": _closed(
        ["parameters", "data"],
        **_TENSOR,
        parameters=_closed(binary_data_size=_COUNT),
        data=_list({"type": ["number", "string", "boolean"]}),
    ),
    "InferResponse": _closed(
        ["id"],
        model_name=_TEXT,
        model_version=_TEXT,
        id=_TEXT,
        parameters=_closed(
            ["features_as_of", "features_stale"],
            bundle_version=_TEXT,
            features_as_of={"type": "string", "format": "date-time"},
            features_stale=_FLAG,
        ),
        outputs=_list(reference("InferOutput")),
    ),
    "ServerMetadata": _closed(name=_TEXT, version=_TEXT, extensions=_list(_TEXT)),
    "ServerLive": _closed(live=_YES),
    "ServerReady": _closed(live=_YES, ready=_YES),
    "ModelReady": _closed(name=_TEXT, ready=_YES),
    "TensorMetadata": _closed(["parameters"], **_TENSOR, parameters=_TEXTS),
    "ModelMetadata": _closed(
        name=_TEXT,
        versions=_list(_TEXT),
        platform=_TEXT,
        inputs=_list(reference("TensorMetadata")),
        outputs=_list(reference("TensorMetadata")),
        parameters=_TEXTS,
    ),
    "ConfiguredTensor": _closed(name=_TEXT, data_type=_TEXT, dims=_SHAPE),
    "ModelConfig": _closed(
        name=_TEXT,
        platform=_TEXT,
        backend=_TEXT,
        version_policy=_closed(specific=_closed(versions=_list({"type": "integer"}))),
        max_batch_size=_COUNT,
        input=_list(reference("ConfiguredTensor")),
        output=_list(reference("ConfiguredTensor")),
        response_cache=_closed(enable=_FLAG),
        parameters={"type": "object", "additionalProperties": _closed(string_value=_TEXT)},
    ),
    "Duration": _closed(count=_COUNT, ns=_COUNT),
    "ModelStatistics": _closed(
        name=_TEXT,
        version=_TEXT,
        last_inference=_COUNT,
        inference_count=_COUNT,
        execution_count=_COUNT,
        inference_stats=_closed(**dict.fromkeys(INFERENCE_PARTS, reference("Duration"))),
        batch_stats=_list({"type": "object"}),
    ),
    "Statistics": _closed(model_stats=_list(reference("ModelStatistics"))),
    "IndexRequest": _open(ready=_FLAG),
    "IndexedModel": _closed(
        name=_TEXT, version=_TEXT, state={"type": "string", "enum": ["READY", "UNAVAILABLE"]}, reason=_TEXT
    ),
    "RepositoryRequest": _open(parameters={"type": "object"}),
    "Done": _closed(),
}
"""The named schemas of the protocol."""


def fixed_contents(bundles: Sequence[Bundle]) -> dict[str, Content]:
    """Return the bodies of the routes under `/v2`, by path, with examples for `bundles`."""
    acting = json_content(reference("Done"), reference("RepositoryRequest"))
    infer = json_content(
        reference("InferResponse"),
        reference("InferRequest"),
        examples={each.name: {"value": _example(each)} for each in bundles},
    )
    # JSON, followed by the tensors that have a binary_data_size.
    infer.response["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
    return {
        paths.V2: json_content(reference("ServerMetadata")),
        paths.V2_LIVE: json_content(reference("ServerLive")),
        paths.V2_READY: json_content(reference("ServerReady")),
        paths.V2_ALL_STATS: json_content(reference("Statistics")),
        paths.V2_INDEX: json_content(_list(reference("IndexedModel")), reference("IndexRequest")),
        paths.V2_LOAD: acting,
        paths.V2_UNLOAD: acting,
        paths.V2_MODEL: json_content(reference("ModelMetadata")),
        paths.V2_MODEL_READY: json_content(reference("ModelReady")),
        paths.V2_CONFIG: json_content(reference("ModelConfig")),
        paths.V2_STATS: json_content(reference("Statistics")),
        paths.V2_INFER: infer,
    }


def _example(bundle: Bundle) -> dict[str, Any]:
    """Return a request of one row with a tensor for each feature."""
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
