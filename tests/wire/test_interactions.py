"""Interactions over real sockets: of one row, in batches, by class, as an output of the inference protocol; and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from openapi_spec_validator import validate

from bundles import NUMBERS
from contract_validation import validator

ROW = [0.5, -1.0, 2.0]
ROWS = [ROW, [None, 0.0, 1e-36], [3.0, None, -0.0]]


def matrix(model, row):
    """The interactions [F, F, K] and SHAP values [F, K] of a row, from Python."""
    found = model.explain([row], interactions=True)
    n = len(NUMBERS.names)
    return found.interactions[0].reshape(n, n, -1), found.values[0].reshape(n, -1)


def check(answered, model, row, k):
    """The pairs are the largest of the model's own, in order, and base, main effects, pairs and others add up to the margin."""
    expected, values = matrix(model, row)
    names, labels = list(NUMBERS.names), [str(label) for label in model.classes or [""]]
    found, margins = answered["interactions"], np.atleast_1d(answered["margin"])
    best = int(np.argmax(margins))

    def number(value, output):
        return value[labels[output]] if len(margins) > 1 else value

    assert len(found["pairs"]) == min(k, 3)
    sizes = [abs(number(pair["value"], best)) for pair in found["pairs"]]
    assert sizes == sorted(sizes, reverse=True)
    for output, margin in enumerate(margins):
        main = number(found["main"], output)
        for index, name in enumerate(names):
            assert main[name] == pytest.approx(expected[index, index, output], abs=1e-12)
            assert number(answered["contributions"], output)[name] == pytest.approx(values[index, output], abs=1e-12)
        for pair in found["pairs"]:
            first, second = (names.index(name) for name in pair["features"])
            assert number(pair["value"], output) == pytest.approx(2 * expected[first, second, output], abs=1e-12)
        total = sum(main.values()) + sum(number(pair["value"], output) for pair in found["pairs"])
        total += number(found["other"], output) + np.atleast_1d(answered["base"])[output]
        assert total == pytest.approx(margin, abs=1e-9)


@pytest.mark.parametrize("name", ["one", "three"])
@pytest.mark.parametrize("k", [1, 2, 1000])
def test_the_largest_interactions_of_a_row_are_named(name, k, explained, explained_models):
    for path in ("predict", "explain"):
        for row in ROWS:
            answer = explained.ask("POST", f"/models/{name}/{path}", {"features": row, "explain": {"interactions": k}})
            assert answer.status == 200
            check(answer.json["explanation"], explained_models[name], row, k)


def test_a_batch_has_them_for_the_rows_that_request_them(explained, explained_models):
    instances = [
        {"features": ROW, "explain": {"interactions": 2}},
        {"features": ROW},
        {"features": ROWS[2], "explain": True},
    ]
    answer = explained.ask("POST", "/models/one/predict/batch", {"instances": instances}).json
    first, second, third = answer["explanations"]
    check(first, explained_models["one"], ROW, 2)
    assert second is None
    assert "interactions" not in third
    body = {"instances": [{"features": row} for row in ROWS], "explain": {"interactions": 3}}
    for row, each in zip(
        ROWS, explained.ask("POST", "/models/one/predict/batch", body).json["explanations"], strict=True
    ):
        check(each, explained_models["one"], row, 3)


@pytest.mark.parametrize("k", [0, -1, 1001, True, 1.5, "2", None])
def test_another_number_of_pairs_is_refused(k, explained):
    answer = explained.ask("POST", "/models/one/predict", {"features": ROW, "explain": {"interactions": k}})
    assert (answer.status, answer.json["details"]["field"]) == (422, "explain")
    assert "interactions must be the number of pairs of features to name, 1 to 1000" in answer.json["error"]


@pytest.mark.parametrize("explain", [{}, {"pairs": 2}, {"interactions": 2, "top": 1}, [2]])
def test_another_option_is_refused(explain, explained):
    answer = explained.ask("POST", "/models/one/predict", {"features": ROW, "explain": explain})
    assert answer.status == 422
    assert (
        'explain must be true, false, the number of features to name (1 or more), {"interactions": k}, {"background": true} or '
        '{"groups": true}' in answer.json["error"]
    )


@pytest.mark.parametrize("name", ["one", "three"])
def test_the_inference_protocol_answers_the_whole_matrix(name, explained, explained_models):
    tensor = {"name": "features", "shape": [1, 3], "datatype": "FP64", "data": ROW}
    outputs = [{"name": "shap_interactions"}, {"name": "shap_values"}]
    answer = explained.ask("POST", f"/v2/models/{name}/infer", {"inputs": [tensor], "outputs": outputs})
    assert answer.status == 200
    pairs, values = answer.json["outputs"]
    expected, contributions = matrix(explained_models[name], ROW)
    assert pairs["shape"] == ([1, 3, 3] if name == "one" else [1, 3, 3, 3])
    np.testing.assert_allclose(np.reshape(pairs["data"], expected.shape), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(np.reshape(values["data"], contributions.shape), contributions, rtol=0, atol=1e-12)


def test_the_contract_describes_them(explained):
    document = explained.ask("GET", "/openapi.json").json
    validate(document)
    answer = explained.ask("POST", "/models/three/predict", {"features": ROW, "explain": {"interactions": 2}}).json
    operation = document["paths"]["/models/three/predict"]["post"]
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    validator(document, schema).validate(answer)
