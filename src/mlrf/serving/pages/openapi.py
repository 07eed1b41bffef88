"""The OpenAPI 3.1 document of what is served, generated from the schemas of the served models."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from mlrf.core.bundle import Bundle
from mlrf.serving import route_paths as paths
from mlrf.serving.error_status import descriptions
from mlrf.serving.http.router import JSON
from mlrf.serving.pages.openapi_content import Content, class_prefixes, json_content, object_of, reference, values_of
from mlrf.serving.pages.openapi_native import SHARED, NativeSchemas
from mlrf.serving.pages.openapi_oip import OIP_SCHEMAS, fixed_contents
from mlrf.serving.pages.openapi_platforms import PLATFORM_CONTENTS, PLATFORM_SCHEMAS
from mlrf.serving.pages.page_facts import PageFacts
from mlrf.serving.route_spec import ADMIN, ANY, OPEN, Body, RouteSpec
from mlrf.serving.routes import ROUTES


def response(facts: PageFacts) -> bytes:
    """Return the response with the document."""
    of = (facts.bundles, facts.default, facts.version, facts.max_batch)
    return msgspec.json.encode(document(*of, facts.names, facts.predict_route))


def document(
    bundles: list[Bundle], default: str, version: str, max_batch: int, names: Sequence[str], without: str | None = None
) -> dict[str, Any]:
    """Return the document; routes without a model's name are those of `default`; `names` includes unloaded models.

    `without` is the path of a native route that leads elsewhere.
    """
    operations: dict[str, Any] = {}
    contents = fixed_contents(bundles) | _JSON_CONTENTS | PLATFORM_CONTENTS
    schemas = _shared_schemas(names, [bundle.name for bundle in bundles])
    native = [_add_schemas(schemas, bundle, max_batch) for bundle in bundles]
    for spec in ROUTES:
        if spec.handler is None:
            continue
        if spec.is_per_model:
            for bundle, of_model in zip(bundles, native, strict=True):
                described = of_model.content(spec.path) or PLATFORM_CONTENTS.get(spec.path) or _content_of(spec)
                for path in spec.paths(bundle.name, is_default=bundle.name == default):
                    if path == without:
                        continue
                    _add(operations, path, spec, described, f"{spec.summary} of {bundle.name}")
            continue
        named = reference("KnownModel" if spec.scope == ADMIN else "ServedModel")
        parameters = [_in_path("name", named)] if spec.names_model else []
        if spec.files:
            parameters = [_in_path("file", {"type": "string", "enum": list(spec.files)})]
        _add(operations, spec.path, spec, contents.get(spec.path) or _content_of(spec), spec.summary, parameters)
        if spec.has_versions:
            path = spec.paths("{name}", ["{version}"])[1]
            versioned = [*parameters, _in_path("version", {"type": "string"})]
            _add(operations, path, spec, contents.get(spec.path) or _content_of(spec), spec.summary, versioned)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mlrf",
            "version": version,
            "description": "Predictions of gradient-boosted trees, and their explanations.",
        },
        "paths": operations,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "If the server has keys"}},
        },
        "security": [{}, {"key": []}],
    }


def _add_schemas(schemas: dict[str, Any], bundle: Bundle, max_batch: int) -> NativeSchemas:
    """Add a model's schemas under names that are not taken, in any capitalisation."""
    taken = {name.casefold() for name in schemas}
    made = (NativeSchemas(bundle, max_batch, prefix) for prefix in class_prefixes(bundle.name))
    chosen = next(each for each in made if taken.isdisjoint(name.casefold() for name in each.schemas))
    schemas |= chosen.schemas
    return chosen


def _add(
    operations: dict[str, Any],
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
        operation["description"] = f"If the server requires keys: needs a key with the scope {spec.scope}."
    if content.request is not None:
        operation["requestBody"] = {"required": spec.needs_body, "content": content.request}
    operation["responses"] = {"200": {"description": "The answer", "content": content.response}, **_errors(spec)}
    item = operations.setdefault(path, {"parameters": list(parameters)} if parameters else {})
    item[method] = operation


def _errors(spec: RouteSpec) -> dict[str, Any]:
    """Return the error responses of a route, by status."""
    content = {"application/json": {"schema": reference("Error")}}
    return {
        str(status): {"description": description, "content": content}
        for status, description in descriptions(
            has_body=spec.body is not Body.NONE, is_admin=spec.scope == ADMIN
        ).items()
    }


def _content_of(spec: RouteSpec) -> Content:
    """Return the content of a route whose schema is written nowhere: any object, text, or bytes."""
    if spec.content_type == JSON:
        return _ANY
    media_type = spec.content_type.partition(b";")[0].decode()
    schema = {"type": "string"} if media_type.startswith("text/") else {"type": "string", "format": "binary"}
    return Content({media_type: {"schema": schema}})


def _in_path(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _shared_schemas(known: Sequence[str], served: Sequence[str]) -> dict[str, Any]:
    """Return the named schemas that all models share; `known` includes the names of unloaded models, `served` does not."""
    error = {
        "error": {"type": "string"},
        "code": {"type": "string"},
        "details": {"type": "object"},
        "request_id": {"type": "string"},
    }
    return {
        "Error": object_of(error),
        "ServedModel": values_of(served) if served else {"type": "string"},
        "KnownModel": values_of(known) if known else {"type": "string"},
        "Status": object_of(
            {
                "status": {"type": "string"},
                "by_key": {"type": "object", "additionalProperties": {"type": "string"}},
            },
            required=["status"],
        ),
        "Models": object_of(
            {
                "models": {"type": "array", "items": {"type": "object"}},
                "default": {"type": "string"},
                "refused": {"type": "array", "items": {"type": "object"}},
            }
        ),
        "Document": {"type": "object"},
        **SHARED,
        **OIP_SCHEMAS,
        **PLATFORM_SCHEMAS,
    }


_ANY = json_content(reference("Document"))
_STATUS = json_content(reference("Status"))
_JSON_CONTENTS = {
    paths.MODELS: json_content(reference("Models")),
    paths.HEALTHZ: _STATUS,
    paths.READYZ: _STATUS,
}
"""By path."""
