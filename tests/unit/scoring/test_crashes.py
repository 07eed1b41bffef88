"""A job that is killed at any step continues to the same bytes, and computes no finished part again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bundles import NUMBERS, write_tree_bundle

SCRIPT = Path(__file__).parents[2] / "crashing_scores.py"


@pytest.mark.parametrize("stride", [32, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mode", [[], ["restart"]], ids=["new", "restart"])
def test_a_killed_job_continues_to_the_same_bytes(tmp_path, mode, stride):
    write_tree_bundle(tmp_path / "b", schema=NUMBERS)
    (tmp_path / "in/day=1").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    values = np.random.default_rng(0).normal(size=(30, 3))
    values[4, 1] = np.inf
    table = pa.table({"id": np.arange(30), **{f"x{i}": values[:, i] for i in range(3)}})
    pq.write_table(table, tmp_path / "in/rows.parquet", row_group_size=30)
    pq.write_table(table.slice(10, 10), tmp_path / "in/day=1/rows.parquet")
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path, str(stride), *mode], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) > 30, "every step was one at which it was killed"
