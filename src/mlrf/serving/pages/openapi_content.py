"""Descriptions of request and response bodies in the OpenAPI document, and helpers that build their schemas."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any, NamedTuple

from mlrf.core.feature import Category
from mlrf.core.value_text import listed


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
    """Return the content of a JSON route, given the schemas of its response and its request body."""
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


def reference(name: str) -> dict[str, Any]:
    """Return the reference to a named schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a value that matches `schema` or is null."""
    return {"anyOf": [schema, {"type": "null"}]}


def values_of(values: Sequence[Category], *, is_nullable: bool = False) -> dict[str, Any]:
    """Return the schema of one of these values: an enumeration for each type that has some.

    Code generators accept only enumerations of strings or integers, and make a name of each value. For other types, and if two
    values would get the same name, the schema states only the type.
    """
    texts = [value for value in values if isinstance(value, str)]
    integers = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
    schemas: list[dict[str, Any]] = []
    if texts:
        names = {re.sub(r"\W+", "_", text).strip("_").casefold() for text in texts}
        described = {"enum": texts} if len(names) == len(texts) else {"description": f"One of {listed(texts)}"}
        schemas.append({"type": "string", **described})
    if integers:
        schemas.append({"type": "integer", "enum": integers})
    if any(isinstance(value, float) for value in values):
        schemas.append({"type": "number"})
    if any(isinstance(value, bool) for value in values):
        schemas.append({"type": "boolean"})
    if is_nullable:
        schemas.append({"type": "null"})
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def class_prefixes(name: str) -> Iterator[str]:
    """Yield possible prefixes of the names of a model's schemas: its name as a class name, then the same with numbers."""
    plain = "".join(word[:1].upper() + word[1:] for word in re.findall("[A-Za-z0-9]+", name))
    plain = plain if plain[:1].isalpha() else f"Model{plain}"
    yield plain
    yield from (f"{plain}{number}x" for number in count(2))
