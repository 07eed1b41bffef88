"""The schemas of other platforms' routes in the OpenAPI document, which are the same for every model."""

from __future__ import annotations

from typing import Any

from mlrf.serving.pages.openapi_content import Content, json_content, reference
from mlrf.serving.routes import HEALTH, INVOCATIONS, PING, V1_EXPLAIN, V1_MODEL, V1_MODELS, V1_PREDICT

_TEXT = {"type": "string"}
_VALUE = {"type": ["number", "string", "boolean", "null"]}
_VALUES = {"type": "array", "items": _VALUE}
_PREDICTIONS = {"type": "array", "items": reference("PlatformPrediction")}


def _holding(**members: Any) -> dict[str, Any]:
    """Return the schema of an object with these members, and any other."""
    return {"type": "object", "properties": members, "required": list(members)}


PLATFORM_SCHEMAS: dict[str, Any] = {
    "NamedRow": {"type": "object", "additionalProperties": _VALUE, "description": "A row by name"},
    "Rows": {"type": "array", "minItems": 1, "items": {"anyOf": [_VALUES, reference("NamedRow")]}},
    "Columns": {"type": "object", "additionalProperties": _VALUES, "description": "Rows by column"},
    "SplitFrame": {
        "type": "object",
        "properties": {
            "columns": {"type": "array", "items": _TEXT},
            "index": _VALUES,
            "data": {"type": "array", "items": _VALUES},
        },
        "required": ["data"],
    },
    "FrameRequest": _holding(dataframe_split=reference("SplitFrame")),
    "RecordsRequest": _holding(dataframe_records={"type": "array", "items": reference("NamedRow")}),
    "InstancesRequest": _holding(instances=reference("Rows")),
    "InputsRequest": _holding(inputs={"anyOf": [reference("Rows"), reference("Columns")]}),
    "PlatformPrediction": {
        "description": "A number, K numbers of a multiclass model, or the class if the model that was built predicts classes",
        "anyOf": [_VALUE, {"type": "array", "items": {"type": "number"}}],
    },
    "PlatformPredictions": _holding(predictions=_PREDICTIONS),
    "PlatformExplanations": _holding(
        predictions=_PREDICTIONS, explanations={"type": "array", "items": {"type": "object"}}
    ),
    "ModelNames": _holding(models={"type": "array", "items": _TEXT}),
    "PlatformModel": _holding(name=_TEXT, ready={"type": "boolean"}),
}
"""The named schemas of these routes."""
_REQUESTS = ("FrameRequest", "RecordsRequest", "InstancesRequest", "InputsRequest")
_INVOCATIONS = json_content(reference("PlatformPredictions"), {"oneOf": [reference(name) for name in _REQUESTS]})
_STATUS = json_content(reference("Status"))
PLATFORM_CONTENTS = {
    V1_MODELS: json_content(reference("ModelNames")),
    V1_MODEL: json_content(reference("PlatformModel")),
    V1_PREDICT: json_content(reference("PlatformPredictions"), reference("InstancesRequest")),
    V1_EXPLAIN: json_content(reference("PlatformExplanations"), reference("InstancesRequest")),
    INVOCATIONS: Content(_INVOCATIONS.response, {**(_INVOCATIONS.request or {}), "text/csv": {"schema": _TEXT}}),
    PING: _STATUS,
    HEALTH: _STATUS,
}
"""By path."""
