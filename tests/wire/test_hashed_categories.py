"""Categories of a CatBoost model with CTR features at every entry point of a server: each value is hashed as `catboost.Pool` hashes it."""

from __future__ import annotations

import json

import catboost as cb
import numpy as np
import pandas as pd
import pytest

import mlrf
from mlrf.cli import main
from running import serving

WORDS = ["red", "1", "0", "blue, dark", "ü"]
NUMBERS = [1, 7, -3]


@pytest.fixture(scope="module")
def trained():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"word": rng.choice(np.array(WORDS, object), 600), "code": rng.choice(NUMBERS, 600)})
    frame["num"] = rng.normal(size=600).round(2)
    target = (
        frame["num"] * (frame["word"] == "red") + frame["code"] * (frame["word"] == "1") + (frame["word"] == "0") * 3
    )
    options = {"one_hot_max_size": 1, "verbose": 0, "allow_writing_files": False, "thread_count": 1}
    return cb.CatBoostRegressor(iterations=30, cat_features=["word", "code"], **options).fit(frame, target)


@pytest.fixture(scope="module")
def bundle(trained, tmp_path_factory):
    lists = {"word": WORDS[:3], "code": NUMBERS}  # two words are known by their hash alone
    return mlrf.build(trained, tmp_path_factory.mktemp("hashed") / "bundle", name="m", categories=lists)


@pytest.fixture(scope="module")
def server(bundle):
    with serving(bundle) as running:
        yield running
        assert running.troubles == []


def answer_of(trained, word, code, num=0.5):
    """CatBoost's own answer; a whole number in a float is the number, as JSON has it."""
    values = [int(value) if isinstance(value, float) else value for value in (word, code)]
    return float(trained.predict(cb.Pool([[*values, num]], cat_features=[0, 1]))[0])


@pytest.mark.parametrize("word", ["red", "1", 1, 1.0, True, False, 0, "blue, dark", "ü"])
@pytest.mark.parametrize("code", [7, "7", 1, True, -3.0])
def test_json_by_name(server, trained, word, code):
    body = {"features": {"word": word, "code": code, "num": 0.5}}
    assert server.ask("POST", "/predict", body).json["prediction"] == answer_of(trained, word, code)


def test_json_by_position_takes_codes_and_names(server, trained):
    for word, name in ((0, "red"), (1, "1"), ("1", "1"), ("ü", "ü")):
        body = {"features": [word, 0, 0.5]}
        assert server.ask("POST", "/predict", body).json["prediction"] == answer_of(trained, name, NUMBERS[0])


def test_batches_and_explanations(server, trained):
    rows = [{"word": word, "code": code, "num": 0.1} for word in WORDS for code in NUMBERS]
    body = {"instances": [{"features": row} for row in rows]}
    expected = [answer_of(trained, row["word"], row["code"], 0.1) for row in rows]
    assert server.ask("POST", "/predict/batch", body).json["predictions"] == expected
    document = server.ask("POST", "/explain", {"features": rows[0]}).json["explanation"]
    assert document["base"] + sum(document["contributions"].values()) == pytest.approx(expected[0])


def test_unseen_category_is_refused_or_predicted_as_catboost(server, trained):
    body = {"features": {"word": "never, seen", "code": 7, "num": 0.5}}
    refused = server.ask("POST", "/predict", body)
    assert (refused.status, refused.json["code"]) == (422, "UNKNOWN_CATEGORY")
    assert "as-library" in refused.json["error"]
    answered = server.ask("POST", "/predict", body | {"unknown_categories": "as-library"})
    assert answered.json["prediction"] == answer_of(trained, "never, seen", 7)


def test_what_catboost_takes_for_no_category_is_refused(server):
    for word in (1.5, None, []):
        answer = server.ask("POST", "/predict", {"features": {"word": word, "code": 7, "num": 0.5}})
        assert (answer.status, answer.json["code"]) == (422, "INVALID_FEATURE")


def test_tensors_of_the_inference_protocol(server, trained):
    def ask(code_type, codes):
        columns = (("word", "BYTES", ["1", "ü"]), ("code", code_type, codes), ("num", "FP64", [0.5, 0.5]))
        inputs = [{"name": n, "datatype": t, "shape": [2], "data": data} for n, t, data in columns]
        answer = server.ask("POST", "/v2/models/m/infer", {"inputs": inputs}).json
        assert "outputs" in answer, answer
        return answer["outputs"][0]["data"]

    expected = [answer_of(trained, "1", 7), answer_of(trained, "ü", 1)]
    assert ask("INT64", [7, 1]) == ask("FP64", [7.0, 1.0]) == ask("BYTES", ["7", "1"]) == expected


def test_the_command_answers_files_as_catboost_does(bundle, trained, tmp_path, capsys):
    rows = tmp_path / "rows.jsonl"
    words = ["red", "never"]
    rows.write_text("".join(json.dumps({"word": word, "code": 7, "num": 0.5}) + "\n" for word in words))
    assert main(["predict", str(bundle), str(rows)]) != 0
    capsys.readouterr()
    assert main(["predict", str(bundle), str(rows), "--unknown-categories", "as-library"]) == 0
    predictions = [json.loads(line)["prediction"] for line in capsys.readouterr().out.splitlines()]
    assert predictions == [answer_of(trained, word, 7) for word in words]
    assert main(["inspect", str(bundle)]) == 0
    assert "model.onnx is left out" in " ".join(capsys.readouterr().out.split())
