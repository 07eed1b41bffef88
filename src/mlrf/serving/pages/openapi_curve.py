"""The schemas of `/curve` in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from mlrf.serving.pages.openapi_content import nullable, object_of, reference

_NAME = {"type": "string"}
CURVE_SCHEMAS: dict[str, Any] = {
    "Vary": {
        "anyOf": [_NAME, {"type": "array", "items": _NAME, "minItems": 1, "maxItems": 2, "uniqueItems": True}],
        "description": "The feature that takes every value, or two of them",
    },
    "CurveAxis": object_of(
        {
            "feature": _NAME,
            "kind": _NAME,
            "cuts": nullable({"type": "array", "items": {"type": "number"}})
            | {
                "description": "Where the answer may change: point i stands for cuts[i - 1] < x <= cuts[i]. Null where each "
                "point is one value: categories of a list, and booleans",
            },
            "values": {
                "type": "array",
                "items": {},
                "description": "The value that was scored at each point; null is missing",
            },
            "at": {"type": "integer", "description": "The point of the row itself"},
        }
    ),
}
"""The named schemas of all models' curves."""
VARY = {"vary": reference("Vary")}
"""The member that a body has in addition to those of `/predict`."""


def curve_schema(
    prediction: dict[str, Any], origin: dict[str, Any], labels: dict[str, Any] | None, of_the_row: dict[str, Any]
) -> dict[str, Any]:
    """Return the schema of the answer; the arguments describe one prediction, one label, and members of other answers."""
    always: dict[str, Any] = {
        **origin,
        "cached": {"type": "boolean"},
        "axes": {"type": "array", "items": reference("CurveAxis"), "minItems": 1, "maxItems": 2},
        "margins": {
            "type": "array",
            "items": prediction,
            "description": "Raw margins; of two axes, the last varies fastest",
        },
        "predictions": {"type": "array", "items": prediction},
    }
    if labels is not None:
        always["labels"] = {"type": "array", "items": labels}
    return object_of(always | of_the_row, required=list(always))
