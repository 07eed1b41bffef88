"""The columns and formats of output, and what is done with invalid rows."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import mlrf
from bundles import ALL_KINDS, NUMBERS, write_bundle, write_tree_bundle
from mlrf.cli import main
from mlrf.core.errors import ConfigError, InvalidRequestError
from mlrf.core.link import Link
from mlrf.scoring import Scorer, score

N_ROWS = 60
LABELS = ["no", "yes"]
BINARY = {"schema": NUMBERS, "task": "binary", "link": Link("sigmoid"), "classes": LABELS}


@pytest.fixture
def bundle(tmp_path):
    return write_tree_bundle(tmp_path / "b", **BINARY)


@pytest.fixture
def rows(tmp_path):
    values = np.random.default_rng(1).normal(size=(N_ROWS, 3))
    table = pa.table({"id": np.arange(N_ROWS), **{f"x{i}": values[:, i] for i in range(3)}})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=25)
    return table


def scored(out, read=pq.read_table):
    return pa.concat_tables([read(path) for path in sorted(out.rglob("part-*"))])


def read_arrow(path):
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


@pytest.mark.parametrize(
    ("kind", "read"), [("parquet", pq.read_table), ("arrow", read_arrow), ("csv", pa.csv.read_csv)]
)
def test_every_format_has_the_same_values_and_the_run(bundle, rows, tmp_path, kind, read):
    summary = score(bundle, tmp_path / "rows.parquet", tmp_path / "out", keep=["id"], format=kind)
    found = scored(tmp_path / "out", read)
    model = mlrf.load(bundle)
    assert found["prediction"].to_numpy().tobytes() == model.predict(rows, unknown_features="ignore").tobytes()
    assert found["label"].to_pylist() == model.label(rows, unknown_features="ignore")
    assert found["id"].to_pylist() == rows["id"].to_pylist()
    (first, *_) = sorted((tmp_path / "out").glob("part-*"))
    if kind == "csv":
        assert first.stem.endswith(summary.run)
    else:
        metadata = read(first).schema.metadata
        assert (metadata[b"mlrf.run"].decode(), metadata[b"mlrf.version"].decode()) == (summary.run, model.version)
    parts = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    first.unlink()
    assert score(bundle, tmp_path / "rows.parquet", tmp_path / "out", keep=["id"], format=kind).parts_scored == 1
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == parts
    restarted = score(bundle, tmp_path / "rows.parquet", tmp_path / "out", format=kind, restart=True)
    assert len(list((tmp_path / "out").glob("part-*"))) == restarted.parts, "those of the other job are deleted"


def test_answers_are_chosen_by_name(bundle, rows, tmp_path):
    model = mlrf.load(bundle)
    found = Scorer(bundle, columns=["margin", "probabilities", "prediction"])(rows)
    assert found.column_names == ["margin", "probability_no", "probability_yes", "prediction"]
    assert found["margin"].to_numpy().tobytes() == model.margin(rows, unknown_features="ignore").tobytes()
    shares = np.column_stack([found["probability_no"], found["probability_yes"]])
    assert shares.tobytes() == model.probabilities(rows, unknown_features="ignore").tobytes()
    with pytest.raises(ConfigError, match="'lable' is none of prediction, label"):
        Scorer(bundle, columns=["lable"])
    regression = write_tree_bundle(tmp_path / "r", schema=NUMBERS)
    with pytest.raises(ConfigError, match=r"has no classes .*, so no label"):
        Scorer(regression, columns=["label"])


def test_contributions_are_those_of_explain(bundle, rows):
    own = mlrf.load(bundle).explain(rows, unknown_features="ignore")
    wide = Scorer(bundle, columns=["margin"], explain="all")(rows)
    assert wide.column_names == ["margin", "base", *(f"contribution_x{i}" for i in range(3))]
    assert np.column_stack(wide.columns[2:]).tobytes() == own.values.tobytes()
    long = Scorer(bundle, keep=["id"], explain="all", explain_form="long")(rows)
    assert len(long) == 3 * N_ROWS
    assert long["contribution"].to_numpy().reshape(-1, 3).tobytes() == own.values.tobytes()
    assert long["id"].to_pylist() == np.repeat(rows["id"].to_numpy(), 3).tolist()
    assert long["feature"].to_pylist() == ["x0", "x1", "x2"] * N_ROWS


@pytest.mark.parametrize("form", ["wide", "long"])
def test_the_largest_contributions_and_the_rest_add_up(bundle, rows, form):
    own = mlrf.load(bundle).explain(rows, unknown_features="ignore")
    found = Scorer(bundle, columns=["margin"], explain=2, explain_form=form)(rows)
    if form == "wide":
        sums = sum(found[name].to_numpy() for name in ("base", "contribution_1", "contribution_2", "other"))
        first = list(zip(found["feature_1"].to_pylist(), found["contribution_1"].to_pylist(), strict=True))
    else:
        each = found["contribution"].to_numpy().reshape(-1, 2)
        sums = found["base"].to_numpy()[::2] + each.sum(axis=1) + found["other"].to_numpy()[::2]
        first = list(zip(found["feature"].to_pylist()[::2], each[:, 0].tolist(), strict=True))
    margins = found["margin"].to_numpy()[:: 1 if form == "wide" else 2]
    np.testing.assert_allclose(sums, margins, atol=1e-9)
    largest = np.abs(own.values).argmax(axis=1)
    assert first == [(f"x{i}", own.values[row, i]) for row, i in enumerate(largest.tolist())]


def test_multiclass_contributions_are_of_the_predicted_class(rows, tmp_path):
    bundle = write_tree_bundle(
        tmp_path / "m", schema=NUMBERS, task="multiclass", link=Link("softmax"), classes=["a", "b", "c"], n_outputs=3
    )
    model = mlrf.load(bundle)
    own = model.explain(rows, unknown_features="ignore")
    scorer = Scorer(bundle, columns=["label", "margin"], explain=1)
    found = scorer(rows)
    for row, label in enumerate(found["label"].to_pylist()):
        values = own.values[row, :, "abc".index(label)]
        assert found["contribution_1"][row].as_py() == values[np.abs(values).argmax()]
    wide = Scorer(bundle, explain="all")(rows)
    assert wide.column_names[-9:] == [f"contribution_{label}_x{i}" for label in "abc" for i in range(3)]
    long = Scorer(bundle, explain="all", explain_form="long")(rows)
    assert long["class"].to_pylist()[:9] == [*"aaabbbccc"]
    assert long["contribution"].to_numpy()[:9].tolist() == own.values[0].T.ravel().tolist()


@pytest.mark.parametrize("explain", [0, -1, "some", True, 1.5])
def test_a_wrong_number_of_contributions_is_refused(bundle, explain):
    with pytest.raises(ConfigError, match="explain: give the number"):
        Scorer(bundle, explain=explain)


def test_a_kept_column_may_not_be_a_contribution(bundle):
    with pytest.raises(ConfigError, match="'base' has the name of an output column"):
        Scorer(bundle, keep=["base"], explain="all")


@pytest.fixture
def spoilt(rows, tmp_path):
    """Rows of which some have an infinity, in a file of each format."""
    x0, x2 = rows["x0"].to_pylist(), rows["x2"].to_pylist()
    for row in (3, 30, 31):
        x0[row] = float("inf")
    x2[31] = x2[40] = float("-inf")
    table = rows.set_column(1, "x0", pa.array(x0)).set_column(3, "x2", pa.array(x2))
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=25)
    texts = table.cast(pa.schema([(name, pa.string()) for name in table.column_names]))
    with (tmp_path / "rows.csv").open("w") as file:
        file.write(",".join(table.column_names) + "\n")
        file.writelines(",".join(row.values()) + "\n" for row in texts.to_pylist())
    with (tmp_path / "rows.jsonl").open("w") as file:
        for row in table.to_pylist():
            file.write(json.dumps(row).replace("Infinity", "1e999") + "\n")
    return table


BAD = {3: "x0", 30: "x0", 31: "x0", 40: "x2"}


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_bad_rows_are_quarantined_with_their_reasons(bundle, spoilt, tmp_path, ending):
    source = tmp_path / f"rows.{ending}"
    summary = score(bundle, source, tmp_path / "out", keep=["id"], on_bad_row="quarantine")
    assert (summary.rows, summary.bad_rows) == (N_ROWS, len(BAD))
    found = scored(tmp_path / "out" / "_quarantine")
    assert dict(zip(found["_row"].to_pylist(), found["_column"].to_pylist(), strict=True)) == BAD
    assert {*found["_file"].to_pylist()} == {str(source)}
    assert all("range" in reason for reason in found["_reason"].to_pylist())
    assert "inf" in str(found["_value"][0]) or "1e999" in str(found["_value"][0])
    if ending == "parquet":
        assert found["x1"].to_pylist() == spoilt["x1"].take(pa.array(list(BAD))).to_pylist()
    parts = list((tmp_path / "out").glob("part-*"))
    ids = [str(each) for path in sorted(parts) for each in pq.read_table(path)["id"].to_pylist()]
    assert ids == [str(row) for row in range(N_ROWS) if row not in BAD]


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize("explain", [None, 2])
def test_bad_rows_may_have_null_answers(bundle, spoilt, tmp_path, ending, explain):
    source = tmp_path / f"rows.{ending}"
    score(bundle, source, tmp_path / "out", keep=["id"], on_bad_row="null", explain=explain)
    found = scored(tmp_path / "out")
    assert [str(each) for each in found["id"].to_pylist()] == [str(row) for row in range(N_ROWS)]
    for name in ("prediction", "label", *(["contribution_1", "feature_1", "other"] if explain else [])):
        assert {row for row, each in enumerate(found[name].to_pylist()) if each is None} == BAD.keys()
    assert {row for row, each in enumerate(found["reason"].to_pylist()) if each is not None} == BAD.keys()
    assert "feature 'x0'" in found["reason"][3].as_py()


def test_on_bad_row_may_change_when_a_job_continues(bundle, spoilt, tmp_path):
    source, out = tmp_path / "rows.parquet", tmp_path / "out"
    with pytest.raises(InvalidRequestError, match=r"rows.parquet: row 3: feature 'x0'"):
        score(bundle, source, out, workers=1)
    first = score(bundle, source, out, on_bad_row="quarantine")
    assert first.bad_rows == len(BAD)
    (out / "part-00000-000001.parquet").unlink()
    second = score(bundle, source, out, on_bad_row="null")
    assert (second.run, second.parts_scored, second.bad_rows) == (first.run, 1, 3)
    assert [each.name for each in (out / "_quarantine").iterdir()] == ["part-00000-000000.parquet"], (
        "rows that are answered by nulls are not also quarantined"
    )
    with pytest.raises(ConfigError, match="on_bad_row is one of stop, quarantine, null"):
        score(bundle, source, out, on_bad_row="skip")


def test_the_command_takes_every_option(bundle, spoilt, tmp_path, capsys):
    arguments = ["score", bundle, tmp_path / "rows.csv", "-o", tmp_path / "out", "--keep-all", "--columns=margin,label"]
    options = ["--explain=1", "--explain-form=long", "--format=csv", "--on-bad-row=quarantine"]
    assert main([str(each) for each in (*arguments, *options)]) == 0
    assert f"; {len(BAD)} rows without an answer; run" in capsys.readouterr().out
    (part,) = (tmp_path / "out").glob("part-*")
    assert pa.csv.read_csv(part).column_names == [
        *spoilt.column_names, "margin", "label", "base", "feature", "contribution", "other"
    ]  # fmt: skip
    for option, message in (("--explain=0", "--explain: give the number"), ("--keep=id", "leave --keep out")):
        assert main([str(each) for each in (*arguments, option)]) == 2
        assert message in capsys.readouterr().err


def test_nested_columns_cannot_be_kept_in_csv(tmp_path):
    bundle = write_bundle(tmp_path / "b", schema=ALL_KINDS)
    table = pa.table({**{name: [value] for name, value in ALL_KINDS.example().items()}, "tags": [["a"]]})
    pq.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(ConfigError, match=r"'tags', of type list.* cannot be written as CSV"):
        score(bundle, tmp_path / "rows.parquet", tmp_path / "out", keep=["tags"], format="csv")


def test_only_values_that_repeat_are_written_as_dictionaries(tmp_path):
    bundle = write_tree_bundle(tmp_path / "b", schema=NUMBERS)
    n = 500
    columns = {f"x{i}": np.random.default_rng(i).normal(size=n) for i in range(3)}
    kept = {"id": np.arange(n), "shop": np.arange(n) % 7, "name": [f"n{i % 3}" for i in range(n)]}
    pq.write_table(pa.table(columns | kept), tmp_path / "rows.parquet")
    score(bundle, tmp_path / "rows.parquet", tmp_path / "out", keep=[*kept])
    (part,) = (tmp_path / "out").glob("part-*")
    group = pq.ParquetFile(part).metadata.row_group(0)
    stored = [group.column(at) for at in range(group.num_columns)]
    assert {each.path_in_schema: each.has_dictionary_page for each in stored} == {
        "id": False, "shop": True, "name": True, "prediction": False
    }  # fmt: skip


def test_row_groups_of_the_output_do_not_depend_on_batches(bundle, rows, tmp_path, monkeypatch):
    score(bundle, tmp_path / "rows.parquet", tmp_path / "whole")
    monkeypatch.setattr("mlrf.scoring.plan.rows_per_batch", lambda *_sizes: 7)
    score(bundle, tmp_path / "rows.parquet", tmp_path / "out")
    for path in (tmp_path / "out").glob("part-*"):
        assert pq.ParquetFile(path).num_row_groups == 1
        assert path.read_bytes() == (tmp_path / "whole" / path.name).read_bytes()


def test_a_job_leaves_the_allocator_of_its_caller(bundle, rows, tmp_path):
    found = []
    earlier = pa.default_memory_pool().backend_name
    score(
        bundle,
        tmp_path / "rows.parquet",
        tmp_path / "out",
        on_start=lambda *_given: found.append(pa.default_memory_pool().backend_name),
    )
    assert found == ["system"]
    assert pa.default_memory_pool().backend_name == earlier
