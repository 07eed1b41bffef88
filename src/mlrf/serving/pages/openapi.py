"""The OpenAPI 3.1 document of what is served, made from the schemas of the served models."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mlrf.core.bundle import Bundle
from mlrf.core.errors import ReloadRefusedError
from mlrf.core.feature import Feature, Kind
from mlrf.core.json_schema import to_json_schema
from mlrf.serving.error_status import TABLE, descriptions
from mlrf.serving.native.strict_parser import MAX_EXPLAINED
from mlrf.serving.pages.openapi_content import Content, json_content
from mlrf.serving.pages.openapi_oip import fixed_contents
from mlrf.serving.pages.openapi_platforms import PLATFORM_CONTENTS
from mlrf.serving.routes import ADMIN, ANY, OPEN, ROUTES, Body, RouteSpec

_RELOAD_REFUSED = TABLE[ReloadRefusedError].http
_NUMBER = {"type": "number"}
_AS_OF = {"type": ["string", "null"], "format": "date-time"}
_KEY_TYPES = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "date": {"type": "string", "format": "date"},
    "boolean": {"type": "boolean"},
}
_NO_BODY_STATUSES = frozenset((411, 413, 415, 422))
"""What is answered to bodies alone."""


def document(bundles: list[Bundle], default: str, version: str, max_batch: int, names: Sequence[str]) -> dict[str, Any]:
    """Return the document; routes without a model's name stand for `default`, and `names` has those of unloaded models too."""
    paths: dict[str, Any] = {}
    contents = fixed_contents(bundles) | _FIXED | PLATFORM_CONTENTS
    for spec in ROUTES:
        if spec.handler is None:
            continue
        if spec.is_per_model:
            for bundle in bundles:
                described = _native_content(spec.path, bundle, max_batch)
                for path in spec.paths(bundle.name, is_default=bundle.name == default):
                    _add(paths, path, spec, described, f"{spec.summary} of {bundle.name}")
            continue
        given = names if spec.scope == ADMIN else [bundle.name for bundle in bundles]
        parameters = [_in_path("name", {"enum": list(given)})] if spec.names_model else []
        _add(paths, spec.path, spec, contents.get(spec.path, _ANY), spec.summary, parameters)
        if spec.has_versions:
            path = spec.paths("{name}", ["{version}"])[1]
            versioned = [*parameters, _in_path("version", {"type": "string"})]
            _add(paths, path, spec, contents.get(spec.path, _ANY), spec.summary, versioned)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mlrf",
            "version": version,
            "description": "Predictions of gradient-boosted trees, and their explanations.",
        },
        "paths": paths,
        "components": {"schemas": _shared_schemas()},
    }


def _add(
    paths: dict[str, Any],
    path: str,
    spec: RouteSpec,
    content: Content,
    summary: str,
    parameters: Sequence[dict[str, Any]] = (),
) -> None:
    """Add the operation of a route at a path."""
    method = spec.method.lower()
    operation: dict[str, Any] = {
        "operationId": re.sub(r"[^A-Za-z0-9]+", "_", f"{method}{path}").strip("_"),
        "tags": [spec.tag.value],
        "summary": summary,
    }
    if spec.scope not in (ANY, OPEN):
        operation["description"] = f"Where keys are needed, for those of the scope {spec.scope}."
    if content.request is not None:
        operation["requestBody"] = {"required": spec.needs_body, "content": content.request}
    operation["responses"] = {"200": {"description": "The answer", "content": content.response}, **_errors(spec)}
    there = paths.setdefault(path, {"parameters": list(parameters)} if parameters else {})
    there[method] = operation


def _errors(spec: RouteSpec) -> dict[str, Any]:
    """Return the error responses of a route, by status."""
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {
        str(status): {"description": description, "content": content}
        for status, description in descriptions().items()
        if (spec.body is not Body.NONE or status not in _NO_BODY_STATUSES)
        and (spec.scope == ADMIN or status != _RELOAD_REFUSED)
    }


def _in_path(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _native_content(path: str, bundle: Bundle, max_batch: int) -> Content:
    """Return what a model's route takes and answers."""
    match path:
        case "/predict":
            return _predict(bundle)
        case "/predict/batch":
            return _batch(bundle, max_batch)
        case "/explain":
            return _explain(bundle)
    return PLATFORM_CONTENTS.get(path, _ANY)


def _predict(bundle: Bundle) -> Content:
    answer = _object(
        _answer(bundle) | _of_the_row(bundle) | {"explanation": _explanation(bundle)}, required=list(_answer(bundle))
    )
    return json_content(answer, _instance(bundle), example=_example(bundle))


def _explain(bundle: Bundle) -> Content:
    always = _answer(bundle) | {"explanation": _explanation(bundle)}
    answer = _object(always | _of_the_row(bundle), required=list(always))
    return json_content(answer, _instance(bundle), example=_example(bundle))


def _example(bundle: Bundle) -> dict[str, Any]:
    return {"features": bundle.schema.example()}


def _answer(bundle: Bundle) -> dict[str, Any]:
    properties: dict[str, Any] = {"prediction": _prediction(bundle), **_origin(), "cached": {"type": "boolean"}}
    if bundle.manifest.classes is not None:
        properties |= {"label": {"enum": bundle.manifest.classes}, "probabilities": {"type": "array", "items": _NUMBER}}
    return properties


def _of_the_row(bundle: Bundle) -> dict[str, Any]:
    """Describe the members of a response about its row, where requested or found by key."""
    properties: dict[str, Any] = {"features": _named(bundle) | {"description": "Every feature, where requested"}}
    if bundle.manifest.rows is not None:
        properties |= {
            "features_as_of": _AS_OF | {"description": "When the row found by key was true"},
            "features_stale": {"const": True, "description": "The row is older than is allowed"},
        }
    return properties


def _batch(bundle: Bundle, max_batch: int) -> Content:
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
        "description": "null for an instance that requests none; absent when none does",
        "items": {"anyOf": [_explanation(bundle), {"type": "null"}]},
    }
    answers["features"] = {"type": "array", "items": {"anyOf": [_named(bundle), {"type": "null"}]}}
    if bundle.manifest.rows is not None:
        answers["features_as_of"] = {"type": "array", "items": _AS_OF}
        answers["features_stale"] = {"type": "array", "items": {"type": "boolean"}}
    example = {"instances": [_example(bundle)]}
    return json_content(_object(answers, required=always), body, example=example)


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
            "description": "What happens to a category that the model does not know",
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
    """Describe an explanation: of several outputs, lists in the order of the classes and objects by class."""
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
        "Models": _object(
            {
                "models": {"type": "array", "items": {"type": "object"}},
                "default": {"type": "string"},
                "refused": {"type": "array", "items": {"type": "object"}},
            }
        ),
        "Any": {"type": "object"},
    }


_ANY = json_content({"$ref": "#/components/schemas/Any"})
_STATUS = json_content({"$ref": "#/components/schemas/Status"})
_FIXED = {
    "/models": json_content({"$ref": "#/components/schemas/Models"}),
    "/healthz": _STATUS,
    "/readyz": _STATUS,
    "/metrics": Content({"text/plain": {"schema": {"type": "string"}}}),
    "/docs": Content({"text/html": {"schema": {"type": "string"}}}),
}
"""By path; a route without a line answers with any object."""
