"""`mlrf explain --background` as a shell sees it."""

from __future__ import annotations

import json

import numpy as np
import pytest

import mlrf
from bundles import ALL_KINDS, write_tree_bundle
from mlrf.cli import main

EXAMPLE = ALL_KINDS.example()
ROWS = [EXAMPLE, EXAMPLE | {"price": -2.0, "promo": False, "code": 1}]
OTHERS = [EXAMPLE | {"price": price, "depth": price / 3} for price in (-2.0, 0.0, 0.5, 1.0)]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    stored = [ALL_KINDS.row(each) for each in OTHERS]
    return write_tree_bundle(tmp_path_factory.mktemp("cli") / "one", name="one", background=stored)


@pytest.fixture
def files(tmp_path):
    for name, rows in (("rows", ROWS), ("others", OTHERS)):
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    return str(tmp_path / "rows.json"), str(tmp_path / "others.json")


def test_json_lines_are_of_the_rows_given_or_stored(bundle, files, capsys):
    rows, others = files
    expected = mlrf.load(bundle).explain(ROWS, background=OTHERS)
    for option in (["--background", others], ["--stored-background"]):
        assert main(["explain", str(bundle), rows, "--json", *option]) == 0
        for index, line in enumerate(capsys.readouterr().out.splitlines()):
            found = json.loads(line)
            assert found["game"] == "interventional"
            assert found["base"] == expected.base
            np.testing.assert_array_equal(list(found["contributions"].values()), expected.values[index])


def test_the_waterfall_says_what_it_is_against(bundle, files, capsys):
    rows, others = files
    assert main(["explain", str(bundle), rows, "--background", others]) == 0
    assert "row 0 of 2, against a background of 4 rows" in capsys.readouterr().out
    assert main(["explain", str(bundle), rows]) == 0
    assert "against" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--background", "{others}", "--stored-background"], 2, "leave one of the two out"),
        (["--background", "{others}", "--interactions", "2"], 2, "--interactions: they are path-dependent"),
        (["--background", "{empty}"], 1, "--background: {empty}: the background has no rows"),
    ],
)
def test_what_does_not_go_together_is_refused(options, status, message, bundle, files, tmp_path, capsys):
    rows, others = files
    (tmp_path / "empty.json").write_text("[]")
    names = {"others": others, "empty": str(tmp_path / "empty.json")}
    assert main(["explain", str(bundle), rows, *(each.format(**names) for each in options)]) == status
    assert message.format(**names) in capsys.readouterr().err


def test_groups_of_features_contribute_as_one(bundle, files, tmp_path, capsys):
    rows, others = files
    groups = {"money": ["price", "count"], "place": ["store", "depth"]}
    (tmp_path / "groups.json").write_text(json.dumps(groups))
    option = ["--groups", str(tmp_path / "groups.json")]
    for more, background in (([], None), (["--background", others], OTHERS), (["--stored-background"], True)):
        expected = mlrf.load(bundle).explain(ROWS, groups=groups, background=background)
        assert main(["explain", str(bundle), rows, "--json", *option, *more]) == 0
        for index, line in enumerate(capsys.readouterr().out.splitlines()):
            found = json.loads(line)
            assert found["groups"] == groups
            assert list(found["contributions"]) == ["money", "place", "promo", "size", "code"]
            np.testing.assert_array_equal(list(found["contributions"].values()), expected.values[index])
            total = found["base"] + sum(found["contributions"].values())
            assert total == pytest.approx(found["margin"], abs=1e-9)
    assert main(["explain", str(bundle), rows, *option]) == 0
    shown = capsys.readouterr().out
    assert "money" in shown
    assert "row 0 of 2, groups of" in shown


def test_the_bundles_groups_are_those_of_a_file(files, tmp_path, capsys):
    groups = {"money": ["price", "count"]}
    (tmp_path / "groups.json").write_text(json.dumps(groups))
    stored = str(write_tree_bundle(tmp_path / "grouped", groups=groups))
    written = []
    for option in (["--stored-groups"], ["--groups", str(tmp_path / "groups.json")]):
        assert main(["explain", stored, files[0], "--json", *option]) == 0
        written.append(capsys.readouterr().out)
    assert written[0] == written[1]
    assert json.loads(written[0].splitlines()[0])["groups"] == groups
    assert main(["explain", stored, files[0], "--stored-groups"]) == 0
    assert "groups of the bundle" in capsys.readouterr().out


def test_a_file_that_holds_no_groups_is_refused(bundle, files, tmp_path, capsys):
    path = tmp_path / "groups.json"
    for text, message in (("[", "is not JSON"), ('{"money": ["prize"]}', "'prize' in the group")):
        path.write_text(text)
        assert main(["explain", str(bundle), files[0], "--groups", str(path)]) in (1, 2)
        error = capsys.readouterr().err
        assert f"--groups: {path}" in error
        assert message in error.replace('"', "'")
