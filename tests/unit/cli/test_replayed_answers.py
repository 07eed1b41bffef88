"""Records that `mlrf replay` cannot answer or compare are refused by what they lack; tests/ops/test_replay.py replays those of a server."""

from __future__ import annotations

import msgspec
import pytest

from bundles import ALL_KINDS, write_tree_bundle
from mlrf.cli.replayed_answers import ReplayedModel
from mlrf.core.bundle import read_bundle
from mlrf.core.errors import InvalidRequestError
from mlrf.model.logged_predictions import LoggedPrediction

EXAMPLE = ALL_KINDS.example()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return ReplayedModel(read_bundle(write_tree_bundle(tmp_path_factory.mktemp("replayed") / "bundle")))


def record(route, request, answer=None):
    bodies = [msgspec.Raw(msgspec.json.encode(each)) for each in (request, answer or {})]
    return LoggedPrediction("2026-01-31T06:00:00Z", "1", route, *bodies)


@pytest.mark.parametrize(
    ("route", "request_document", "answer", "refusal"),
    [
        ("/predict", {"key": {"id": 1}}, {}, "a prediction by key whose stored features the log does not have"),
        ("/explain", {"key": {"id": 1}}, {}, "a prediction by key whose stored features the log does not have"),
        ("/invocations", {"instances": [EXAMPLE]}, {"predictions": [{"a": 1}]}, "in this form cannot be compared"),
        ("/invocations", {"instances": [EXAMPLE]}, [1.5], "in this form cannot be compared"),
    ],
)
def test_what_cannot_be_answered_says_what_is_missing(model, route, request_document, answer, refusal):
    with pytest.raises(InvalidRequestError, match=refusal):
        model.answer(record(route, request_document, answer))


def test_the_lists_of_another_server_are_answered_in_its_form(model):
    native = msgspec.json.decode(model.ask("/predict/batch", msgspec.json.encode({"instances": [EXAMPLE]})))
    found = model.answer(record("/invocations", {"instances": [EXAMPLE]}, {"predictions": [1.5]}))
    assert msgspec.json.decode(found) == {"predictions": native["predictions"]}
