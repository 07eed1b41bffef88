"""The request and response bodies of a model's native routes, as named schemas of the OpenAPI document.

Code generators make a class of each named schema. Therefore every schema has a type, every array its items; alternatives differ
in their type or their required members; a constant is an enumeration of one value. A choice between objects and arrays is
`anyOf`: OpenAPI Generator also accepts an object as an array, and then refuses it for a `oneOf`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from mlrf.core.bundle import Bundle
from mlrf.core.feature import Feature, Kind
from mlrf.core.json_schema import to_json_schema
from mlrf.model.base_margins import TAKE_BASE_MARGINS
from mlrf.serving import route_paths as paths
from mlrf.serving.native.requests import MAX_EXPLAINED
from mlrf.serving.pages.openapi_content import Content, json_content, nullable, object_of, reference, values_of
from mlrf.serving.pages.openapi_curve import CURVE_SCHEMAS, VARY, curve_schema
from mlrf.serving.pages.openapi_explanations import GAME_MEMBERS, GAME_OPTION, INTERACTIONS_OPTION, interactions_schema

_NUMBER = {"type": "number"}
_NUMBERS = {"type": "array", "items": _NUMBER}
_TEXT = {"type": "string"}
_FLAG = {"type": "boolean"}
_OTHER_ROWS = "Also taken, without --strict: a bare object by name, and a bare array in schema order"
_OTHER_BATCHES = (
    "Also taken, without --strict: a bare array of rows, bare rows as instances, and "
    '{"columns": [name, …], "data": [[value, …], …]}; an Arrow IPC stream (application/vnd.apache.arrow.stream) too'
)
_AS_OF = {"type": ["string", "null"], "format": "date-time"}
_KEY_TYPES = {
    "string": _TEXT,
    "integer": {"type": "integer"},
    "date": {"type": "string", "format": "date"},
    "boolean": _FLAG,
}
SHARED = {
    "UnknownCategories": {
        "type": "string",
        "enum": ["refuse", "missing", "as-library"],
        "description": "What to do with a category that the model does not have",
    },
    "Explain": {
        "description": "true for the contributions of all features; a number for that many features, the largest "
        "contributions first; the number of largest interactions of two features; or the game whose Shapley values are given",
        "anyOf": [_FLAG, {"type": "integer", "minimum": 1, "maximum": MAX_EXPLAINED}, INTERACTIONS_OPTION, GAME_OPTION],
    },
    "StaleFeatures": {
        "type": "string",
        "enum": ["refuse", "flag"],
        "description": "What to do with a stored row that is older than max_feature_age",
    },
    **CURVE_SCHEMAS,
}
"""The schemas that the requests of all models share, by name."""
_DEFAULTS = {"type": "object", "description": "The defaults used for features that the request leaves out"}
_LEAVES = {
    "type": "array",
    "items": {"type": "integer"},
    "description": "The training library's number of the leaf reached in each tree",
}
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_OPTIONS = {
    "unknown_categories": reference("UnknownCategories"),
    "explain": reference("Explain"),
    "return_features": {"type": "boolean", "description": "Whether the response repeats every feature"},
    "max_feature_age": {
        "type": "number",
        "exclusiveMinimum": 0,
        "description": "Maximum age of a stored row in seconds, unless the server sets a lower limit",
    },
    "stale_features": reference("StaleFeatures"),
    "leaves": {
        "type": "boolean",
        "description": "Whether the response contains the leaf that the row reaches in each tree",
    },
}


class NativeSchemas:
    """The schemas of one model's native routes, by name; every name begins with `prefix`."""

    def __init__(self, bundle: Bundle, max_batch: int, prefix: str) -> None:
        self._bundle = bundle
        self._prefix = prefix
        self._labels = None if bundle.manifest.classes is None else values_of(bundle.manifest.classes)
        self._example = {"features": bundle.schema.example()}
        self.schemas: dict[str, Any] = {}
        self._features = self._named("Features", _by_name(bundle))
        self._explanation = self._named("Explanation", _explanation(bundle))
        self._row = self._named("Row", _by_position(bundle))
        if bundle.manifest.rows is not None:
            key = object_of({each.name: _KEY_TYPES[each.type] for each in bundle.manifest.rows.key})
            self._key = self._named("Key", key | {"description": "The row to look up"})
            overrides = {k: v for k, v in _by_name(bundle).items() if k != "required"}
            self._overrides = self._named(
                "Overrides", overrides | {"description": "Values that replace the stored ones"}
            )
        self._request = self._requests("Request")
        self._curve_request = self._requests("CurveRequest", VARY)
        self._batch_request = self._named("BatchRequest", self._batch(max_batch))
        self._answer = self._named("Prediction", self._prediction())
        self._batch_answer = self._named("BatchPrediction", self._batch_prediction())
        self._explained = self._named("ExplainedPrediction", self._prediction(always=["explanation"]))
        curve = curve_schema(_value(bundle), _origin(), self._labels, self._of_the_row())
        self._curve = self._named("Curve", curve)

    def content(self, path: str) -> Content | None:
        """Return the bodies of a native route of the model; None for another route."""
        match path:
            case paths.PREDICT:
                return json_content(self._answer, self._request, example=self._example)
            case paths.PREDICT_BATCH:
                return json_content(self._batch_answer, self._batch_request, example={"instances": [self._example]})
            case paths.EXPLAIN:
                return json_content(self._explained, self._request, example=self._example)
            case paths.CURVE:
                example = self._example | {"vary": self._bundle.schema.names[0]}
                return json_content(self._curve, self._curve_request, example=example)
        return None

    def _named(self, name: str, schema: dict[str, Any]) -> dict[str, Any]:
        """Give a schema a name and return the reference to it."""
        self.schemas[self._prefix + name] = schema
        return reference(self._prefix + name)

    def _requests(self, name: str, more: Mapping[str, Any] = _NOTHING) -> dict[str, Any]:
        """Return the reference to a request of one row: by its features, or, if rows are stored, by its key.

        `more` has further members, all required.
        """
        more_options = _base_margin(self._bundle)
        members = {"features": {"anyOf": [self._features, self._row]}, **_OPTIONS, **more_options, **more}
        by_features = object_of(members, required=["features", *more]) | {"description": _OTHER_ROWS}
        if self._bundle.manifest.rows is None:
            return self._named(name, by_features)
        members = {"key": self._key, "overrides": self._overrides, **_OPTIONS, **more_options, **more}
        by_key = object_of(members, required=["key", *more])
        forms = [self._named(f"{name}ByFeatures", by_features), self._named(f"{name}ByKey", by_key)]
        return self._named(name, {"oneOf": forms})

    def _batch(self, max_batch: int) -> dict[str, Any]:
        instances = {"type": "array", "minItems": 1, "maxItems": max_batch, "items": self._request}
        body = object_of({"instances": instances, **_OPTIONS}, required=["instances"])
        return body | {"description": _OTHER_BATCHES}

    def _prediction(self, always: list[str] | None = None) -> dict[str, Any]:
        """Return the schema of the answer to one row, in which the members `always` are not optional."""
        properties: dict[str, Any] = {"prediction": _value(self._bundle), **_origin(), "cached": _FLAG}
        if self._labels is not None:
            properties |= {"label": self._labels, "probabilities": _NUMBERS}
        required = [*properties, *(always or [])]
        return object_of(properties | self._of_the_row() | {"explanation": self._explanation}, required=required)

    def _of_the_row(self) -> dict[str, Any]:
        """Return the schemas of the members about the row, which a response has if requested or for a row found by key."""
        properties: dict[str, Any] = {"features": self._features, "leaves": _LEAVES}
        if _has_defaults(self._bundle):
            properties["defaults"] = _DEFAULTS
        if self._bundle.manifest.rows is not None:
            properties |= {
                "features_as_of": _AS_OF | {"description": "The as-of time of the row found by key"},
                "features_stale": _FLAG | {"description": "Always true: the row is older than the request allows"},
            }
        return properties

    def _batch_prediction(self) -> dict[str, Any]:
        answers: dict[str, Any] = {"predictions": {"type": "array", "items": _value(self._bundle)}, **_origin()}
        answers["cached"] = _FLAG
        if self._labels is not None:
            answers["labels"] = {"type": "array", "items": self._labels}
            answers["probabilities"] = {"type": "array", "items": _NUMBERS}
        required = list(answers)
        answers["explanations"] = {
            "type": "array",
            "description": "null for an instance that requests none; absent when none does",
            "items": nullable(self._explanation),
        }
        answers["features"] = {"type": "array", "items": nullable(self._features)}
        answers["leaves"] = {"type": "array", "items": nullable(_LEAVES)}
        if _has_defaults(self._bundle):
            answers["defaults"] = {"type": "array", "items": nullable(_DEFAULTS)}
        if self._bundle.manifest.rows is not None:
            answers["features_as_of"] = {"type": "array", "items": _AS_OF}
            answers["features_stale"] = {"type": "array", "items": _FLAG}
        return object_of(answers, required=required)


def _by_name(bundle: Bundle) -> dict[str, Any]:
    """Return the JSON Schema of an instance, with enumerations that code generators accept."""
    schema = {name: value for name, value in to_json_schema(bundle.schema).items() if name != "$schema"}
    # Generators would name the class after a title.
    schema["description"] = schema.pop("title")
    properties = {}
    for feature in bundle.schema.features:
        described = dict(schema["properties"][feature.name])
        if feature.categories is not None and "enum" in described:
            del described["enum"]
            described = values_of(feature.categories, is_nullable=feature.nullable) | described
        properties[feature.name] = described
    return schema | {"properties": properties}


def _base_margin(bundle: Bundle) -> dict[str, Any]:
    """Describe where the margins of a row start, for models that accept it."""
    if bundle.manifest.library not in TAKE_BASE_MARGINS:
        return {}
    return {"base_margin": _value(bundle) | {"description": "The margin that the sum of the trees starts at"}}


def _has_defaults(bundle: Bundle) -> bool:
    return any(feature.optional for feature in bundle.schema.features)


def _by_position(bundle: Bundle) -> dict[str, Any]:
    features = bundle.schema.features
    return {
        "type": "array",
        "description": "Values in schema order; categories as codes",
        "prefixItems": [_position(feature) for feature in features],
        "items": {},
        "minItems": len(features),
        "maxItems": len(features),
    }


def _position(feature: Feature) -> dict[str, Any]:
    null = ["null"] if feature.nullable else []
    match feature.kind:
        case Kind.BOOLEAN:
            return {"type": ["boolean", *null]}
        case Kind.NUMERIC:
            return {"type": ["number", *null]}
        case Kind.CATEGORICAL if feature.categories is not None:
            return {"type": ["integer", *null], "minimum": 0, "maximum": len(feature.categories) - 1}
    return {"type": ["integer", *null]}


def _explanation(bundle: Bundle) -> dict[str, Any]:
    """Return the schema of an explanation; with several outputs it has lists in the order of classes and objects by class."""
    number: dict[str, Any] = _value(bundle)
    by_feature: dict[str, Any] = {"type": "object", "additionalProperties": _NUMBER}
    rest: dict[str, Any] = _NUMBER
    if bundle.manifest.n_outputs > 1:
        by_feature, rest = ({"type": "object", "additionalProperties": each} for each in (by_feature, _NUMBER))
    return object_of(
        {
            "space": {"type": "string", "enum": ["margin"]},
            "margin": number | {"description": "The sum of base, contributions and other"},
            "base": number | {"description": "The expected margin over the training rows"},
            "contributions": by_feature,
            "other": rest | {"description": "The sum of the contributions that are not named"},
            "source": {"type": "string", "enum": ["live", "precomputed"]},
            "interactions": interactions_schema(by_feature, rest),
            **GAME_MEMBERS,
        },
        required=["space", "margin", "base", "contributions", "other", "source"],
    )


def _value(bundle: Bundle) -> dict[str, Any]:
    n = bundle.manifest.n_outputs
    return _NUMBER if n == 1 else {"type": "array", "items": _NUMBER, "minItems": n, "maxItems": n}


def _origin() -> dict[str, Any]:
    return {"model": _TEXT, "version": {"type": "string", "pattern": "^[0-9a-f]{12}$"}}
