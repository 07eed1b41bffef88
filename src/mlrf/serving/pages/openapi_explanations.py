"""The OpenAPI schemas of explanations of other kinds: the options that request them, and the members that they have."""

from __future__ import annotations

from typing import Any

from mlrf.model.explanation_kinds import GAME_OPTIONS
from mlrf.serving.native.requests import MAX_EXPLAINED, MAX_INTERACTIONS
from mlrf.serving.pages.openapi_content import object_of

INTERACTIONS_OPTION = object_of({"interactions": {"type": "integer", "minimum": 1, "maximum": MAX_INTERACTIONS}})
"""The number of pairs of features whose interactions a response names."""
GAME_OPTION = object_of(
    {
        **{option.name: {"type": "boolean", "description": option.description} for option in GAME_OPTIONS},
        "top": {"type": "integer", "minimum": 1, "maximum": MAX_EXPLAINED},
    },
    required=[],
)
"""The game of the contributions, and how many of them a response names."""
GAME_MEMBERS = {option.member: option.schema for option in GAME_OPTIONS}
"""What an explanation says of its game."""


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
