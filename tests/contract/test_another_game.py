"""A kind of Shapley values is a line of `GAME_OPTIONS`: built, requested, checked, computed, cached and described through it alone."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bundles import NUMBERS, write_tree_bundle
from running import serving

ADDED = """
from mlrf.model import explanation_kinds as kinds
kinds.GAME_OPTIONS = (*kinds.GAME_OPTIONS, kinds.GameOption(
    name="another", is_plural=False, holds="rows", description="Whether to play another game",
    build_help="Rows.", given_help="Rows.", stored_help="The rows of the bundle.",
    given_title="another of {rows}", stored_title="another", file="background.bin", document=None,
    is_large=False, content=lambda rows, model: "its content", explainer=lambda explainer, content: explainer, players=None,
    member="played", value=lambda content: content, schema={"type": "string", "description": "What was played"},
))
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    rows = [[0.0] * len(NUMBERS.features)]
    return write_tree_bundle(tmp_path_factory.mktemp("game") / "b", schema=NUMBERS, background=rows)


@pytest.fixture(scope="module")
def server(bundle):
    with serving(bundle, broken_by=ADDED) as server:
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


CALLERS = """
import json, sys
from pathlib import Path
import mlrf
from mlrf.builder.bundle.game_files import game_files, read_games
from mlrf.cli import main
from mlrf.client import Client
url, bundle, folder, row = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), json.loads(sys.argv[4])
rows = folder / "rows.json"
rows.write_text(json.dumps([row]))
model = mlrf.load(bundle)
plain = model.explain([row]).values.tolist()
for given in (True, [row]):
    assert model.explain([row], another=given).values.tolist() == plain
with Client(url) as client:
    assert client.explain(row, another=True)["played"] == "its content"
    assert client.explain([row], another=True).values.tolist() == plain
files = game_files(read_games({"another": rows}), "sample", model.schema, (bundle / "forest.bin").read_bytes(), None, folder, print)
assert [*files] == ["background.bin"]
for option in (["--another", str(rows)], ["--stored-another"]):
    assert main(["explain", str(bundle), str(rows), "--json", *option]) == 0
    assert main(["explain", str(bundle), str(rows), *option]) == 0
assert main(["explain", str(bundle), str(rows), "--stored-another", "--another", str(rows)]) == 2
main(["build", "--help"])
"""


def test_python_clients_and_commands_have_it(server, bundle, tmp_path):
    arguments = [f"http://127.0.0.1:{server.port}", str(bundle), str(tmp_path), json.dumps(row(server))]
    done = subprocess.run(
        [sys.executable, "-c", ADDED + CALLERS, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"played":"its content"') == 2
    assert "row 0 of 1, another of 1" in done.stdout
    assert "--stored-another: --another gives other rows; leave one of the two out" in done.stderr
    assert "--another" in done.stdout.rpartition("Usage")[2]
