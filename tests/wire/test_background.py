"""Explanations of other games over real sockets: against a background, of groups of features, by row, in batches, refused."""

from __future__ import annotations

import numpy as np
import pytest

from contract_validation import validator

ROWS = [[0.5, -1.0, 2.0], [None, 0.0, 1e-36], [3.0, None, -0.0]]
GROUPS = {"outer": ["x0", "x2"]}
AGAINST = {"background": True}
GROUPED = {"groups": True}
BOTH = {"background": True, "groups": True}


def explanation(explained, name, row, explain, **options):
    answer = explained.ask("POST", f"/models/{name}/predict", {"features": row, "explain": explain, **options})
    assert answer.status == 200, answer.body
    return answer.json["explanation"]


def check(found, model, row, moved=0.0, *, background=True, groups=False):
    """The values are those of the model's own explanation of the game, and say so."""
    expected = model.explain([row], background=background, groups=groups)
    assert found.get("game") == ("interventional" if background else None)
    assert found.get("groups") == (GROUPS if groups else None)
    assert found["source"] == "live"
    np.testing.assert_allclose(found["base"], np.asarray(expected.base) + moved, rtol=0, atol=1e-9)
    contributions = found["contributions"]
    if model.classes is not None:
        contributions = {
            name: [contributions[str(label)][name] for label in model.classes] for name in expected.feature_names
        }
    assert list(contributions) == expected.feature_names
    np.testing.assert_allclose(list(contributions.values()), expected.values[0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        np.sum(list(contributions.values()), axis=0) + found["base"], found["margin"], rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("name", ["one", "three"])
def test_a_row_is_explained_against_the_background_on_request(name, explained, explained_models):
    for row in ROWS:
        plain = explanation(explained, name, row, True)
        assert "game" not in plain
        for _ in range(2):  # the second is answered from the cache, under the kind of the first
            check(explanation(explained, name, row, AGAINST), explained_models[name], row)
        assert explanation(explained, name, row, True) == plain
        assert explanation(explained, name, row, {"background": False}) == plain


@pytest.mark.parametrize("name", ["one", "three"])
def test_a_row_is_explained_with_groups_as_players_on_request(name, explained, explained_models):
    for row in ROWS:
        plain = explanation(explained, name, row, True)
        for _ in range(2):  # the second is answered from the cache
            check(
                explanation(explained, name, row, GROUPED), explained_models[name], row, background=False, groups=True
            )
            check(explanation(explained, name, row, BOTH), explained_models[name], row, groups=True)
        assert explanation(explained, name, row, True) == plain
        assert explanation(explained, name, row, {"groups": False}) == plain


def test_the_largest_are_named(explained, explained_models):
    found = explanation(explained, "one", ROWS[0], {"background": True, "top": 1})
    values = explained_models["one"].explain([ROWS[0]], background=True).values[0]
    assert list(found["contributions"].values()) == [values[np.abs(values).argmax()]]
    assert sum(found["contributions"].values()) + found["other"] == pytest.approx(values.sum(), abs=1e-12)
    assert len(explanation(explained, "one", ROWS[0], {"top": 2})["contributions"]) == 2


def test_a_batch_has_each_kind_for_the_rows_that_request_it(explained, explained_models):
    kinds = [AGAINST, False, True, {"interactions": 1}, AGAINST, GROUPED, BOTH, GROUPED]
    instances = [{"features": ROWS[i % 3], "explain": kind} for i, kind in enumerate(kinds)]
    found = explained.ask("POST", "/models/one/predict/batch", {"instances": instances}).json["explanations"]
    check(found[0], explained_models["one"], ROWS[0])
    check(found[4], explained_models["one"], ROWS[1])
    check(found[5], explained_models["one"], ROWS[2], background=False, groups=True)
    check(found[6], explained_models["one"], ROWS[0], groups=True)
    check(found[7], explained_models["one"], ROWS[1], background=False, groups=True)
    assert found[1] is None
    assert "game" not in found[2]
    assert "game" not in found[3]
    assert "interactions" in found[3]
    body = {"instances": [{"features": row} for row in ROWS], "explain": AGAINST}
    for row, each in zip(
        ROWS, explained.ask("POST", "/models/three/predict/batch", body).json["explanations"], strict=True
    ):
        check(each, explained_models["three"], row)


@pytest.mark.parametrize("game", [{}, AGAINST], ids=["path-dependent", "background"])
def test_neighbours_in_a_batch_keep_their_own_numbers_of_named_features(explained, game):
    options = [game or True, {**game, "top": 1}, game or True, {**game, "top": 2}]
    instances = [{"features": ROWS[0], "explain": each} for each in options]
    answer = explained.ask("POST", "/models/one/predict/batch", {"instances": instances})
    assert [len(each["contributions"]) for each in answer.json["explanations"]] == [3, 1, 3, 2]


@pytest.mark.parametrize(
    ("explain", "message"),
    [
        ({"background": 1}, "background must be true or false, not the number 1"),
        ({"background": True, "top": 0}, "top must be the number of features to name (1 or more)"),
        ({"groups": "all"}, "groups must be true or false, not the string"),
        ({"background": True, "interactions": 2}, '{"interactions": k}, {"background": true} or {"groups": true}'),
    ],
)
def test_another_option_is_refused(explain, message, explained):
    answer = explained.ask("POST", "/models/one/predict", {"features": ROWS[0], "explain": explain})
    assert (answer.status, answer.json["details"]["field"]) == (422, "explain")
    assert message in answer.json["error"]


@pytest.mark.parametrize("what", ["background", "groups"])
def test_a_bundle_without_them_refuses(what, explained):
    explain = {what: True}
    for path, body in (
        ("predict", {"features": ROWS[0], "explain": explain}),
        ("predict/batch", {"instances": [{"features": ROWS[0]}, {"features": ROWS[0], "explain": explain}]}),
    ):
        answer = explained.ask("POST", f"/models/plain/{path}", body)
        assert (answer.status, answer.json["code"]) == (422, "NOT_EXPLAINABLE")
        assert f"build it again with --{what}" in answer.json["error"]


def test_the_contract_describes_them(explained):
    document = explained.ask("GET", "/openapi.json").json
    operation = document["paths"]["/models/three/predict"]["post"]
    answer = explained.ask("POST", "/models/three/predict", {"features": ROWS[0], "explain": BOTH}).json
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    validator(document, schema).validate(answer)
    explain = document["components"]["schemas"]["Explain"]
    for option in (AGAINST, GROUPED, BOTH):
        validator(document, explain).validate(option)
