"""`mlrf score` on generated rows: rows/s, the kernel's own rows/s on the same cores, and its peak memory (PSS).

    .venv/bin/python benchmarks/score.py BUNDLE [--rows 100000000] [--workers 2] [--folder DIR]

The bundle's features must be numbers. Needs a quiet machine and 8 bytes x columns x rows of disk at most.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import mlrf

GROUP_ROWS = 1 << 20
KERNEL_ROWS = 1 << 18


def made_rows(names: list[str], n: int, seed: int) -> pa.Table:
    values = np.random.default_rng(seed).normal(size=(len(names), n))
    return pa.table({"id": np.arange(n), **dict(zip(names, values, strict=True))})


def make_input(folder: Path, names: list[str], rows: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, first in enumerate(range(0, rows, GROUP_ROWS)):
        path = folder / f"{index:05}.parquet"
        if not path.exists():
            pq.write_table(made_rows(names, min(GROUP_ROWS, rows - first), index), path)


def pss_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


def score(bundle: str, source: Path, out: Path, workers: int) -> tuple[float, int]:
    """Return the seconds that the command took, and the peak PSS of its process in bytes."""
    command = [sys.executable, "-m", "mlrf", "score", bundle, str(source), "-o", str(out), "--keep", "id"]
    start = time.perf_counter()
    process = subprocess.Popen([*command, "--workers", str(workers)])
    peak = 0
    while process.poll() is None:
        peak = max(peak, pss_bytes(process.pid))
        time.sleep(0.1)
    assert process.returncode == 0, command
    return time.perf_counter() - start, peak


def kernel_rows_per_s(bundle: str, workers: int, seconds: float = 10.0) -> float:
    """Return the kernel's rows/s on as many threads, for rows in memory as float64."""
    model = mlrf.load(bundle)
    rows = np.random.default_rng(1).normal(size=(KERNEL_ROWS, len(model.schema.names)))
    end = time.perf_counter() + seconds
    counts, lock = [0], threading.Lock()

    def answer(_worker: int) -> None:
        while time.perf_counter() < end:
            model.engine.margins(rows)
            with lock:
                counts[0] += KERNEL_ROWS

    start = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(answer, range(workers)))
    return counts[0] / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        source = folder / f"rows-{given.rows}"
        make_input(source, mlrf.load(given.bundle).schema.names, given.rows)
        with tempfile.TemporaryDirectory(dir=folder) as out:
            seconds, peak = score(given.bundle, source, Path(out) / "scored", given.workers)
        kernel = kernel_rows_per_s(given.bundle, given.workers)
    speed = given.rows / seconds
    print(f"score        {speed:12,.0f} rows/s with {given.workers} workers, {given.rows:,} rows in {seconds:.1f} s")
    print(f"kernel alone {kernel:12,.0f} rows/s on as many threads: score reaches {speed / kernel:.0%}")
    print(f"memory       {peak / 1e6:12,.0f} MB of PSS at most")


if __name__ == "__main__":
    main()
