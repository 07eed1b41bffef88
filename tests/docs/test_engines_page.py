"""docs/how-to/engines.md: its code runs, and its tables name every option."""

from __future__ import annotations

import inspect
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mlrf
from bundles import NUMBERS, write_tree_bundle
from documents import ROOT, blocks

PAGE = (ROOT / "docs/how-to/engines.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("code", blocks(PAGE, "python"), ids=range(len(blocks(PAGE, "python"))))
def test_the_code_of_the_page_runs(tmp_path, code):
    write_tree_bundle(tmp_path / "sales-bundle", schema=NUMBERS)
    columns = {name: np.linspace(0, 1, 20) for name in NUMBERS.names}
    pq.write_table(pa.table({"id": range(20), **columns}), tmp_path / "rows.parquet")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "prediction" in done.stdout


def test_every_option_is_on_the_page():
    for function in (mlrf.duckdb.register, mlrf.polars.predict):
        keywords = [
            each.name for each in inspect.signature(function).parameters.values() if each.kind == each.KEYWORD_ONLY
        ]
        for name in keywords:
            assert f"`{name}=" in PAGE
