"""Records of a damaged prediction log are refused in one sentence, and take no more memory than they have bytes."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bundles import NUMBERS, write_tree_bundle
from mlrf.cli import main
from mlrf.core.errors import InvalidRequestError
from mlrf.model.logged_rows import decoded, rows_of_request

ONE_TENSOR = {"name": "features", "shape": [2, 3], "data": [1, 2, 3, 4, 5, 6]}
ODD = {
    "no tensor": {"inputs": []},
    "no list of tensors": {"inputs": 5},
    "a tensor without a name": {"inputs": [{"shape": [1, 3], "data": [1, 2, 3]}]},
    "a shape beyond the data": {"inputs": [ONE_TENSOR | {"shape": [99_999_999_999, 3]}]},
    "a negative shape": {"inputs": [ONE_TENSOR | {"shape": [-2, -4]}]},
    "a column beyond its data": {"inputs": [{"name": "x0", "shape": [1 << 60], "data": [1]}]},
    "columns of two lengths": {
        "inputs": [{"name": n, "shape": [i + 1], "data": [1] * (i + 1)} for i, n in enumerate("ab")]
    },
    "no list of instances": {"instances": 5},
    "more values than columns": {"columns": ["x0"], "data": [[1, 2]]},
    "columns that are no list": {"columns": 1, "data": [[1]]},
}


@pytest.mark.parametrize("odd", ODD)
def test_a_request_of_no_known_form_is_refused(odd):
    with pytest.raises(InvalidRequestError, match="has no form that is known"):
        rows_of_request(ODD[odd], None)


def test_the_rows_of_tensors_are_those_of_their_shapes():
    assert rows_of_request({"inputs": [ONE_TENSOR]}, None) == [[1, 2, 3], [4, 5, 6]]
    columns = [{"name": name, "shape": [2, 1], "data": [1, 2]} for name in "ab"]
    assert rows_of_request({"inputs": columns}, None) == [{"a": 1, "b": 1}, {"a": 2, "b": 2}]


@pytest.mark.parametrize("text", [b"", b"{", b"[" * 100_000])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(InvalidRequestError, match="is no JSON"):
        decoded(text)


@pytest.mark.parametrize("request_text", ["{", "[" * 100_000, json.dumps(ODD["a shape beyond the data"])])
def test_commands_refuse_a_damaged_log_in_a_line(request_text, tmp_path, capsys):
    bundle = write_tree_bundle(tmp_path / "b", schema=NUMBERS)
    log = tmp_path / "predictions-1.parquet"
    record = {
        "time": "2026-01-01T00:00:00.000Z",
        "request_id": "r",
        "route": "/predict",
        "answer": "{}",
        "features": None,
    }
    pq.write_table(pa.Table.from_pylist([record | {"request": request_text, "ms": 1.0}]), log)
    for command in (
        ["diff", str(bundle), str(write_tree_bundle(tmp_path / "c", schema=NUMBERS, seed=8)), "--rows", str(log)],
        ["score", str(bundle), str(log), "-o", str(tmp_path / "out")],
    ):
        assert main(command) == 1
        said = capsys.readouterr().err
        assert said.startswith("mlrf: ")
        assert said.count("\n") == 1
