"""`mlrf diff`, `publish` and `rollback` as a person types them."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from bundles import ALL_KINDS, NUMBERS, write_bundle, write_tree_bundle
from mlrf.cli.app import app
from mlrf.cli.diff import _distance, _exceeded
from mlrf.core.errors import ConfigError
from mlrf.core.link import Link


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("diff")
    write_tree_bundle(folder / "old")
    write_tree_bundle(folder / "new", seed=8)
    write_bundle(folder / "numbers", schema=NUMBERS)
    row = ALL_KINDS.example()
    (folder / "rows.json").write_text(json.dumps([row | {"truth": 1.5}, row | {"truth": 2.5}]))
    return folder


def run(*arguments):
    done = CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def compared(*arguments):
    return json.loads(run("diff", *arguments, "--json"))


def test_the_same_bundle_differs_in_nothing(bundles):
    assert "the same bundle" in run("diff", bundles / "old", bundles / "old")
    found = compared(bundles / "old", bundles / "old")["predictions"]
    assert (found["max_difference"], found["equal"]) == (0, found["compared"])


def test_other_trees_keep_the_schema_and_change_answers(bundles):
    found = compared(bundles / "old", bundles / "new")
    assert found["contract"] == []
    assert 0 < found["predictions"]["median_difference"] <= found["predictions"]["max_difference"]
    assert "callers: nothing changes" in run("diff", bundles / "old", bundles / "new")


def test_diff_predicts_given_rows_and_reports_errors(bundles):
    found = compared(bundles / "old", bundles / "new", "--rows", bundles / "rows.json", "--label", "truth")
    old, new = found["predictions"]["errors"]
    assert found["predictions"]["rows"] == 2
    apart = abs(found["predictions"]["mean_old"] - 2.0)
    assert old["mean_absolute"] == pytest.approx(max(apart, 0.5))
    assert old != new
    assert "root_mean_square" in run(
        "diff", bundles / "old", bundles / "new", "--rows", bundles / "rows.json", "--label", "truth"
    )


def test_changes_for_callers_are_reported(bundles):
    stdout = run("diff", bundles / "old", bundles / "numbers")
    assert "callers: feature 'price' is gone" in stdout
    assert "give rows with --rows" in stdout


def test_a_label_without_rows_is_a_usage_error(bundles):
    with pytest.raises(ConfigError, match="--rows"):
        run("diff", bundles / "old", bundles / "new", "--label", "truth")


def gate(*arguments):
    done = CliRunner().invoke(app, ["diff", *map(str, arguments), "--json"], catch_exceptions=False)
    return done.exit_code, json.loads(done.stdout)["gate"]["failed"]


def test_a_gate_fails_above_its_limit_alone(bundles):
    pair = bundles / "old", bundles / "new", "--rows", bundles / "rows.json"
    most = compared(*pair)["predictions"]["p99_difference"]
    assert gate(*pair, "--fail-above", most) == (0, [])
    status, failed = gate(*pair, "--fail-above", most * 0.99)
    assert status == 1
    assert "99th percentile" in failed[0]
    assert gate(bundles / "old", bundles / "old", "--fail-above", 0) == (0, [])


def test_a_gate_fails_where_nothing_can_be_compared(bundles):
    status, failed = gate(bundles / "old", bundles / "numbers", "--fail-above", 1000)
    assert status == 1
    assert "--rows" in failed[0]


def test_a_gate_counts_changed_labels(tmp_path):
    for name, classes in (("old", ["no", "yes"]), ("new", ["yes", "no"])):
        write_bundle(tmp_path / name, task="binary", link=Link("sigmoid"), classes=classes)
    (tmp_path / "rows.json").write_text(json.dumps([ALL_KINDS.example()] * 3))
    status, failed = gate(tmp_path / "old", tmp_path / "new", "--rows", tmp_path / "rows.json", "--fail-above", 0.5)
    assert (status, failed) == (1, ["3 of 3 labels change"])


def test_diff_counts_answers_finite_in_only_one_bundle():
    found = {"rows": 3, **_distance([1.0, 2.0, float("nan")], [1.0, float("inf"), float("nan")])}
    assert _exceeded(found, 1.0) == ["1 answers are finite numbers from only one of the bundles"]


def test_publish_and_roll_back(bundles, tmp_path):
    assert "version 1 " in run("publish", bundles / "old", tmp_path)
    assert "version 2 " in run("publish", bundles / "new", tmp_path)
    assert compared(bundles / "old", tmp_path / "sample")["predictions"]["median_difference"] > 0
    assert "version 1 " in run("rollback", tmp_path / "sample")
    assert "the same bundle" in run("diff", bundles / "old", tmp_path / "sample")
    with pytest.raises(ConfigError, match="not a model of a repository"):
        run("rollback", bundles)
    write_bundle(bundles / "second", name="second")
    run("publish", bundles / "second", tmp_path)
    with pytest.raises(ConfigError, match=f"name one of {tmp_path}/sample"):
        run("rollback", tmp_path)
