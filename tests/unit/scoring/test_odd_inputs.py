"""Parquet files and arguments of every odd kind given to `mlrf.score`: answered, or refused in mlrf's own words."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mlrf
from bundles import write_tree_bundle
from mlrf.core.errors import ConfigError, MlrfError
from odd_rows import EXAMPLE


def table(**columns):
    return pa.table({name: columns.get(name, [value]) for name, value in EXAMPLE.items()})


TABLES = {
    "no rows": lambda: table()[:0],
    "no columns": lambda: pa.table({}),
    "a column twice": lambda: table().append_column("price", pa.array([1.0])),
    "lists": lambda: table(price=[[1, 2]]),
    "ragged lists": lambda: table(price=pa.chunked_array([[[1]], []], pa.list_(pa.int64()))),
    "structures": lambda: table(price=[{"a": 1}]),
    "nulls": lambda: table(price=pa.nulls(1)),
    "nulls in all columns": lambda: pa.table({name: pa.nulls(2) for name in EXAMPLE}),
    "dictionaries": lambda: table(store=pa.array(["nowhere"]).dictionary_encode()),
    "dictionaries of numbers": lambda: table(price=pa.array([1.5]).dictionary_encode()),
    "dates": lambda: table(price=[dt.date(2020, 1, 1)]),
    "times beyond datetime": lambda: table(price=pa.array([2**62], pa.timestamp("ms"))),
    "durations": lambda: table(price=[dt.timedelta(1)]),
    "decimals": lambda: table(price=[Decimal("1.5")]),
    "bytes": lambda: table(store=[b"\xff"]),
    "no UTF-8": lambda: table(store=pa.array([b"\xff"]).view(pa.string())),
    "half floats": lambda: table(price=pa.array(np.array([1.5], np.float16))),
    "booleans": lambda: table(price=[True]),
    "text": lambda: table(price=["1.5"]),
    "infinity": lambda: table(price=[np.inf]),
    "big integers": lambda: table(count=pa.array([2**64 - 1], pa.uint64())),
    "a column too many": lambda: table().append_column("surplus", pa.array([1.0])),
    "pandas' NA": lambda: pa.Table.from_pandas(pd.DataFrame([EXAMPLE | {"price": pd.NA}]).convert_dtypes()),
}
INPUTS = {
    "nothing": list,
    "None": lambda: None,
    "a number": lambda: 3,
    "numbers": lambda: [3],
    "None in a list": lambda: [None],
    "a table": table,
    "tables": lambda: [table()],
    "a frame": lambda: pd.DataFrame([EXAMPLE]),
    "an array": lambda: np.zeros((1, 3)),
    "a path": lambda: "rows.parquet",
    "an empty text": lambda: [""],
    "a null character": lambda: ["a\0b"],
    "a lone surrogate": lambda: ["\ud800"],
    "a long name": lambda: ["a" * 5000],
    "a generator": lambda: (name for name in ["rows.parquet"]),
    "bytes": lambda: [b"rows.parquet"],
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_tree_bundle(tmp_path_factory.mktemp("odd") / "b")


@pytest.mark.parametrize("keep", [[], ["price"]])
@pytest.mark.parametrize("kind", TABLES)
def test_odd_files_are_scored_or_refused_in_our_own_words(bundle, kind, keep, tmp_path):
    pq.write_table(TABLES[kind](), tmp_path / "rows.parquet")
    try:
        mlrf.score(bundle, [tmp_path / "rows.parquet"], tmp_path / "out", keep=keep)
    except MlrfError as error:
        assert len(str(error)) < 500


@pytest.mark.parametrize("kind", INPUTS)
def test_odd_inputs_are_scored_or_refused_in_our_own_words(bundle, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pq.write_table(table(), "rows.parquet")
    try:
        mlrf.score(bundle, INPUTS[kind](), "out")
    except MlrfError as error:
        assert len(str(error)) < 500


def test_a_path_is_scored_and_a_table_is_refused(bundle, tmp_path):
    pq.write_table(table(), tmp_path / "rows.parquet")
    assert mlrf.score(bundle, tmp_path / "rows.parquet", tmp_path / "out").rows == 1
    for given in (table(), [table()], pd.DataFrame([EXAMPLE])):
        with pytest.raises(ConfigError, match=r"not (Table|DataFrame); .* mlrf\.scoring\.Scorer"):
            mlrf.score(bundle, given, tmp_path / "other")
