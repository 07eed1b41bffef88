"""Writes a schema as the JSON Schema (2020-12) of one instance by name, and reads it back.

`x-mlrf-…` members hold what JSON Schema cannot express: the kind of a feature, and the order of the columns (objects have
none). `x-mlrf-infinities` stands once beside `properties`, for all numbers; a feature with another rule has its own.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from mlrf.core.errors import BundleError, InvalidRequestError
from mlrf.core.feature import CategoryHashing, Feature, Kind
from mlrf.core.infinities import REFUSED, Infinities, describe_infinities, read_infinities
from mlrf.core.schema import Schema

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_HASH = "catboost"
_JSON_TYPE = {Kind.NUMERIC: "number", Kind.INTEGER: "integer", Kind.BOOLEAN: "boolean"}
_INFINITIES = "x-mlrf-infinities"
_NUMBERS = (Kind.NUMERIC, Kind.INTEGER)
"""The kinds that the schema's own rule for infinities applies to."""


def to_json_schema(schema: Schema) -> dict[str, Any]:
    """Return the JSON Schema of one instance given by name."""
    shared = _shared_infinities(schema)
    document = {
        "$schema": DIALECT,
        "title": "One instance of the model, by feature name; null is a missing value",
        "type": "object",
        "properties": {f.name: _property(f, shared) for f in schema.features},
        "required": [f.name for f in schema.features if not f.optional],
        "additionalProperties": False,
        "x-mlrf-order": list(schema.names),
    }
    if shared != REFUSED:
        document[_INFINITIES] = describe_infinities(shared)
    return document


def from_json_schema(document: Any) -> Schema:
    """Return the schema that `to_json_schema` wrote; BundleError when the document is not one of those."""
    try:
        order, properties = document["x-mlrf-order"], document["properties"]
        if sorted(order) != sorted(properties):
            raise ValueError("x-mlrf-order and properties name different features")
        shared = read_infinities(document.get(_INFINITIES))
        schema = Schema(tuple(_feature(name, properties[name], shared) for name in order))
        # A worker predicts the example before it is ready; with an invalid example it would never become ready.
        schema.row(schema.example())
        schema.check_defaults()
    except (LookupError, TypeError, ValueError, InvalidRequestError) as error:
        raise BundleError(f"schema.json is not a schema that mlrf wrote: {error}", file="schema.json") from error
    return schema


def _shared_infinities(schema: Schema) -> Infinities:
    """Return the rule of most numbers."""
    rules = Counter(f.infinities for f in schema.features if f.kind in _NUMBERS)
    return rules.most_common(1)[0][0] if rules else REFUSED


def _inherited_infinities(kind: Kind, shared: Infinities) -> Infinities:
    return shared if kind in _NUMBERS else REFUSED


def _property(feature: Feature, shared: Infinities) -> dict[str, Any]:
    described: dict[str, Any]
    null = ["null"] if feature.nullable else []
    hashing = feature.hashing
    if feature.categories is not None and hashing is not None and (hashing.known or hashing.is_open):
        described = {"type": ["string", "integer", "boolean", *null], "x-mlrf-categories": list(feature.categories)}
    elif feature.categories is not None:
        described = {"enum": [*feature.categories, *([None] if feature.nullable else [])]}
    else:
        described = {"type": [_JSON_TYPE.get(feature.kind, "integer"), *null]}
    described["x-mlrf-kind"] = feature.kind.value
    if hashing is not None:
        described["x-mlrf-hashing"] = {"hash": _HASH, "known": list(hashing.known), "open": hashing.is_open}
    if feature.optional:
        described["default"] = feature.default
    if feature.infinities != _inherited_infinities(feature.kind, shared):
        described[_INFINITIES] = describe_infinities(feature.infinities)
    if feature.least > -math.inf:
        described["minimum"] = feature.least
    if feature.most < math.inf:
        described["maximum"] = feature.most
    if feature.example is not None:
        described["examples"] = [feature.example]
    return described


def _feature(name: str, described: dict[str, Any], shared: Infinities) -> Feature:
    kind = Kind(described["x-mlrf-kind"])
    categories = None
    if "enum" in described:
        nullable = None in described["enum"]
        categories = tuple(c for c in described["enum"] if c is not None)
    else:
        nullable = "null" in described["type"]
        if "x-mlrf-categories" in described:
            categories = tuple(described["x-mlrf-categories"])
    examples = described.get("examples", [None])
    return Feature(
        name,
        kind,
        categories,
        nullable,
        examples[0],
        _hashing(described.get("x-mlrf-hashing")),
        optional="default" in described,
        default=described.get("default"),
        infinities=(
            read_infinities(described[_INFINITIES]) if _INFINITIES in described else _inherited_infinities(kind, shared)
        ),
        least=float(described.get("minimum", -math.inf)),
        most=float(described.get("maximum", math.inf)),
    )


def _hashing(described: Any) -> CategoryHashing | None:
    if described is None:
        return None
    if described["hash"] != _HASH:
        raise ValueError(f"categories are hashed by {described['hash']!r}, which this version of mlrf does not support")
    known = tuple(described["known"])
    if not all(isinstance(hashed, int) and 0 <= hashed < 1 << 32 for hashed in known):
        raise ValueError("a hash of a category is not a 32-bit integer")
    return CategoryHashing(known, bool(described["open"]))
