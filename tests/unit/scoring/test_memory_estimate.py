"""The memory of a job: estimated before it starts, and as many workers as fit."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bundles import NUMBERS, write_tree_bundle
from mlrf.core.errors import ConfigError
from mlrf.scoring import memory_estimate, score
from mlrf.scoring.memory_estimate import available_bytes, fitting_workers

MB = 1 << 20
N_ROWS = 3_000_000
PEAK = """
import re, sys
from pathlib import Path
import mlrf
started = []
mlrf.score(*sys.argv[1:4], keep=["id"], workers=2, on_start=lambda *found: started.append(found))
peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) << 10
print(peak, *started[0])
"""


@pytest.fixture
def bundle(tmp_path):
    return write_tree_bundle(tmp_path / "b", schema=NUMBERS)


def write_rows(path, n, **options):
    values = np.random.default_rng(0).normal(size=(3, n))
    pq.write_table(pa.table({"id": np.arange(n), **{f"x{i}": values[i] for i in range(3)}}), path, **options)


@pytest.mark.parametrize(
    "row_group_size",
    [
        pytest.param(1 << 20, marks=pytest.mark.slow, id="row groups"),
        pytest.param(N_ROWS + 1, id="one large row group"),
    ],
)
def test_two_workers_take_less_than_the_estimate_and_500_mb(bundle, tmp_path, row_group_size):
    write_rows(tmp_path / "rows.parquet", N_ROWS, row_group_size=row_group_size)
    command = [sys.executable, "-c", PEAK, bundle, tmp_path / "rows.parquet", tmp_path / "out"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True)
    peak, workers, estimated = map(int, done.stdout.split())
    assert workers == 2
    assert peak < 500 * MB
    assert peak < estimated, "the estimate is not exceeded"


def test_as_many_workers_as_fit_into_the_limit(monkeypatch):
    monkeypatch.setattr(memory_estimate, "available_bytes", lambda: 1000 * MB)

    def estimate(workers):
        return (100 + 50 * workers) * MB

    assert fitting_workers(4, estimate, None) == 4
    assert fitting_workers(64, estimate, None) == 18
    assert fitting_workers(64, estimate, 260 * MB) == 3
    assert fitting_workers(64, estimate, 2000 * MB) == 18
    monkeypatch.setattr(memory_estimate, "available_bytes", lambda: 10 * MB)
    assert fitting_workers(4, estimate, None) == 1, "an estimate alone does not keep a job from starting"
    with pytest.raises(ConfigError, match="about 150 MB with one worker, more than the limit of 100 MB"):
        fitting_workers(4, estimate, 100 * MB)


def test_the_limit_is_checked_before_the_first_row(bundle, tmp_path):
    write_rows(tmp_path / "rows.parquet", 10)
    with pytest.raises(ConfigError, match="more than the limit of 1 MB"):
        score(bundle, tmp_path / "rows.parquet", tmp_path / "out", memory_limit_mb=1)
    assert not (tmp_path / "out").exists()


def test_some_memory_is_available():
    assert 0 < available_bytes() < 1 << 60
