"""A kind of Shapley values is a line of `GAME_OPTIONS`: requested, checked, computed, cached and described through it alone."""

from __future__ import annotations

import json

import pytest

from bundles import NUMBERS, write_tree_bundle
from running import serving

ADDED = """
from mlrf.model import explanation_kinds as kinds
kinds.GAME_OPTIONS = (*kinds.GAME_OPTIONS, kinds.GameOption(
    name="another", file="forest.bin", holds="trees", description="Whether to play another game",
    read=lambda bundle, explainer: "its content", is_large=False,
    explainer=lambda bundle, explainer, content: explainer, players=None,
    member="played", value=lambda content: content, schema={"type": "string", "description": "What was played"},
))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    path = write_tree_bundle(tmp_path_factory.mktemp("game") / "b", schema=NUMBERS)
    with serving(path, broken_by=ADDED) as server:
        yield server


def explained(server, explain):
    answer = server.ask("POST", "/predict", json.dumps({"features": row(server), "explain": explain}).encode())
    return answer.status, json.loads(answer.body)


def row(server):
    document = json.loads(server.ask("GET", "/models").body)
    return {feature["name"]: 0.5 for feature in document["models"][0]["features"]}


def test_json_chooses_it_and_names_it(server):
    plain, (status, chosen) = explained(server, True)[1], explained(server, {"another": True, "top": 1})
    assert status == 200
    assert chosen["explanation"]["played"] == "its content"
    (name,) = chosen["explanation"]["contributions"]
    assert chosen["explanation"]["contributions"][name] == plain["explanation"]["contributions"][name]
    assert "played" not in plain["explanation"]
    assert explained(server, {"another": 1})[1]["error"] == "another must be true or false, not the number 1"
    assert '{"groups": true} or {"another": true}' in explained(server, {"more": True})[1]["error"]


def test_a_game_of_it_and_another_option_needs_both(server):
    status, refused = explained(server, {"another": True, "groups": True})
    assert (status, refused["code"]) == (422, "NOT_EXPLAINABLE")


def test_the_inference_protocol_chooses_it_and_names_it(server):
    inputs = [{"name": name, "datatype": "FP64", "shape": [1, 1], "data": [0.5]} for name in row(server)]
    request = {"inputs": inputs, "outputs": [{"name": "shap_values"}]}
    plain = json.loads(server.ask("POST", "/v2/models/sample/infer", json.dumps(request).encode()).body)
    chosen = {**request, "parameters": {"another": True}}
    for _ in range(2):  # computed, then from the cache
        answer = json.loads(server.ask("POST", "/v2/models/sample/infer", json.dumps(chosen).encode()).body)
        assert answer["parameters"]["played"] == "its content"
        assert answer["outputs"] == plain["outputs"]
    assert "played" not in plain["parameters"]


def test_openapi_describes_it(server):
    document = server.ask("GET", "/openapi.json").body.decode()
    assert "Whether to play another game" in document
    assert "What was played" in document
