"""Columns of numbers that the kernel writes, of Arrow and pandas: the bits, and the refusals, of reading them one by one."""

from __future__ import annotations

from array import array

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from mlrf import _kernel
from mlrf.core.column_rules import ColumnRule, ColumnRules
from mlrf.core.errors import InvalidRequestError
from mlrf.core.feature import Feature, Kind
from mlrf.core.leniency import Leniency
from mlrf.core.schema import Schema
from mlrf.model import table_input, table_numbers
from mlrf.model.table_input import read_rows

N = 200
"""More than two tiles of rows."""
INTEGERS = [pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64()]
TYPES = [pa.float64(), pa.float32(), *INTEGERS]
SCHEMA = Schema(
    (
        *(Feature(f"x{index}", Kind.NUMERIC) for index in range(len(TYPES))),
        Feature("whole", Kind.INTEGER),
        Feature("given", Kind.NUMERIC, nullable=False),
        Feature("code", Kind.CATEGORICAL, None),
        Feature("size", Kind.CATEGORICAL, (10, 20, 30)),
        Feature("is_new", Kind.BOOLEAN),
    )
)
LENIENCY = Leniency("ignore", natural=True)
RULES = ColumnRules([ColumnRule()]).packed


def columns(seed=0):
    chance = np.random.default_rng(seed)
    found = {}
    for index, kind in enumerate(TYPES):
        whole = chance.integers(0, 100, N)
        values = whole + 0.1 if pa.types.is_floating(kind) else whole
        found[f"x{index}"] = pa.array(values.astype(kind.to_pandas_dtype()), mask=chance.random(N) < 0.1)
    found["whole"] = pa.array(np.floor(chance.normal(size=N) * 1e3), mask=chance.random(N) < 0.1)
    found["given"] = pa.array(chance.normal(size=N))
    found["code"] = pa.array(chance.integers(0, 9, N), pa.int32())
    found["size"] = pa.array(chance.choice([10, 20, 30], N))
    found["is_new"] = pa.array(chance.random(N) < 0.5)
    return found


def read(table, *, by_kernel, faults=None):
    with pytest.MonkeyPatch.context() as patch:
        if not by_kernel:
            patch.setattr(table_input, "fill_numbers", lambda *_given: set())
        try:
            return read_rows(SCHEMA, table, LENIENCY, faults).tobytes()
        except InvalidRequestError as error:
            return type(error), str(error), error.details


def test_both_ways_give_the_same_bits():
    table = pa.table(columns())
    for each in (table, table.slice(3, 130), table.slice(7, 1), pa.concat_tables([table, table])):
        assert read(each, by_kernel=True) == read(each, by_kernel=False)


def pandas_columns(n=N):
    """A data frame with a column of each type, NaN where that is possible; some columns lie apart in memory."""
    chance = np.random.default_rng(3)
    apart = chance.normal(size=(n, 3)) * 100
    apart[chance.random(apart.shape) < 0.1] = np.nan
    frame = pd.DataFrame(apart, columns=["x0", "y", "z"])
    for index, kind in enumerate(TYPES[1:], 1):
        frame[f"x{index}"] = chance.integers(0, 100, n).astype(kind.to_pandas_dtype())
    frame["whole"] = np.floor(apart[:, 1])
    frame["given"] = chance.normal(size=n).astype(">f8")  # of the other byte order
    frame["code"] = chance.integers(0, 9, n)
    frame["size"] = chance.choice([10, 20, 30], n)
    frame["is_new"] = chance.random(n) < 0.5
    return frame


def test_both_ways_read_the_same_bits_of_pandas():
    many = pandas_columns(2 * table_numbers._ROWS + 7)
    nullable = pandas_columns().convert_dtypes()
    halves = pandas_columns().astype({"x0": np.float16})
    for each in (pandas_columns(), many, many[::-2], many.iloc[:0], nullable, halves):
        assert read(each, by_kernel=True) == read(each, by_kernel=False)
    rows = np.empty((N, len(SCHEMA.features)))
    frame = pandas_columns()
    chosen = {index: frame[feature.name] for index, feature in enumerate(SCHEMA.features)}
    names = {SCHEMA.names[index] for index in table_numbers.fill_numbers(SCHEMA, chosen, rows)}
    assert names == {*SCHEMA.names} - {"size", "is_new", "given"}


@pytest.mark.parametrize(
    ("name", "value"), [("whole", 1.5), ("whole", -np.inf), ("x0", np.inf), ("given", np.nan), ("code", 1.5)]
)
@pytest.mark.parametrize("row", [0, table_numbers._ROWS - 1, table_numbers._ROWS + 3])
def test_both_ways_refuse_the_same_values_of_pandas(name, value, row):
    frame = pandas_columns(table_numbers._ROWS + 10).astype({"code": float, "given": float})
    frame.loc[row, name] = value
    assert read(frame, by_kernel=True) == read(frame, by_kernel=False)
    assert read(frame, by_kernel=True)[2]["row"] == row


def test_numbers_are_written_by_the_kernel():
    table = pa.table(columns()).slice(5, 150)
    rows = np.empty((150, len(SCHEMA.features)))
    chosen = {index: table[feature.name] for index, feature in enumerate(SCHEMA.features)}
    names = {SCHEMA.names[index] for index in table_numbers.fill_numbers(SCHEMA, chosen, rows)}
    assert names == {*SCHEMA.names} - {"size", "is_new"}, "categories by value and booleans are read in another way"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("whole", 1.5),
        ("whole", np.inf),
        ("x0", np.inf),
        ("x0", -np.inf),
        ("given", None),
        ("given", np.nan),
        ("code", 1.5),
    ],
)
@pytest.mark.parametrize("row", [0, 63, 64, N - 1])
def test_both_ways_refuse_the_same_values(name, value, row):
    given = columns()
    values = [0.0] * N
    values[row] = value
    table = pa.table(given | {name: pa.array(values, pa.float64())})
    assert read(table, by_kernel=True) == read(table, by_kernel=False)
    assert read(table, by_kernel=True)[2]["row"] == row
    noted = []
    for by_kernel in (True, False):
        faults = {}
        read(table, by_kernel=by_kernel, faults=faults)
        noted.append({at: str(each) for at, each in faults.items()})
    assert noted[0] == noted[1]
    assert list(noted[0]) == [row]


def test_whole_numbers_beyond_64_bits_are_whole():
    table = pa.table(columns() | {"whole": pa.array([1e300, -1e300, 2.0**53 + 2] * (N // 3) + [0.0] * (N % 3))})
    assert read(table, by_kernel=True) == read(table, by_kernel=False)
    assert isinstance(read(table, by_kernel=True), bytes)


@pytest.mark.parametrize(
    "column",
    [
        (ord("d"), 0, bytes(24), None, 0),
        (ord("d"), 0, bytes(32), None, 1),
        (ord("d"), 0, bytes(32), None, 1 << 62),
        (ord("d"), 1, bytes(32), None, 0),
        (ord("d"), 0, bytes(32), b"", 0),
        (ord("d"), 0, bytes(96), b"\xff", 6),
        (ord("?"), 0, bytes(32), None, 0),
        (ord("x"), 0, bytes(32), None, 0),
    ],
)
def test_the_kernel_reads_nothing_outside_the_buffers(column):
    with pytest.raises(ValueError, match="of an unknown type, or too short"):
        _kernel.fill_columns([column], RULES, array("d", [0.0] * 4), 4)


def test_the_kernel_writes_nothing_outside_the_table():
    column = (ord("d"), 0, bytes(64), None, 0)
    for n_rows in (0, 3, 5, 8):
        with pytest.raises(ValueError, match="does not have so many rows"):
            _kernel.fill_columns([column], RULES, array("d", [0.0] * 4), n_rows)
    with pytest.raises(BufferError):
        _kernel.fill_columns([column], RULES, bytes(32), 4)
    with pytest.raises(ValueError, match="4 float64 numbers"):
        _kernel.fill_columns([column], array("d", [0.0]), array("d", [0.0] * 4), 4)
