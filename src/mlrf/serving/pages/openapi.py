"""The OpenAPI 3.1 document of what is served, made from the schemas of the served models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlrf.core.bundle import Bundle
from mlrf.core.json_schema import to_json_schema
from mlrf.core.schema import Feature, Kind
from mlrf.serving.native.strict_parser import MAX_EXPLAINED
from mlrf.serving.pages.openapi_oip import inference_paths

_NUMBER = {"type": "number"}
_AS_OF = {"type": ["string", "null"], "format": "date-time"}
_KEY_TYPES = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "date": {"type": "string", "format": "date"},
    "boolean": {"type": "boolean"},
}
_ERROR_STATUSES = {
    "400": "Malformed HTTP or JSON",
    "401": "A key is wanted",
    "403": "The key lacks a scope",
    "404": "No such route, model or key",
    "405": "The route does not take this method",
    "408": "The request took too long to arrive",
    "411": "The request declares no length",
    "413": "Too many bytes or instances",
    "415": "Not JSON",
    "417": "An expectation other than 100-continue",
    "422": "Well-formed, but not valid for the model",
    "431": "Headers too large",
    "500": "Internal error; the log has the request id",
    "503": "Stopping, more requests than can be answered in time, or no answer from the feature store",
    "504": "The time of X-Request-Timeout-Ms was over",
}


def document(bundles: list[Bundle], default: str, version: str, max_batch: int, names: Sequence[str]) -> dict[str, Any]:
    """Return the document; routes without a model's name stand for `default`, and `names` has those of unloaded models too."""
    paths: dict[str, Any] = {}
    for prefix, bundle in [(prefix, b) for b in bundles for prefix in _prefixes(b.name, default)]:
        paths[f"{prefix}/predict"] = {"post": _predict(bundle)}
        paths[f"{prefix}/predict/batch"] = {"post": _batch(bundle, max_batch)}
        paths[f"{prefix}/explain"] = {"post": _explain(bundle)}
    paths["/models"] = {"get": _get("The served models and their features", "Models")}
    paths |= inference_paths(bundles, names)
    paths["/healthz"] = {"get": _get("Whether the process lives", "Status")}
    ready = _get("Whether the server answers correctly now", "Status")
    ready["responses"]["503"] = _error("Not ready")
    paths["/readyz"] = {"get": ready}
    paths["/metrics"] = {"get": _get_text("Metrics in Prometheus text format", "text/plain")}
    paths["/openapi.json"] = {"get": _get("This document", "Any")}
    paths["/docs"] = {"get": _get_text("These routes for a person, with an example", "text/html")}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mlrf",
            "version": version,
            "description": "Predictions of gradient-boosted trees, and their reasons.",
        },
        "paths": paths,
        "components": {"schemas": _shared_schemas()},
    }


def _prefixes(name: str, default: str) -> list[str]:
    return ["", f"/models/{name}"] if name == default else [f"/models/{name}"]


def _predict(bundle: Bundle) -> dict[str, Any]:
    answer = _object(
        _answer(bundle) | _of_the_row(bundle) | {"explanation": _explanation(bundle)}, required=list(_answer(bundle))
    )
    return _post(f"Predict one instance of {bundle.name}", _instance(bundle), _example(bundle), answer)


def _explain(bundle: Bundle) -> dict[str, Any]:
    always = _answer(bundle) | {"explanation": _explanation(bundle)}
    answer = _object(always | _of_the_row(bundle), required=list(always))
    return _post(f"Predict and explain one instance of {bundle.name}", _instance(bundle), _example(bundle), answer)


def _example(bundle: Bundle) -> dict[str, Any]:
    return {"features": bundle.schema.example()}


def _answer(bundle: Bundle) -> dict[str, Any]:
    properties: dict[str, Any] = {"prediction": _prediction(bundle), **_origin(), "cached": {"type": "boolean"}}
    if bundle.manifest.classes is not None:
        properties |= {"label": {"enum": bundle.manifest.classes}, "probabilities": {"type": "array", "items": _NUMBER}}
    return properties


def _of_the_row(bundle: Bundle) -> dict[str, Any]:
    """Describe what an answer says of its row, where that was asked or the row was found by key."""
    properties: dict[str, Any] = {
        "features": _named(bundle) | {"description": "Every feature, where they were asked for"}
    }
    if bundle.manifest.rows is not None:
        properties |= {
            "features_as_of": _AS_OF | {"description": "When the row found by key was true"},
            "features_stale": {"const": True, "description": "The row is older than is allowed"},
        }
    return properties


def _batch(bundle: Bundle, max_batch: int) -> dict[str, Any]:
    body = _object(
        {
            "instances": {"type": "array", "minItems": 1, "maxItems": max_batch, "items": _instance(bundle)},
            **_options(),
        },
        required=["instances"],
    )
    answers: dict[str, Any] = {"predictions": {"type": "array", "items": _prediction(bundle)}, **_origin()}
    answers["cached"] = {"type": "boolean"}
    if bundle.manifest.classes is not None:
        answers["labels"] = {"type": "array", "items": {"enum": bundle.manifest.classes}}
        answers["probabilities"] = {"type": "array", "items": {"type": "array", "items": _NUMBER}}
    always = list(answers)
    answers["explanations"] = {
        "type": "array",
        "description": "null in the place of an instance that asks for none; absent when none asks",
        "items": {"anyOf": [_explanation(bundle), {"type": "null"}]},
    }
    answers["features"] = {"type": "array", "items": {"anyOf": [_named(bundle), {"type": "null"}]}}
    if bundle.manifest.rows is not None:
        answers["features_as_of"] = {"type": "array", "items": _AS_OF}
        answers["features_stale"] = {"type": "array", "items": {"type": "boolean"}}
    example = {"instances": [_example(bundle)]}
    summary = f"Predict up to {max_batch} instances of {bundle.name}"
    return _post(summary, body, example, _object(answers, required=always))


def _instance(bundle: Bundle) -> dict[str, Any]:
    by_position = {
        "type": "array",
        "description": "Values in schema order; categories as codes",
        "prefixItems": [_position(f) for f in bundle.schema.features],
        "minItems": len(bundle.schema.features),
        "maxItems": len(bundle.schema.features),
    }
    given = _object({"features": {"oneOf": [_named(bundle), by_position]}, **_options()}, required=["features"])
    if bundle.manifest.rows is None:
        return given
    by_key = {"key": _key(bundle), "overrides": _overrides(bundle), **_options()}
    return {"oneOf": [given, _object(by_key, required=["key"])]}


def _named(bundle: Bundle) -> dict[str, Any]:
    return {k: v for k, v in to_json_schema(bundle.schema).items() if k != "$schema"}


def _key(bundle: Bundle) -> dict[str, Any]:
    rows = bundle.manifest.rows
    fields = {} if rows is None else {each.name: _KEY_TYPES[each.type] for each in rows.key}
    return _object(fields) | {"description": "The row to look up"}


def _overrides(bundle: Bundle) -> dict[str, Any]:
    named = {k: v for k, v in _named(bundle).items() if k != "required"}
    return named | {"description": "Values in place of the stored ones"}


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
            "enum": ["refuse", "missing"],
            "description": "What a category outside the list is taken for",
        },
        "explain": {
            "description": "true for the contribution of every feature, or how many to name, the heaviest first",
            "oneOf": [{"type": "boolean"}, {"type": "integer", "minimum": 1, "maximum": MAX_EXPLAINED}],
        },
        "return_features": {"type": "boolean", "description": "Whether the answer repeats every feature"},
        "max_feature_age": {
            "type": "number",
            "exclusiveMinimum": 0,
            "description": "How many seconds old a stored row may be, where the server does not allow less",
        },
        "stale_features": {"enum": ["refuse", "flag"], "description": "What becomes of an older row"},
    }


def _explanation(bundle: Bundle) -> dict[str, Any]:
    """Describe reasons: of several outputs, lists in the order of the classes and objects by class."""
    number: dict[str, Any] = _prediction(bundle)
    by_feature: dict[str, Any] = {"type": "object", "additionalProperties": _NUMBER}
    rest: dict[str, Any] = _NUMBER
    if bundle.manifest.n_outputs > 1:
        by_feature, rest = ({"type": "object", "additionalProperties": each} for each in (by_feature, _NUMBER))
    return _object(
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


def _object(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required is None else required,
        "additionalProperties": False,
    }


def _post(summary: str, body: dict[str, Any], example: Any, answer: dict[str, Any]) -> dict[str, Any]:
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": {"application/json": {"schema": body, "example": example}}},
        "responses": {
            "200": {"description": "The answer", "content": {"application/json": {"schema": answer}}},
            **{status: _error(text) for status, text in _ERROR_STATUSES.items()},
        },
    }


def _get(summary: str, schema: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"summary": summary, "responses": {"200": {"description": "OK", "content": content}}}


def _get_text(summary: str, media_type: str) -> dict[str, Any]:
    content = {media_type: {"schema": {"type": "string"}}}
    return {"summary": summary, "responses": {"200": {"description": "OK", "content": content}}}


def _error(text: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}


def _shared_schemas() -> dict[str, Any]:
    error = {
        "error": {"type": "string"},
        "code": {"type": "string"},
        "details": {"type": "object"},
        "request_id": {"type": "string"},
    }
    return {
        "Error": _object(error),
        "Status": _object(
            {
                "status": {"type": "string"},
                "by_key": {"type": "object", "additionalProperties": {"type": "string"}},
            },
            required=["status"],
        ),
        "Models": _object({"models": {"type": "array", "items": {"type": "object"}}, "default": {"type": "string"}}),
        "Any": {"type": "object"},
    }
