"""The same rows have the bits of LightGBM's predict online (JSON, gRPC, Arrow), in bulk, in DuckDB, Polars and a notebook.

tests/cluster asks Ray, Spark, Dask and Daft the same; tests/every_engine.py asks all of them 100,000 rows.
"""

from __future__ import annotations

import numpy as np
import pytest

from every_engine import LOCAL, Rows, train

ROWS = 3000


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engines")
    booster = train(folder / "golden")
    rows = Rows(ROWS, folder)
    return folder / "golden", rows, booster.predict(rows.frame.drop(columns="id"), num_threads=1)


@pytest.mark.parametrize("way", LOCAL)
def test_every_way_has_the_bits_of_the_library(golden, way):
    bundle, rows, expected = golden
    assert np.array_equal(LOCAL[way](bundle, rows), expected)
