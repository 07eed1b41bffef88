"""What `/curve` takes and answers, in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from mlrf.core.bundle import Bundle
from mlrf.serving.pages.openapi_content import Content, json_content, object_of

_NAME = {"type": "string"}
VARY = {
    "vary": {
        "oneOf": [_NAME, {"type": "array", "items": _NAME, "minItems": 1, "maxItems": 2, "uniqueItems": True}],
        "description": "The feature that takes every value, or two of them",
    }
}
"""The member that a body has beyond those of `/predict`."""


def curve_content(
    bundle: Bundle,
    instance: dict[str, Any],
    prediction: dict[str, Any],
    origin: dict[str, Any],
    of_the_row: dict[str, Any],
) -> Content:
    """Return the content of the route; the arguments describe the body, one prediction, and members of other answers."""
    axis = object_of(
        {
            "feature": _NAME,
            "kind": _NAME,
            "cuts": {
                "type": ["array", "null"],
                "items": {"type": "number"},
                "description": "Where the answer may change: point i stands for cuts[i - 1] < x <= cuts[i]. Null where each "
                "point is one value: categories of a list, and booleans",
            },
            "values": {"type": "array", "description": "The value scored of each point; null is missing"},
            "at": {"type": "integer", "description": "The point of the row itself"},
        }
    )
    always: dict[str, Any] = {
        **origin,
        "cached": {"type": "boolean"},
        "axes": {"type": "array", "items": axis, "minItems": 1, "maxItems": 2},
        "margins": {
            "type": "array",
            "items": prediction,
            "description": "Raw margins; of two axes, the last goes fastest",
        },
        "predictions": {"type": "array", "items": prediction},
    }
    if bundle.manifest.classes is not None:
        always["labels"] = {"type": "array", "items": {"enum": bundle.manifest.classes}}
    example = {"features": bundle.schema.example(), "vary": bundle.schema.names[0]}
    return json_content(object_of(always | of_the_row, required=list(always)), instance, example=example)
