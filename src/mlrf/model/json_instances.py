"""Reads rows from JSON documents: objects of feature names and values, or requests to a server that contain one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mlrf.core.column_matching import find_columns
from mlrf.core.errors import InvalidRequestError
from mlrf.core.schema import Schema


def features_of(document: Any) -> Any:
    """Return the features of a row, which may also have the form of a request to the server."""
    if isinstance(document, dict) and list(document) == ["features"]:
        return document["features"]
    return document


def spelled_as_features(instances: Iterable[Any], schema: Schema) -> list[Any]:
    """Return the instances with their keys as the model spells them, and without those that are no features."""
    spelled: dict[tuple[str, ...], dict[str, int]] = {}
    renamed = []
    for index, instance in enumerate(instances):
        if isinstance(instance, dict):
            keys = tuple(instance)
            if keys not in spelled:
                try:
                    spelled[keys] = find_columns(schema.names, keys)
                except InvalidRequestError as error:
                    raise InvalidRequestError(f"row {index}: {error}", row=index, **error.details) from error
            renamed.append({name: instance[keys[at]] for name, at in spelled[keys].items()})
        else:
            renamed.append(instance)
    return renamed
