"""Arguments and rows that a command refuses, each in a line that says what is wrong."""

from __future__ import annotations

import json

import pytest

from bundles import NUMBERS, write_bundle, write_tree_bundle
from mlrf.cli import main
from mlrf.cli.exit_status import reported
from mlrf.core.manifest import LinkEntry

ROW = {"x0": 0.5, "x1": 1.0, "x2": 2.0}
REFUSED = {
    "--label: errors are reported for regression models only": "diff two two --rows rows.json --label x0",
    "--label: the column contains no number": "diff one one --rows rows.json --label truth",
    "contains no Parquet file": "diff one one --rows empty",
    "gone.parquet cannot be read: no such file": "diff one one --rows links",
    "'id' is not a field of a key; write id=…": "features get keyed id",
    "has no column 'id'": "features push keyed without.csv",
    "has two columns 'id'": "features push keyed twice.csv",
    "has 2 cells in line 2, but 4 in its header": "features push keyed short.csv",
    "none.csv has no rows": "features push keyed none.csv",
    "--as-of-column: it applies to tables": "features push keyed rows.json --as-of-column seen",
    "--features: ": "features stats keyed --features http://store",
    "--explain: give the number of largest contributions, or all, not '0'": "score one rows.json -o out --explain 0",
    "-: standard input cannot be read again": "score one - -o out",
    "-: standard input is scored alone": "score one - rows.json -o -",
    "--format: it is one of": "score one rows.json -o - --format parquet",
}
"""By a part of the message, the command."""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("refused")
    write_tree_bundle(folder / "one", schema=NUMBERS)
    classes = {"task": "binary", "link": LinkEntry("sigmoid"), "classes": ["no", "yes"]}
    write_tree_bundle(folder / "two", name="two", schema=NUMBERS, **classes)
    write_bundle(folder / "keyed", schema=NUMBERS, key={"id": "integer"})
    (folder / "rows.json").write_text(json.dumps([ROW | {"truth": None}]))
    (folder / "empty").mkdir()
    (folder / "links").mkdir()
    (folder / "links/gone.parquet").symlink_to(folder / "nowhere")
    for name, text in {
        "without": "x0,x1,x2\n1,2,3\n",
        "twice": "id,id,x0,x1,x2\n1,1,1,2,3\n",
        "short": "id,x0,x1,x2\n1,2\n",
        "none": "id,x0,x1,x2\n",
    }.items():
        (folder / f"{name}.csv").write_text(text)
    return folder


@pytest.mark.parametrize("message", REFUSED)
def test_a_command_says_what_it_refuses(message, home, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(home)
    command = REFUSED[message].split()
    state = ["--state-dir", str(tmp_path)] if command[0] == "features" and "--features" not in command else []
    assert main([*command, *state]) in (1, 2)
    stderr = capsys.readouterr().err
    assert message in stderr.replace("\n", " ")
    assert not (home / "out").exists()


LONG = "a" * 300


@pytest.mark.parametrize(
    "command",
    [
        "inspect {}",
        "verify {}",
        "predict {} rows.json",
        "predict one rows.json -o {}.csv",
        "explain one {}.json",
        "build {} -o out --name m",
        "diff one {}",
    ],
)
def test_a_path_that_is_too_long_is_refused_in_a_line(command, home, monkeypatch, capsys):
    monkeypatch.chdir(home)
    assert main(command.format(LONG).split()) in (1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mlrf: ")
    assert "File name too long" in line


@pytest.mark.parametrize("path", ["rows.csv", b"rows.csv"])
def test_a_path_that_may_not_be_used_is_reported_with_the_remedy(path, capsys):
    with reported() as outcome:
        raise PermissionError(13, "Permission denied", path)
    assert outcome.status == 2
    line = "mlrf: rows.csv: Permission denied; permit this user to use it, or give another path\n"
    assert capsys.readouterr().err == line


def test_an_error_of_the_system_is_not_taken_for_a_full_disk():
    with pytest.raises(OSError, match="Input/output error"), reported():
        raise OSError(5, "Input/output error", "rows.csv")
