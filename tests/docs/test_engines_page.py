"""docs/how-to/engines.md: its code runs, and its tables name every option."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mlrf
from bundles import NUMBERS, write_tree_bundle
from documents import ROOT, blocks

CLUSTER = ("ray", "pyspark", "dask", "daft")
"""Packages that `make test-cluster` has."""
PAGE = (ROOT / "docs/how-to/engines.md").read_text(encoding="utf-8")


LOCAL, OF_CLUSTERS = [], []
for each in blocks(PAGE, "python"):
    (OF_CLUSTERS if any(f"import {name}" in each or f"from {name}" in each for name in CLUSTER) else LOCAL).append(each)


def run(folder, code):
    write_tree_bundle(folder / "sales-bundle", schema=NUMBERS)
    columns = {name: np.linspace(0, 1, 20) for name in NUMBERS.names}
    pq.write_table(pa.table({"id": range(20), **columns}), folder / "rows.parquet")
    environment = os.environ | {
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "prediction" in done.stdout


@pytest.mark.parametrize("code", LOCAL, ids=range(len(LOCAL)))
def test_the_code_of_the_page_runs(tmp_path, code):
    run(tmp_path, code)


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize("code", OF_CLUSTERS, ids=range(len(OF_CLUSTERS)))
def test_the_code_for_clusters_runs(tmp_path, code):
    pytest.importorskip(next(name for name in CLUSTER if f"import {name}" in code or f"from {name}" in code))
    run(tmp_path, code)


def test_every_option_is_on_the_page():
    for function in (mlrf.duckdb.register, mlrf.polars.predict):
        keywords = [
            each.name for each in inspect.signature(function).parameters.values() if each.kind == each.KEYWORD_ONLY
        ]
        for name in keywords:
            assert f"`{name}=" in PAGE
