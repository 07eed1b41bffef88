"""Untrusted names reach a terminal without control sequences."""

from __future__ import annotations

import json
import shlex

import pytest

import mlrf
from bundles import write_bundle, write_tree_bundle
from mlrf.cli import main
from mlrf.cli.exit_status import reported
from mlrf.cli.terminal_text import escaped, escaped_json
from mlrf.core.errors import BundleError
from mlrf.core.feature import Feature, Kind
from mlrf.core.schema import Schema
from running import serving

NASTY = "a\x1b[31m\nb\r\x07\x7f\x9b\u202e\u2066\u2028\U000e0041c"
OBEYED = set(NASTY) - set("abc[31m")
ODD = Schema(
    (
        Feature(NASTY, Kind.CATEGORICAL, (NASTY, "[bold]it's[/bold]\\"), example=NASTY),
        Feature("price", example=0.5),
    )
)


@pytest.fixture
def odd(tmp_path):
    return write_tree_bundle(tmp_path / "b", schema=ODD)


def test_a_sentence_is_one_line_of_what_prints():
    assert escaped("süß “x” 日本") == "süß “x” 日本"
    assert not OBEYED & set(escaped(NASTY))
    assert len(escaped(NASTY)) == len(NASTY)


def test_json_means_the_same():
    for indent in (None, 2):
        encoded = escaped_json({NASTY: [NASTY, "süß"]}, indent=indent)
        assert json.loads(encoded) == {NASTY: [NASTY, "süß"]}
        assert not (OBEYED - {"\n"}) & set(encoded)
        assert "süß" in encoded


def test_an_error_is_one_harmless_line(capsys):
    with reported() as outcome:
        raise BundleError(f"the file {NASTY} is wrong")
    stderr = capsys.readouterr().err
    assert outcome.status == 3
    assert stderr == f"mlrf: the file {escaped(NASTY)} is wrong\n"


@pytest.mark.parametrize("command", [["inspect"], ["inspect", "--json"], ["explain"]])
def test_no_command_prints_what_a_terminal_obeys(capsys, command, odd, tmp_path):
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps([ODD.example()]))
    name, *options = command
    assert main([name, str(odd), *([str(rows)] if name == "explain" else []), *options]) == 0
    stdout = capsys.readouterr().out
    assert not (OBEYED - {"\n"}) & set(stdout)
    assert "a [31m" in stdout or "\\u001b[31m" in stdout


def test_the_line_that_inspect_prints_is_answered(capsys, odd, tmp_path):
    plain = write_bundle(tmp_path / "plain")
    for bundle in (odd, plain):
        main(["inspect", str(bundle)])
        line = capsys.readouterr().out.splitlines()[-1]
        curl, url, dash_h, header, dash_d, body = shlex.split(line.removeprefix("example: "))
        assert (curl, url, dash_h, dash_d) == ("curl", "localhost:8080/predict", "-H", "-d")
        with serving(bundle) as server:
            answer = server.ask("POST", "/predict", body.encode(), [header])
        assert answer.status == 200, answer.body
        model = mlrf.load(bundle)
        assert answer.json["prediction"] == model.predict([model.schema.example()])[0]


def test_where_memory_runs_out_there_is_a_line(capsys):
    with reported() as outcome:
        raise MemoryError
    assert outcome.status == 1
    assert capsys.readouterr().err.startswith("mlrf: memory ran out; give less at once")
