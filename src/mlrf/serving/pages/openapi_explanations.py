"""The OpenAPI schemas of explanations of other kinds: the options that request them, and the members that they have."""

from __future__ import annotations

from typing import Any

from mlrf.serving.native.requests import MAX_EXPLAINED, MAX_INTERACTIONS
from mlrf.serving.pages.openapi_content import object_of

INTERACTIONS_OPTION = object_of({"interactions": {"type": "integer", "minimum": 1, "maximum": MAX_INTERACTIONS}})
"""The number of pairs of features whose interactions a response names."""
GAME_OPTION = object_of(
    {
        "background": {
            "type": "boolean",
            "description": "Whether to explain against the rows of the bundle's background",
        },
        "groups": {
            "type": "boolean",
            "description": "Whether the bundle's groups of features contribute as one each",
        },
        "top": {"type": "integer", "minimum": 1, "maximum": MAX_EXPLAINED},
    },
    required=[],
)
"""The game of the contributions, and how many of them a response names."""
GAME = {
    "type": "string",
    "enum": ["interventional"],
    "description": "That contributions are against a background, whose mean margin is the base; absent: path-dependent",
}

GROUPS = {
    "type": "object",
    "additionalProperties": {"type": "array", "items": {"type": "string"}, "minItems": 1},
    "description": "The groups of features, by name, that contribute as one each; absent: every feature by itself",
}


def interactions_schema(by_feature: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of the interactions of a row, whose `value` is a number or an object by class."""
    features = {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2}
    return object_of(
        {
            "main": by_feature | {"description": "What each feature contributes by itself"},
            "pairs": {"type": "array", "items": object_of({"features": features, "value": value})},
            "other": value | {"description": "The sum of the interactions that are not named"},
        }
    )
