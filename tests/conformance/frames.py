"""Data frames of several libraries through the Python client of mlrf, and Arrow streams through plain HTTP."""

from __future__ import annotations

from importlib.metadata import version

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
from reporting import given, report

from mlrf.client import Client

GIVEN = given()
TABLE = pa.Table.from_pylist(GIVEN.records)
FRAMES = {
    "pandas": pd.DataFrame(GIVEN.records),
    "polars": pl.DataFrame(GIVEN.records),
    "pyarrow": TABLE,
    "duckdb": duckdb.from_arrow(TABLE),
}


def listed(values):
    """The values of a series, array or Arrow array."""
    return next(getattr(values, name)() for name in ("to_pylist", "to_list", "tolist") if hasattr(values, name))


with Client(f"http://{GIVEN.address}") as client:
    for library, frame in FRAMES.items():
        name = f"mlrf.client with {library} {version(library)}"
        report(name, "predict", GIVEN.predictions, lambda f=frame: listed(client.predict(f)))
