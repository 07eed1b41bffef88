"""`mlrf diff`, `publish` and `rollback` as a person types them."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from bundles import ALL_KINDS, NUMBERS, write_bundle, write_tree_bundle
from mlrf.cli import prediction_differences
from mlrf.cli.app import app
from mlrf.cli.diff_gate import exceeded, read_limits
from mlrf.cli.prediction_differences import Differences
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


def differences(old, new):
    apart = Differences()
    apart.add(np.array(old, dtype=float), np.array(new, dtype=float))
    return apart.summary()


def test_diff_counts_answers_finite_in_only_one_bundle():
    found = {"rows": 3, **differences([1.0, 2.0, float("nan")], [1.0, float("inf"), float("nan")])}
    assert exceeded(found, read_limits(["1"])) == ["1 answers are finite numbers from only one of the bundles"]


def test_quantiles_of_many_rows_are_those_of_narrow_buckets(monkeypatch):
    random = np.random.default_rng(1)
    values = np.concatenate([np.zeros(3000), random.lognormal(0, 6, 20_000)])
    exact = differences(np.zeros(len(values)), values)
    monkeypatch.setattr(prediction_differences, "_EXACT", 100)
    apart = Differences()
    for part in np.array_split(random.permutation(values), 7):
        apart.add(np.zeros(len(part)), part)
    found = apart.summary()
    assert apart._parts == []
    assert [found[name] for name in ("compared", "equal", "max_difference")] == [
        exact[name] for name in ("compared", "equal", "max_difference")
    ]
    for name in ("median", "p90", "p99", "p999"):
        assert 0 <= found[f"{name}_difference"] / exact[f"{name}_difference"] - 1 < 0.004
    assert found["mean_new"] == pytest.approx(exact["mean_new"])


def test_a_gate_has_named_limits(bundles):
    pair = bundles / "old", bundles / "new", "--rows", bundles / "rows.json"
    found = compared(*pair)["predictions"]
    for name, words in (("median", "median"), ("p90", "90th"), ("p999", "99.9th"), ("max", "largest")):
        most = found[f"{name}_difference"]
        assert gate(*pair, "--fail-above", f"{name}={most}") == (0, [])
        status, failed = gate(*pair, "--fail-above", f"{name}={most * 0.99}", "--fail-above", "labels=0")
        assert status == 1
        assert words in failed[0]


def test_a_gate_on_the_shift_of_contributions(bundles):
    pair = bundles / "old", bundles / "new", "--rows", bundles / "rows.json"
    status, failed = gate(*pair, "--fail-above", "contributions=0")
    assert status == 1
    assert "the shares of contributions shift by" in failed[0]
    assert gate(*pair, "--fail-above", "contributions=1") == (0, [])
    same = bundles / "old", bundles / "old", "--rows", bundles / "rows.json"
    assert gate(*same, "--fail-above", "contributions=0") == (0, [])
    with pytest.raises(ConfigError, match="give --rows too"):
        run("diff", bundles / "old", bundles / "new", "--fail-above", "contributions=0.1")


@pytest.mark.parametrize("wrong", ["p50=1", "x", "-1", "max=", "nan", "=1"])
def test_a_limit_that_is_none_is_a_usage_error(bundles, wrong):
    with pytest.raises(ConfigError, match="neither a number from 0 nor NAME=LIMIT"):
        run("diff", bundles / "old", bundles / "new", "--fail-above", wrong)


def test_a_directory_of_parquet_files_is_compared_in_batches(bundles, tmp_path, monkeypatch):
    monkeypatch.setattr("mlrf.cli.diff_gate._BATCH_ROWS", 64)
    rows = pa.Table.from_pylist([ALL_KINDS.example() | {"price": value} for value in np.linspace(-2, 2, 500).tolist()])
    for index in range(2):
        pq.write_table(rows.slice(index * 250, 250), tmp_path / f"{index}.parquet", row_group_size=100)
    pq.write_table(rows, tmp_path.with_suffix(".parquet"))
    many = compared(bundles / "old", bundles / "new", "--rows", tmp_path)["predictions"]
    one = compared(bundles / "old", bundles / "new", "--rows", tmp_path.with_suffix(".parquet"))["predictions"]
    for side in ("mean_old", "mean_new"):  # sums of floats in another order
        assert many.pop(side) == pytest.approx(one.pop(side))
    assert many == one
    assert many["rows"] == 500


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
