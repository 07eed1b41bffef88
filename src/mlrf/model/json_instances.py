"""Reads rows from JSON documents: objects of feature names and values, or requests to a server that contain one."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from mlrf.core.column_matching import find_columns
from mlrf.core.errors import InvalidRequestError
from mlrf.core.schema import Schema


def features_of(document: Any, names: Collection[str]) -> Any:
    """Return the features of a row: the document, or its member `features`, as in a request or in a record with an id.

    No value of a feature is an object or an array, so such a member is the row unless another member is a feature of `names`.
    """
    if not isinstance(document, dict) or "features" not in document:
        return document
    features = document["features"]
    is_row = isinstance(features, dict | list) and not any(each in names for each in document if each != "features")
    return features if is_row or len(document) == 1 else document


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
