"""Each HTTP error that advises another request: the request that it advises is answered with 200."""

from __future__ import annotations

import re

import pytest

from advice import messages
from bundles import NUMBERS, write_tree_bundle
from followed_remedies import ELSEWHERE, ROUTES, Request, infer, one, pattern_of
from raw_http import Answer
from running import Server, serving

FOLDERS = ("serving/native", "serving/platforms", "serving/oip", "serving/http", "serving/lookup", "serving/arrow")
_ADVISES = re.compile(r"; (\(?[a-zA-Z_ ]+ )?\{?(send|leave|drop|name|request|push|accept|its parameters are)\b")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    bundle = write_tree_bundle(tmp_path_factory.mktemp("remedies") / "sales", name="sales", schema=NUMBERS)
    with serving(bundle, options=["--max-batch", "4", "--max-infer-rows", "4"]) as running:
        yield running


def ask(server: Server, request: Request) -> Answer:
    path, body, headers = request
    return server.ask("POST", path, body, headers)


@pytest.mark.parametrize("part", ROUTES)
def test_what_an_error_advises_is_answered(server, part):
    refused, advised = ROUTES[part]
    answer = ask(server, refused)
    assert 400 <= answer.status < 500
    assert pattern_of(part).search(answer.json["error"]), answer.json["error"]
    answer = ask(server, advised)
    assert answer.status == 200, answer.body


def test_a_refused_output_says_what_a_request_without_outputs_gets(server):
    refused = ask(server, infer(one(), outputs=[{"name": "y"}]))
    assert refused.json["error"].endswith(", or no outputs for prediction alone")
    assert [output["name"] for output in ask(server, infer(one())).json["outputs"]] == ["prediction"]


def test_every_error_that_advises_a_request_is_followed():
    found = {text: path for text, path in messages(*FOLDERS).items() if _ADVISES.search(text)}
    assert len(found) > 40
    parts = [part.rpartition(".py ")[2] for part in (*ROUTES, *ELSEWHERE)]
    assert {text: path for text, path in found.items() if not any(part in text for part in parts)} == {}
