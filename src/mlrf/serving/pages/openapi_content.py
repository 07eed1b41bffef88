"""What a route takes and answers, as the OpenAPI document describes it."""

from __future__ import annotations

from typing import Any, NamedTuple


class Content(NamedTuple):
    """The media types of a response and of a request body, by name; None for a route without a body."""

    response: dict[str, Any]
    request: dict[str, Any] | None = None


def json_content(
    response: dict[str, Any],
    request: dict[str, Any] | None = None,
    *,
    example: Any = None,
    examples: dict[str, Any] | None = None,
) -> Content:
    """Return the content of a route that speaks JSON, for the schemas of its response and its request body."""
    answered = {"application/json": {"schema": response}}
    if request is None:
        return Content(answered)
    body = {"schema": request}
    if example is not None:
        body["example"] = example
    if examples is not None:
        body["examples"] = examples
    return Content(answered, {"application/json": body})


def object_of(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    """Return the schema of an object of these members and no others; all are required unless `required` names some."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required is None else required,
        "additionalProperties": False,
    }
