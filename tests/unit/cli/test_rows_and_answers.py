"""How the commands find the cells of a CSV file, read standard input, write explanations, and describe what they answer."""

from __future__ import annotations

import io
import json
import sys

import numpy as np
import pytest
from skl2onnx import to_onnx
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier

import mlrf
from bundles import ALL_KINDS, write_tree_bundle
from mlrf.cli import main
from mlrf.model.csv_dialect import Dialect, find_dialect

NAMES = list(ALL_KINDS.names)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return str(write_tree_bundle(tmp_path_factory.mktemp("cli") / "b", name="sales"))


def written(separator):
    cells = [
        json.dumps(value) if not isinstance(value, str) else value
        for value in (ALL_KINDS.example()[name] for name in NAMES)
    ]
    return "".join(separator.join(line) + "\n" for line in (NAMES, cells))


def given_on_standard_input(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


@pytest.mark.parametrize("separator", [",", ", ", ";", "; ", "\t", "|"])
def test_cells_are_found_whatever_separates_them(capsys, bundle, tmp_path, separator):
    answers = []
    for name, text in (("plain.csv", written(",")), ("other.csv", written(separator))):
        (tmp_path / name).write_text(text)
        assert main(["predict", bundle, str(tmp_path / name)]) == 0
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1] != ""


@pytest.mark.parametrize("header", ["a;b,c", "x,y", "", '"a;b",c'])
def test_csv_separator_is_chosen_by_matching_features(header):
    assert find_dialect(header, ["a;b", "c"]) == Dialect()


def test_blank_after_a_comma_is_kept_in_values():
    assert find_dialect("a,b\n x, y\n", ["a", "b"]).skips_blanks is False


@pytest.mark.parametrize("content", [written(";"), json.dumps([ALL_KINDS.example()])], ids=["csv", "json"])
def test_a_hyphen_is_standard_input_and_output(capsys, bundle, monkeypatch, content):
    given_on_standard_input(monkeypatch, content.encode())
    assert main(["predict", bundle, "-", "-o", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["prediction"] is not None


def test_what_is_wrong_with_standard_input_is_said_of_it(capsys, bundle, monkeypatch):
    given_on_standard_input(monkeypatch, b"PAR1 and no more")
    assert main(["predict", bundle, "-"]) == 1
    assert "standard input is not a Parquet file" in capsys.readouterr().err


def test_explanations_are_written_to_a_file(capsys, bundle, tmp_path):
    (tmp_path / "rows.csv").write_text(written(","))
    out = tmp_path / "explanations.jsonl"
    assert main(["explain", bundle, str(tmp_path / "rows.csv"), "-o", str(out)]) == 0
    assert capsys.readouterr().out == ""
    assert main(["explain", bundle, str(tmp_path / "rows.csv"), "--json"]) == 0
    assert out.read_text() == capsys.readouterr().out != ""


def test_explanations_are_not_written_as_what_they_are_not(capsys, bundle, tmp_path):
    assert main(["explain", bundle, "rows.csv", "-o", str(tmp_path / "explanations.parquet")]) == 2
    assert "the file must end in .jsonl" in capsys.readouterr().err


@pytest.mark.parametrize(("kind", "is_said"), [(RandomForestClassifier, True), (GradientBoostingClassifier, False)])
def test_inspect_says_when_probabilities_can_leave_their_range(capsys, tmp_path, kind, is_said):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(80, 2)).astype(np.float32), rng.integers(2, size=80)
    model = kind(n_estimators=4, max_depth=3, random_state=0).fit(x, y)
    whole = to_onnx(model, x[:1], options={id(model): {"zipmap": False}}, target_opset={"": 17, "ai.onnx.ml": 3})
    (tmp_path / "m.onnx").write_bytes(whole.SerializeToString())
    mlrf.build(tmp_path / "m.onnx", tmp_path / "b", name="m")
    assert main(["inspect", str(tmp_path / "b")]) == 0
    assert ("can be outside [0, 1]" in " ".join(capsys.readouterr().out.split())) is is_said


@pytest.mark.parametrize("command", ["predict", "explain"])
@pytest.mark.parametrize("separator", [":", " ", "~"])
def test_a_header_that_no_separator_divides_names_those_that_do(bundle, tmp_path, capsys, command, separator):
    rows = tmp_path / "rows.csv"
    rows.write_text(f"price{separator}count\n1{separator}2\n")
    assert main([command, str(bundle), str(rows)]) == 1
    said = (
        f"its first line is one column, 'price{separator}count'; separate the columns by commas, semicolons, tabs or |"
    )
    assert said in capsys.readouterr().err
