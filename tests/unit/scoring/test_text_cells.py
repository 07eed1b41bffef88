"""A cell of CSV means the same in bulk, where pyarrow reads it, as for `mlrf explain`, which reads it in Python."""

from __future__ import annotations

import csv
import io

import numpy as np
import pyarrow.parquet as pq
import pytest

import mlrf
from bundles import write_tree_bundle
from mlrf.cli.row_leniency import leniency_of
from mlrf.core.errors import MlrfError
from mlrf.core.feature import Feature, Kind
from mlrf.core.schema import Schema
from mlrf.model.row_files import read_file
from mlrf.scoring.single_output import score_to

CELLS = [
    "", " ", "NA", " NA", "NaN", "nan", "null", "-nan", "1.5", "+1", "-0.0", " 2 ", "1.", ".5", "1e5", "1E-5", "0x10", "1_0", "inf",
    "-Infinity", "1e400", "1e-400", "true", "False", "0", "1", "2", "12", "1.0", "east", "west", " east", "٣", "1,5", '"', "a\nb",
    "9007199254740993", "1e16", "0.1000000000000000055511151231257827", "1d", "1f", "nan(1)", "infinit", "--1", "1 2", "\u00a01",
]  # fmt: skip
KINDS = {
    "number": Feature("x"),
    "integer": Feature("x", Kind.INTEGER),
    "boolean": Feature("x", Kind.BOOLEAN),
    "category": Feature("x", Kind.CATEGORICAL, ("east", "west", "NA", "12")),
    "boolean as category": Feature("x", Kind.CATEGORICAL, (False, True)),
    "number as category": Feature("x", Kind.CATEGORICAL, (12, 1)),
    "code": Feature("x", Kind.CATEGORICAL),
    "required": Feature("x", nullable=False),
}


@pytest.mark.parametrize("neighbour", [None, "1", "x"], ids=["alone", "with a number", "with text"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_means_the_same_in_both_readers(kind, neighbour, tmp_path):
    bundle = write_tree_bundle(tmp_path / "b", schema=Schema((KINDS[kind], Feature("y"))))
    model = mlrf.load(bundle)
    for number, cell in enumerate(CELLS):
        path = tmp_path / f"{number}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerows([["x", "y"], [cell, "0.25"], *([[neighbour, "0.25"]] if neighbour else [])])
        try:
            expected = model.predict(read_file(path, model.schema), leniency_of("refuse")).tolist()
        except MlrfError as error:
            expected = type(error)
        try:
            # As `score` reads a file, but its directory of parts is written to the disk each time.
            answers = io.BytesIO()
            score_to(answers, "parquet", bundle, path, workers=1)
            found = pq.read_table(answers)["prediction"].to_pylist()
        except MlrfError as error:
            found = type(error)
        assert np.array(found).tolist() == expected, cell


def test_an_empty_file_is_refused_and_one_without_rows_read(tmp_path):
    schema = Schema((Feature("a"),))
    (tmp_path / "rows.csv").write_text("")
    with pytest.raises(MlrfError, match="is empty; its first line must name the columns"):
        read_file(tmp_path / "rows.csv", schema)
    (tmp_path / "rows.csv").write_text("a\n")
    assert read_file(tmp_path / "rows.csv", schema) == []


def test_a_boolean_category_is_read_as_pandas_writes_it(tmp_path):
    schema = Schema((Feature("a", Kind.CATEGORICAL, (False, True)), Feature("b", Kind.CATEGORICAL, ("true", "True"))))
    (tmp_path / "rows.csv").write_text("a,b\nTrue,True\nfalse,true\n,NA\n")
    rows = read_file(tmp_path / "rows.csv", schema)
    assert rows == [{"a": True, "b": "True"}, {"a": False, "b": "true"}, {"a": None, "b": None}]
    (tmp_path / "rows.csv").write_text("a,b\nyes,True\n")
    assert read_file(tmp_path / "rows.csv", schema) == [{"a": "yes", "b": "True"}]
