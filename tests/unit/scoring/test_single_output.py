"""One output in the order of the rows: standard output, and files that are replaced as a whole."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import mlrf
from bundles import NUMBERS, write_tree_bundle
from mlrf.cli import main
from mlrf.core.errors import BuildError, ConfigError
from mlrf.core.link import Link
from mlrf.scoring.single_output import score_to

N_ROWS = 90


@pytest.fixture
def bundle(tmp_path):
    return write_tree_bundle(tmp_path / "b", schema=NUMBERS, task="binary", link=Link("sigmoid"), classes=["no", "yes"])


@pytest.fixture
def rows(tmp_path):
    values = np.random.default_rng(1).normal(size=(N_ROWS, 3))
    table = pa.table({"id": np.arange(N_ROWS), **{f"x{i}": values[:, i] for i in range(3)}})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=10)
    return table


def run(capsysbinary, *arguments):
    status = main([str(each) for each in arguments])
    out, error = capsysbinary.readouterr()
    return status, out, error.decode()


def test_answers_go_to_standard_output_in_the_order_of_the_rows(bundle, rows, tmp_path, capsysbinary):
    score = ["score", bundle, tmp_path / "rows.parquet", "-o", "-", "--keep=id", "--workers=3"]
    status, out, error = run(capsysbinary, *score)
    assert (status, error) == (0, "")
    lines = [json.loads(line) for line in out.splitlines()]
    model = mlrf.load(bundle)
    assert [each["id"] for each in lines] == list(range(N_ROWS))
    assert [each["prediction"] for each in lines] == model.predict(rows, unknown_features="ignore").tolist()
    assert [each["label"] for each in lines] == model.label(rows, unknown_features="ignore")
    answers = pa.csv.read_csv(io.BytesIO(run(capsysbinary, *score, "--format=csv")[1]))
    assert answers["prediction"].to_pylist() == [each["prediction"] for each in lines]
    with pa.ipc.open_stream(run(capsysbinary, *score, "--format=arrow")[1]) as stream:
        assert stream.read_all()["prediction"].to_pylist() == [each["prediction"] for each in lines]
    assert "on standard output, not 'parquet'" in run(capsysbinary, *score, "--format=parquet")[2]
    assert "--restart: standard output" in run(capsysbinary, *score, "--restart")[2]


def test_predict_is_score_with_one_output(bundle, rows, tmp_path, capsysbinary):
    predicted = run(capsysbinary, "predict", bundle, tmp_path / "rows.parquet")
    assert predicted == run(capsysbinary, "score", bundle, tmp_path / "rows.parquet", "--out=-")
    assert predicted[1].count(b"\n") == N_ROWS


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl", "arrow"])
def test_standard_input_is_read_by_its_first_bytes(bundle, rows, kind, capsysbinary, monkeypatch):
    sink = io.BytesIO()
    if kind == "parquet":
        pq.write_table(rows, sink, row_group_size=10)
    elif kind == "csv":
        pa.csv.write_csv(rows, sink)
    elif kind == "jsonl":
        sink.write("\n".join(map(json.dumps, rows.to_pylist())).encode())
    else:
        with pa.ipc.new_stream(sink, rows.schema) as writer:
            writer.write_table(rows)
    command = ["score", bundle, "-", "-o", "-", "--keep", "id"]
    if kind == "parquet":  # one as a process, with a pipe
        process = [sys.executable, "-m", "mlrf", *map(str, command)]
        out = subprocess.run(process, input=sink.getvalue(), capture_output=True, check=True).stdout
    else:
        sink.seek(0)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(sink))
        status, out, error = run(capsysbinary, *command)
        assert status == 0, error
    lines = [json.loads(line) for line in out.splitlines()]
    assert [each["prediction"] for each in lines] == mlrf.load(bundle).predict(rows, unknown_features="ignore").tolist()
    assert [int(each["id"]) for each in lines] == list(range(N_ROWS))


def test_json_lines_have_probabilities_and_contributions(bundle, rows, tmp_path, capsysbinary):
    command = ["score", bundle, tmp_path / "rows.parquet", "-o", "-", "--columns=probabilities,margin", "--explain=1"]
    first = json.loads(run(capsysbinary, *command)[1].splitlines()[0])
    assert list(first) == ["probabilities", "margin", "base", "feature_1", "contribution_1", "other"]
    assert first["probabilities"] == mlrf.load(bundle).probabilities(rows, unknown_features="ignore")[0].tolist()


def test_standard_input_is_not_a_job_that_can_continue(bundle, rows, tmp_path, capsysbinary):
    assert "write to standard output" in run(capsysbinary, "score", bundle, "-", "-o", tmp_path / "out")[2]
    assert "scored alone" in run(capsysbinary, "score", bundle, tmp_path / "rows.parquet", "-", "-o", "-")[2]


def test_a_file_is_replaced_as_a_whole_or_not_at_all(bundle, rows, tmp_path):
    out = tmp_path / "answers.jsonl"
    out.write_text("earlier")
    bad = rows.set_column(1, "x0", pa.array([0.0] * (N_ROWS - 1) + [float("inf")]))
    pq.write_table(bad, tmp_path / "bad.parquet", row_group_size=10)
    for _ in range(2):
        with pytest.raises(mlrf.core.errors.InvalidRequestError, match=f"bad.parquet: row {N_ROWS - 1}"):
            score_to(out, "jsonl", bundle, tmp_path / "bad.parquet")
        assert out.read_text() == "earlier"
    assert score_to(out, "jsonl", bundle, tmp_path / "bad.parquet", on_bad_row="null") == N_ROWS
    assert json.loads(out.read_text().splitlines()[-1])["reason"].startswith("feature 'x0'")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    with pytest.raises(BuildError, match=r"absent/a.csv cannot be written"):
        score_to(tmp_path / "absent/a.csv", "csv", bundle, tmp_path / "rows.parquet")
    with pytest.raises(ConfigError, match="in a directory of parts"):
        score_to(out, "jsonl", bundle, tmp_path / "rows.parquet", on_bad_row="quarantine")


def test_a_table_without_rows_has_answers_without_rows(bundle, rows, tmp_path):
    with pq.ParquetWriter(tmp_path / "none.parquet", rows.schema):
        pass
    assert score_to(tmp_path / "none.csv", "csv", bundle, tmp_path / "none.parquet") == 0
    assert pa.csv.read_csv(tmp_path / "none.csv").column_names == ["prediction", "label"]
    assert mlrf.score(bundle, tmp_path / "none.parquet", tmp_path / "out").parts == 1
