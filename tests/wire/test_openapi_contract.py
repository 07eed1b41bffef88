"""Answers and refusals are what /openapi.json says, and the pages made of it."""

from __future__ import annotations

import json
import struct
import zlib

import pytest
from openapi_spec_validator import validate

from bad_bodies import BAD
from bundles import ALL_KINDS, NUMBERS
from contract_validation import validator
from mlrf.serving.error_status import TABLE


@pytest.fixture(scope="module")
def contract(running):
    """The document of /openapi.json, which must itself be sound."""
    document = running.ask("GET", "/openapi.json").json
    validate(document)
    return document


def answers_as_described(contract, path, answer, method="post"):
    described = contract["paths"][path][method]["responses"][str(answer.status)]["content"]["application/json"][
        "schema"
    ]
    validator(contract, described).validate(answer.json)


def test_answers_are_what_the_contract_says(server, contract):
    for model in ("sample", "binary", "three", "exp"):
        schema = ALL_KINDS if model in ("sample", "binary") else NUMBERS
        body = {"features": schema.example()}
        for path, sent in (("predict", body), ("predict/batch", {"instances": [body, body]})):
            route = f"/models/{model}/{path}"
            described = contract["paths"][route]["post"]["requestBody"]["content"]["application/json"]
            for each in (sent, described["example"]):
                validator(contract, described["schema"]).validate(each)
                answer = server.ask("POST", route, each)
                assert answer.status == 200
                answers_as_described(contract, route, answer)
    for path in ("/models", "/healthz", "/readyz", "/openapi.json"):
        answers_as_described(contract, path, server.ask("GET", path), "get")


@pytest.mark.parametrize("name", BAD)
def test_refusals_are_what_the_contract_says(server, contract, name):
    answers_as_described(contract, "/predict", server.ask("POST", "/predict", BAD[name][0]))


@pytest.mark.parametrize("name", [n for n, (_, status, *_) in BAD.items() if status == 422])
def test_what_is_refused_as_invalid_the_contract_forbids_too(contract, name):
    body = BAD[name][0]
    try:
        instance = json.loads(body) if isinstance(body, bytes) else body
    except ValueError:
        return
    if any(big in name for big in ("1e999", "huge", "million")):
        return  # JSON Schema has no word for the range of float64
    described = contract["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert not validator(contract, described).is_valid(instance)


def test_the_contract_names_every_status_of_a_refusal(contract):
    stated = set(contract["paths"]["/predict"]["post"]["responses"])
    # 409 is what admin routes answer.
    assert {str(each.http) for each in TABLE.values()} - {"503", "409"} <= stated


def test_the_docs_page_works_without_an_internet(server):
    answer = server.ask("GET", "/docs")
    page = answer.body.decode()
    assert answer.headers["content-type"].startswith("text/html")
    assert "http://" not in page.replace("http://localhost", "")
    assert "https://" not in page
    assert "src=" not in page
    assert "@import" not in page
    assert "süd" in page
    assert 'type="password"' not in page
    assert server.ask("GET", "/").body == answer.body


def test_the_icon_that_browsers_ask_for_is_an_image(server):
    answer = server.ask("GET", "/favicon.ico")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/x-icon")
    kind, n, size, start = struct.unpack_from("<2xHH8xII", answer.body)
    assert (kind, n, start + size) == (1, 1, len(answer.body))
    png = answer.body[start:]
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    (length,) = struct.unpack_from(">I", png, 33)
    assert len(zlib.decompress(png[41 : 41 + length])) == 16 * (1 + 16 * 4)


def test_models_are_described_with_their_features(server):
    models = {model["name"]: model for model in server.ask("GET", "/models").json["models"]}
    assert list(models) == ["sample", "binary", "three", "exp"]
    features = models["sample"]["features"]
    assert [f["name"] for f in features] == list(ALL_KINDS.names)
    assert features[3] == {
        "name": "store",
        "kind": "categorical",
        "nullable": True,
        "categories": ["north", "süd", "east"],
    }
    assert models["three"]["classes"] == [0, 1, "other"]


def test_the_example_of_every_model_is_answered(server):
    for model in server.ask("GET", "/models").json["models"]:
        schema = ALL_KINDS if model["name"] in ("sample", "binary") else NUMBERS
        assert server.ask("POST", f"/models/{model['name']}/predict", {"features": schema.example()}).status == 200
