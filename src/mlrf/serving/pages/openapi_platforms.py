"""The schemas of other platforms' routes in the OpenAPI document, which are the same for every model."""

from __future__ import annotations

from typing import Any

from mlrf.serving.pages.openapi_content import Content, json_content

_TEXT = {"type": "string"}
_VALUE = {"type": ["number", "string", "boolean", "null"]}
_VALUES = {"type": "array", "items": _VALUE}
_BY_NAME = {"type": "object", "additionalProperties": _VALUE}
_ROWS = {"type": "array", "minItems": 1, "items": {"oneOf": [_VALUES, _BY_NAME]}}
_FRAME = {
    "type": "object",
    "properties": {
        "columns": {"type": "array", "items": _TEXT},
        "index": _VALUES,
        "data": {"type": "array", "items": _VALUES},
    },
    "required": ["data"],
}
_PREDICTION = {
    "description": "A number, K numbers of a multiclass model, or the class where the model that was built predicts classes",
    "oneOf": [_VALUE, {"type": "array", "items": {"type": "number"}}],
}
_PREDICTIONS = {
    "type": "object",
    "properties": {"predictions": {"type": "array", "items": _PREDICTION}},
    "required": ["predictions"],
}
_EXPLANATIONS = {
    "type": "object",
    "properties": {
        "predictions": {"type": "array", "items": _PREDICTION},
        "explanations": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["predictions", "explanations"],
}


def _holding(**forms: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object with one of these members."""
    each = [{"type": "object", "properties": {name: form}, "required": [name]} for name, form in forms.items()]
    return each[0] if len(each) == 1 else {"oneOf": each}


_INVOCATIONS = json_content(
    _PREDICTIONS,
    _holding(
        dataframe_split=_FRAME,
        dataframe_records={"type": "array", "items": _BY_NAME},
        instances=_ROWS,
        inputs={"oneOf": [_ROWS, {"type": "object", "additionalProperties": _VALUES}]},
    ),
)
_STATUS = json_content({"$ref": "#/components/schemas/Status"})
PLATFORM_CONTENTS = {
    "/v1/models": json_content(
        {"type": "object", "properties": {"models": {"type": "array", "items": _TEXT}}, "required": ["models"]}
    ),
    "/v1/models/{name}": json_content(
        {"type": "object", "properties": {"name": _TEXT, "ready": {"type": "boolean"}}, "required": ["name", "ready"]}
    ),
    "/v1/models/{name}:predict": json_content(_PREDICTIONS, _holding(instances=_ROWS)),
    "/v1/models/{name}:explain": json_content(_EXPLANATIONS, _holding(instances=_ROWS)),
    "/invocations": Content(_INVOCATIONS.response, {**(_INVOCATIONS.request or {}), "text/csv": {"schema": _TEXT}}),
    "/ping": _STATUS,
    "/health": _STATUS,
    "/version": Content({"text/plain": {"schema": _TEXT}}),
}
"""By path."""
