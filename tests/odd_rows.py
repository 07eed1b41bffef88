"""Rows of every odd kind, for a model of ALL_KINDS: what each entry point answers, or refuses in mlrf's own words."""

from __future__ import annotations

import array
import datetime as dt
import decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from scipy import sparse

from bundles import ALL_KINDS

EXAMPLE = ALL_KINDS.example()
NAMES = list(EXAMPLE)
N = len(NAMES)
CODES = ALL_KINDS.row(EXAMPLE)
X = np.array([CODES])
FRAME = pd.DataFrame([EXAMPLE])
POLARS = pl.DataFrame([EXAMPLE])


def arrow(**columns):
    return pa.table({name: columns.get(name, [value]) for name, value in EXAMPLE.items()})


class FailingStream:
    def __arrow_c_stream__(self, requested_schema=None):
        raise RuntimeError("boom")


def itself():
    rows: list[object] = []
    rows.append(rows)
    return rows


ROWS = {
    "objects": lambda: np.array([CODES], object),
    "unknown objects": lambda: np.array([[object()] * N]),
    "ragged lists": lambda: [[1], [2, 3]],
    "nested lists": lambda: [[[1] * N]],
    "no dimensions": lambda: np.array(3.0),
    "one dimension": lambda: np.zeros(N),
    "three dimensions": lambda: np.zeros((1, N, 1)),
    "no rows": lambda: np.zeros((0, N)),
    "no rows in a list": list,
    "complex": lambda: X.astype(complex),
    "datetime64": lambda: np.zeros((1, N), "M8[ns]"),
    "timedelta64": lambda: np.zeros((1, N), "m8[s]"),
    "void": lambda: np.zeros((1, N), "V8"),
    "structured": lambda: np.zeros(2, [(name, "f8") for name in NAMES]),
    "masked": lambda: np.ma.masked_array(X, mask=True),
    "masked objects": lambda: np.ma.masked_array(np.array([CODES], object), mask=True),
    "sparse": lambda: sparse.csr_matrix(X),
    "matrix": lambda: np.matrix(X),
    "long double": lambda: np.full((1, N), np.longdouble("1e4000")),
    "memory": lambda: memoryview(X),
    "array of the standard library": lambda: array.array("d", CODES),
    "a row without dimensions": lambda: [np.array(1.0)],
    "two dimensions in a row": lambda: [np.zeros((2, 2))],
    "big integers": lambda: [[10**400] * N],
    "decimals": lambda: [[decimal.Decimal("1.5")] * N],
    "signalling NaN": lambda: [[decimal.Decimal("sNaN")] * N],
    "dates": lambda: [[dt.date(2020, 1, 1)] * N],
    "sets": lambda: [{1, 2}],
    "itself": itself,
    "names that are numbers": lambda: [{1: 2}],
    "a lone surrogate": lambda: [EXAMPLE | {"store": "\ud800"}],
    "text": lambda: "abc",
    "bytes": lambda: b"abc",
    "None": lambda: None,
    "generator": lambda: (row for row in [CODES]),
    "range": lambda: range(3),
    "lists by name": lambda: {name: [value] for name, value in EXAMPLE.items()},
    "failing stream": FailingStream,
    "pandas without rows": lambda: FRAME.iloc[:0],
    "pandas without columns": lambda: pd.DataFrame(index=[0, 1]),
    "pandas, a column twice": lambda: pd.concat([FRAME, FRAME[[NAMES[0]]]], axis=1),
    "pandas, columns of two levels": lambda: pd.DataFrame(X, columns=pd.MultiIndex.from_product([["a"], NAMES])),
    "pandas, index of two levels": lambda: FRAME.set_index(pd.MultiIndex.from_tuples([(1, 2)])),
    "pandas, numbered columns": lambda: pd.DataFrame(X),
    "pandas, nullable": lambda: pd.DataFrame([EXAMPLE | {"price": pd.NA}]).convert_dtypes(),
    "pandas, strings": lambda: FRAME.astype("string"),
    "pandas, unknown category": lambda: FRAME.assign(store=pd.Categorical(["nowhere"])),
    "pandas, period": lambda: FRAME.assign(price=pd.Period("2020")),
    "pandas, sparse": lambda: FRAME.assign(price=pd.arrays.SparseArray([1.0])),
    "a series": lambda: pd.Series(CODES),
    "Polars, lazy": POLARS.lazy,
    "Polars, objects": lambda: POLARS.with_columns(pl.Series("price", [object()], dtype=pl.Object)),
    "Polars, structures": lambda: pl.concat([POLARS, POLARS]).with_columns(pl.struct("price").alias("price")),
    "Polars, duration": lambda: POLARS.with_columns(pl.lit(dt.timedelta(1)).alias("price")),
    "Polars, decimal": lambda: POLARS.with_columns(pl.lit(decimal.Decimal("1.5")).alias("price")),
    "Arrow, reader": lambda: arrow().to_reader(),
    "Arrow, batch": lambda: arrow().to_batches()[0],
    "Arrow, a column twice": lambda: pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["price", "price"]),
    "Arrow, lists": lambda: arrow(price=[[1]]),
    "Arrow, no UTF-8": lambda: arrow(store=pa.array([b"\xff"]).view(pa.string())),
    "Arrow, times beyond datetime": lambda: arrow(price=pa.array([2**62], pa.timestamp("s"))),
    "objects and pandas' NA": lambda: np.array([[pd.NA] * N], object),
    "rows of pandas' NA": lambda: [[pd.NA] * N],
    "names and pandas' NA": lambda: [dict.fromkeys(NAMES, pd.NA)],
    "an array of ragged lists": lambda: np.array([[1], [2, 3]], object),
    "pandas, lists": lambda: FRAME.assign(price=[[1, 2]]),
    "pandas, objects": lambda: FRAME.assign(price=[object()]),
    "a name twice in all columns": lambda: pd.DataFrame([[1.0] * N], columns=["price"] * N),
    "sparse array": lambda: sparse.coo_array(X),
    "generator of records": lambda: (row for row in [EXAMPLE]),
    "an empty record": lambda: [{}],
    "a row without values": lambda: [[]],
    "no columns": lambda: np.zeros((2, 0)),
    "Arrow, no columns": lambda: pa.table({}),
    "Polars, no columns": pl.DataFrame,
    "Arrow, decimal": lambda: arrow(price=[decimal.Decimal("1.5")]),
}
