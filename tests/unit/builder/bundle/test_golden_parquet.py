"""Golden rows are stored and read to the bit, without pandas."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlrf.builder.bundle.golden_parquet import Golden, encode_golden, read_golden
from mlrf.core.errors import BundleError


@pytest.fixture
def golden():
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(40, 3))
    rows[::7] = np.nan
    rows[9] = rows[8]
    rows[5, 1] = -0.0
    return Golden(["random", "größer", "", "zero"] * 10, rows, rng.normal(size=(40, 2)), rng.normal(size=(40, 1)))


def test_rows_and_answers_are_read_to_the_bit(golden, tmp_path):
    (tmp_path / "golden.parquet").write_bytes(encode_golden(golden))
    found = read_golden(tmp_path / "golden.parquet")
    assert found.kinds == golden.kinds
    for name in ("rows", "margins", "predictions"):
        assert getattr(found, name).tobytes() == getattr(golden, name).tobytes()


@pytest.mark.parametrize("column", ["columns", "values", "margin", "prediction"])
@pytest.mark.parametrize("whole", [False, True])
def test_a_null_is_refused(golden, tmp_path, column, whole):
    table = pq.read_table(pa.BufferReader(encode_golden(golden)))
    lists = table[column].to_pylist()
    lists[0] = None if whole else [None, *lists[0][1:]]
    index, field = table.schema.get_field_index(column), table.schema.field(column)
    pq.write_table(table.set_column(index, field, pa.array(lists, field.type)), tmp_path / "golden.parquet")
    with pytest.raises(BundleError):
        read_golden(tmp_path / "golden.parquet")


def test_pandas_is_not_imported(golden, tmp_path):
    (tmp_path / "golden.parquet").write_bytes(encode_golden(golden))
    code = """
import sys
from pathlib import Path
from mlrf.builder.bundle.golden_parquet import encode_golden, read_golden
golden = read_golden(Path(sys.argv[1]))
assert encode_golden(golden) == Path(sys.argv[1]).read_bytes()
assert "pandas" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code, tmp_path / "golden.parquet"], check=True)
