"""Explanations against a background over real sockets: by row and in batches, cached by their kind, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import mlrf
from bundles import NUMBERS, write_tree_bundle
from contract_validation import validator
from mlrf.core.manifest import LinkEntry
from running import serving

CLASSES = ["low", 1, "high"]
ROWS = [[0.5, -1.0, 2.0], [None, 0.0, 1e-36], [3.0, None, -0.0]]
BACKGROUND = [[0.0, 0.0, 0.0], [1.0, -1.0, 2.0], [np.nan, 0.3, -2.0]]
AGAINST = {"background": True}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("background")
    three = {"n_outputs": 3, "task": "multiclass", "classes": CLASSES, "link": LinkEntry("softmax")}
    return {
        "one": write_tree_bundle(folder / "one", name="one", schema=NUMBERS, background=BACKGROUND),
        "three": write_tree_bundle(folder / "three", name="three", schema=NUMBERS, background=BACKGROUND, **three),
        "plain": write_tree_bundle(folder / "plain", name="plain", schema=NUMBERS),
    }


@pytest.fixture(scope="module")
def models(paths):
    return {name: mlrf.load(path) for name, path in paths.items()}


@pytest.fixture(scope="module")
def running(paths):
    with serving(*paths.values()) as server:
        yield server


@pytest.fixture
def server(running):
    yield running
    assert running.is_ready()
    assert running.troubles == []


def explanation(server, name, row, explain, **options):
    answer = server.ask("POST", f"/models/{name}/predict", {"features": row, "explain": explain, **options})
    assert answer.status == 200, answer.body
    return answer.json["explanation"]


def check(found, model, row, moved=0.0):
    """The values are those of the model's own explanation against the background, and say so."""
    expected = model.explain([row], background=True)
    assert found["game"] == "interventional"
    assert found["source"] == "live"
    np.testing.assert_allclose(found["base"], np.asarray(expected.base) + moved, rtol=0, atol=1e-9)
    contributions = found["contributions"]
    if model.classes is not None:
        contributions = {
            name: [contributions[str(label)][name] for label in model.classes] for name in model.schema.names
        }
    np.testing.assert_array_equal(list(contributions.values()), expected.values[0])
    np.testing.assert_allclose(
        np.sum(list(contributions.values()), axis=0) + found["base"], found["margin"], rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("name", ["one", "three"])
def test_a_row_is_explained_against_the_background_on_request(name, server, models):
    for row in ROWS:
        plain = explanation(server, name, row, True)
        assert "game" not in plain
        for _ in range(2):  # the second is answered from the cache, under the kind of the first
            check(explanation(server, name, row, AGAINST), models[name], row)
        assert explanation(server, name, row, True) == plain
        assert explanation(server, name, row, {"background": False}) == plain


def test_the_largest_are_named(server, models):
    found = explanation(server, "one", ROWS[0], {"background": True, "top": 1})
    values = models["one"].explain([ROWS[0]], background=True).values[0]
    assert list(found["contributions"].values()) == [values[np.abs(values).argmax()]]
    assert sum(found["contributions"].values()) + found["other"] == pytest.approx(values.sum(), abs=1e-12)
    assert len(explanation(server, "one", ROWS[0], {"top": 2})["contributions"]) == 2


def test_a_batch_has_each_kind_for_the_rows_that_request_it(server, models):
    kinds = [AGAINST, False, True, {"interactions": 1}, AGAINST]
    instances = [{"features": ROWS[i % 3], "explain": kind} for i, kind in enumerate(kinds)]
    found = server.ask("POST", "/models/one/predict/batch", {"instances": instances}).json["explanations"]
    check(found[0], models["one"], ROWS[0])
    check(found[4], models["one"], ROWS[1])
    assert found[1] is None
    assert "game" not in found[2]
    assert "game" not in found[3]
    assert "interactions" in found[3]
    body = {"instances": [{"features": row} for row in ROWS], "explain": AGAINST}
    for row, each in zip(
        ROWS, server.ask("POST", "/models/three/predict/batch", body).json["explanations"], strict=True
    ):
        check(each, models["three"], row)


@pytest.mark.parametrize(
    ("explain", "message"),
    [
        ({"background": 1}, "background must be true or false, not the number 1"),
        ({"background": True, "top": 0}, "top must be the number of features to name (1 or more)"),
        ({"background": True, "interactions": 2}, '{"interactions": k} or {"background": true}'),
    ],
)
def test_another_option_is_refused(explain, message, server):
    answer = server.ask("POST", "/models/one/predict", {"features": ROWS[0], "explain": explain})
    assert (answer.status, answer.json["details"]["field"]) == (422, "explain")
    assert message in answer.json["error"]


def test_a_bundle_without_a_background_refuses(server):
    for path, body in (
        ("predict", {"features": ROWS[0], "explain": AGAINST}),
        ("predict/batch", {"instances": [{"features": ROWS[0]}, {"features": ROWS[0], "explain": AGAINST}]}),
    ):
        answer = server.ask("POST", f"/models/plain/{path}", body)
        assert (answer.status, answer.json["code"]) == (422, "NOT_EXPLAINABLE")
        assert "has no background; build it again with --background" in answer.json["error"]


def test_the_contract_describes_them(server):
    document = server.ask("GET", "/openapi.json").json
    operation = document["paths"]["/models/three/predict"]["post"]
    answer = server.ask("POST", "/models/three/predict", {"features": ROWS[0], "explain": AGAINST}).json
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    validator(document, schema).validate(answer)
