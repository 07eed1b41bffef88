"""What the native routes of a model take and answer, in the schemas of the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from mlrf.core.bundle import Bundle
from mlrf.core.feature import Feature, Kind
from mlrf.core.json_schema import to_json_schema
from mlrf.serving.native.requests import MAX_EXPLAINED
from mlrf.serving.pages.openapi_content import Content, json_content, object_of
from mlrf.serving.pages.openapi_curve import VARY, curve_content

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_NUMBER = {"type": "number"}
_OTHER_ROWS = {"description": "Also taken, without --strict: a bare object by name, and a bare array in schema order"}
_OTHER_BATCHES = {
    "description": "Also taken, without --strict: a bare array of rows, bare rows as instances, and "
    '{"columns": [name, …], "data": [[value, …], …]}; an Arrow IPC stream (application/vnd.apache.arrow.stream) too'
}
_AS_OF = {"type": ["string", "null"], "format": "date-time"}
_DEFAULTS = {"type": "object", "description": "The defaults that stand for features which the request leaves out"}
_KEY_TYPES = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "date": {"type": "string", "format": "date"},
    "boolean": {"type": "boolean"},
}


def native_content(path: str, bundle: Bundle, max_batch: int) -> Content | None:
    """Return what a native route of a model takes and answers; None for another route."""
    match path:
        case "/predict":
            return _predict(bundle)
        case "/predict/batch":
            return _batch(bundle, max_batch)
        case "/explain":
            return _explain(bundle)
        case "/curve":
            instance = _instance(bundle, VARY) | _OTHER_ROWS
            return curve_content(bundle, instance, _prediction(bundle), _origin(), _of_the_row(bundle))
    return None


def _predict(bundle: Bundle) -> Content:
    answer = object_of(
        _answer(bundle) | _of_the_row(bundle) | {"explanation": _explanation(bundle)}, required=list(_answer(bundle))
    )
    return json_content(answer, _instance(bundle) | _OTHER_ROWS, example=_example(bundle))


def _explain(bundle: Bundle) -> Content:
    always = _answer(bundle) | {"explanation": _explanation(bundle)}
    answer = object_of(always | _of_the_row(bundle), required=list(always))
    return json_content(answer, _instance(bundle) | _OTHER_ROWS, example=_example(bundle))


def _example(bundle: Bundle) -> dict[str, Any]:
    return {"features": bundle.schema.example()}


def _answer(bundle: Bundle) -> dict[str, Any]:
    properties: dict[str, Any] = {"prediction": _prediction(bundle), **_origin(), "cached": {"type": "boolean"}}
    if bundle.manifest.classes is not None:
        properties |= {"label": {"enum": bundle.manifest.classes}, "probabilities": {"type": "array", "items": _NUMBER}}
    return properties


def _of_the_row(bundle: Bundle) -> dict[str, Any]:
    """Describe the members of a response about its row, where requested or found by key."""
    properties: dict[str, Any] = {"features": _named(bundle) | {"description": "Every feature, if requested"}}
    if _has_defaults(bundle):
        properties["defaults"] = _DEFAULTS
    if bundle.manifest.rows is not None:
        properties |= {
            "features_as_of": _AS_OF | {"description": "The as-of time of the row found by key"},
            "features_stale": {"const": True, "description": "The row is older than the request allows"},
        }
    return properties


def _batch(bundle: Bundle, max_batch: int) -> Content:
    body = object_of(
        {
            "instances": {"type": "array", "minItems": 1, "maxItems": max_batch, "items": _instance(bundle)},
            **_options(),
        },
        required=["instances"],
    )
    body |= _OTHER_BATCHES
    answers: dict[str, Any] = {"predictions": {"type": "array", "items": _prediction(bundle)}, **_origin()}
    answers["cached"] = {"type": "boolean"}
    if bundle.manifest.classes is not None:
        answers["labels"] = {"type": "array", "items": {"enum": bundle.manifest.classes}}
        answers["probabilities"] = {"type": "array", "items": {"type": "array", "items": _NUMBER}}
    always = list(answers)
    answers["explanations"] = {
        "type": "array",
        "description": "null for an instance that requests none; absent when none does",
        "items": {"anyOf": [_explanation(bundle), {"type": "null"}]},
    }
    answers["features"] = {"type": "array", "items": {"anyOf": [_named(bundle), {"type": "null"}]}}
    if _has_defaults(bundle):
        answers["defaults"] = {"type": "array", "items": {"anyOf": [_DEFAULTS, {"type": "null"}]}}
    if bundle.manifest.rows is not None:
        answers["features_as_of"] = {"type": "array", "items": _AS_OF}
        answers["features_stale"] = {"type": "array", "items": {"type": "boolean"}}
    example = {"instances": [_example(bundle)]}
    return json_content(object_of(answers, required=always), body, example=example)


def _instance(bundle: Bundle, more: Mapping[str, Any] = _NOTHING) -> dict[str, Any]:
    """Describe the body of one instance; `more` has further members, all required."""
    by_position = {
        "type": "array",
        "description": "Values in schema order; categories as codes",
        "prefixItems": [_position(f) for f in bundle.schema.features],
        "minItems": len(bundle.schema.features),
        "maxItems": len(bundle.schema.features),
    }
    options = {**_options(), **more}
    given = object_of({"features": {"oneOf": [_named(bundle), by_position]}, **options}, required=["features", *more])
    if bundle.manifest.rows is None:
        return given
    by_key = {"key": _key(bundle), "overrides": _overrides(bundle), **options}
    return {"oneOf": [given, object_of(by_key, required=["key", *more])]}


def _has_defaults(bundle: Bundle) -> bool:
    return any(feature.optional for feature in bundle.schema.features)


def _named(bundle: Bundle) -> dict[str, Any]:
    return {k: v for k, v in to_json_schema(bundle.schema).items() if k != "$schema"}


def _key(bundle: Bundle) -> dict[str, Any]:
    rows = bundle.manifest.rows
    fields = {} if rows is None else {each.name: _KEY_TYPES[each.type] for each in rows.key}
    return object_of(fields) | {"description": "The row to look up"}


def _overrides(bundle: Bundle) -> dict[str, Any]:
    named = {k: v for k, v in _named(bundle).items() if k != "required"}
    return named | {"description": "Values that replace the stored ones"}


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


def _options() -> dict[str, Any]:
    return {
        "unknown_categories": {
            "enum": ["refuse", "missing", "as-library"],
            "description": "What to do with a category that the model does not have",
        },
        "explain": {
            "description": "true for the contribution of every feature, or the number of features to name, largest first",
            "oneOf": [{"type": "boolean"}, {"type": "integer", "minimum": 1, "maximum": MAX_EXPLAINED}],
        },
        "return_features": {"type": "boolean", "description": "Whether the response repeats every feature"},
        "max_feature_age": {
            "type": "number",
            "exclusiveMinimum": 0,
            "description": "Greatest age of a stored row in seconds, if the server does not set a lower limit",
        },
        "stale_features": {"enum": ["refuse", "flag"], "description": "What to do with an older row"},
    }


def _explanation(bundle: Bundle) -> dict[str, Any]:
    """Describe an explanation: of several outputs, lists in the order of the classes and objects by class."""
    number: dict[str, Any] = _prediction(bundle)
    by_feature: dict[str, Any] = {"type": "object", "additionalProperties": _NUMBER}
    rest: dict[str, Any] = _NUMBER
    if bundle.manifest.n_outputs > 1:
        by_feature, rest = ({"type": "object", "additionalProperties": each} for each in (by_feature, _NUMBER))
    return object_of(
        {
            "space": {"const": "margin"},
            "margin": number | {"description": "The sum of base, contributions and other"},
            "base": number | {"description": "The expected margin over the training rows"},
            "contributions": by_feature,
            "other": rest | {"description": "The sum of the contributions that are not named"},
            "source": {"enum": ["live", "precomputed"]},
        }
    )


def _prediction(bundle: Bundle) -> dict[str, Any]:
    n = bundle.manifest.n_outputs
    return _NUMBER if n == 1 else {"type": "array", "items": _NUMBER, "minItems": n, "maxItems": n}


def _origin() -> dict[str, Any]:
    return {"model": {"type": "string"}, "version": {"type": "string", "pattern": "^[0-9a-f]{12}$"}}
