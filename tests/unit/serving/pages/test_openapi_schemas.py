"""The OpenAPI document is one that code generators take: what they stumble over does not occur, whatever models are called."""

from __future__ import annotations

import pytest
from openapi_spec_validator import validate

from bundles import write_tree_bundle
from mlrf.core.bundle import read_bundle
from mlrf.core.feature import Feature, Kind
from mlrf.core.manifest import LinkEntry
from mlrf.core.schema import Schema
from mlrf.serving.pages import openapi
from mlrf.serving.pages.openapi_content import class_prefixes, values_of

AWKWARD = Schema(
    (
        Feature("kind", Kind.CATEGORICAL, ("a b", "a-b", "A_B")),
        Feature("mixed", Kind.CATEGORICAL, ("x", 1, 2.5, True), nullable=False),
        Feature("class", Kind.BOOLEAN),
        Feature("9 lives", Kind.INTEGER),
    )
)
NAMES = ("sample", "infer", "a", "a-batch", "A", "9", "Models")
"""Of the names of schemas that they would begin, several are one, or one that all models share."""


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    folder = tmp_path_factory.mktemp("openapi")
    classes = {"task": "multiclass", "link": LinkEntry("softmax"), "classes": [0, "other", True], "n_outputs": 3}
    paths = [write_tree_bundle(folder / name, name=name, n_trees=2) for name in NAMES]
    paths += [
        write_tree_bundle(folder / "awkward", name="awkward", schema=AWKWARD, key={"id": "date"}, n_trees=2, **classes)
    ]
    bundles = [read_bundle(path) for path in paths]
    return openapi.document(bundles, "sample", "0.1.0", 100, [*NAMES, "awkward"])


def each_schema(node, path="", *, inside=False):
    """Every schema of a document, with its place."""
    if isinstance(node, dict):
        if inside:
            yield path, node
        for name, value in node.items():
            if name in ("example", "examples", "enum", "required"):
                continue
            is_map = name in ("properties", "schemas")
            if is_map:
                for key, schema in value.items():
                    yield from each_schema(schema, f"{path}/{name}/{key}", inside=True)
            else:
                is_schema = name in ("schema", "items", "additionalProperties", "oneOf", "anyOf", "prefixItems")
                yield from each_schema(value, f"{path}/{name}", inside=is_schema)
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from each_schema(value, f"{path}/{index}", inside=inside)


def test_the_document_is_sound(document):
    validate(document)


def test_no_schema_is_one_that_generators_refuse(document):
    found = list(each_schema(document["components"])) + list(each_schema(document["paths"]))
    assert len(found) > 300
    for path, schema in found:
        kinds = schema.get("type", [])
        kinds = [kinds] if isinstance(kinds, str) else kinds
        assert "const" not in schema, path
        assert "array" not in kinds or "items" in schema, path
        if "enum" in schema:
            assert kinds in (["string"], ["integer"]), path
            assert all(type(value) in (str, int) for value in schema["enum"]), path
        if path.startswith("/paths"):
            assert "properties" not in schema, f"{path} has no name"


def test_every_body_and_answer_is_a_named_schema(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method == "parameters":
                continue
            assert operation["operationId"], path
            assert operation["tags"], path
            contents = [operation["responses"]["200"]["content"], operation.get("requestBody", {}).get("content", {})]
            for content in contents:
                schema = content.get("application/json", {}).get("schema", {"$ref": ""})
                assert "$ref" in schema or {"items", "oneOf"} & schema.keys(), path


def test_models_of_like_names_have_schemas_of_their_own(document):
    schemas = document["components"]["schemas"]
    assert len({name.casefold() for name in schemas}) == len(schemas)
    requests = {
        name: document["paths"][f"/models/{name}/predict"]["post"]["requestBody"]["content"]["application/json"][
            "schema"
        ]["$ref"]
        for name in (*NAMES, "awkward")
    }
    assert len(set(requests.values())) == len(requests)
    assert requests["sample"] == "#/components/schemas/SampleRequest"
    assert requests["infer"] != "#/components/schemas/InferRequest"


@pytest.mark.parametrize(
    ("values", "schema"),
    [
        (["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        ([1, 2], {"type": "integer", "enum": [1, 2]}),
        (["a b", "a-b"], {"type": "string", "description": "One of a b, a-b"}),
        ([True, False], {"type": "boolean"}),
        ([0.5], {"type": "number"}),
        (["a", 1], {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "integer", "enum": [1]}]}),
    ],
)
def test_values_are_enumerations_where_generators_take_them(values, schema):
    assert values_of(values) == schema
    options = schema.get("anyOf", [schema])
    assert values_of(values, is_nullable=True) == {"anyOf": [*options, {"type": "null"}]}


@pytest.mark.parametrize(("name", "prefix"), [("sales", "Sales"), ("b-1", "B1"), ("9.x", "Model9X"), ("-_-", "Model")])
def test_a_models_name_begins_those_of_its_schemas(name, prefix):
    prefixes = class_prefixes(name)
    assert [next(prefixes), next(prefixes)] == [prefix, f"{prefix}2x"]
