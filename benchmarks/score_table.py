"""Bulk scoring of many rows: rows/s and memory of `mlrf score`, and of what else scores a table on one machine.

    .venv/bin/python benchmarks/score_table.py [--rows 100000000] [--csv-rows 1000000] [--workers 2] [--folder DIR]
        [--only NAME,NAME] [--lightgbm PATH]

Makes the benchmark's regressor (690 trees of 63 leaves, 27 features, two of them categorical) and Parquet rows with an id:
1,048,576 distinct rows that repeat. Both stay in --folder. Each contender reads the rows and writes Parquet with id and
prediction, in a process of its own, on as many processors as there are workers. Prints rows/s, the peak of the PSS of all of
its processes, and whether its first answers are LightGBM's. What is not installed is named as not run. Needs a quiet machine
and 100 bytes of disk a row.

LightGBM's command line needs a binary, and reads CSV, of --csv-rows rows; so does `mlrf score, CSV`, next to the reader of CSV
in Python that `mlrf explain` has.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from mlrf.cli.row_files import read_file
from reference_models import panel
from score_contenders import CONTENDERS

import mlrf
from mlrf.core.leniency import Leniency
from mlrf.model.table_input import read_rows

HERE = Path(__file__).parent
GROUP_ROWS = 1 << 20
CHECKED_ROWS = 1000
KERNEL_ROWS = 1 << 18


def make_model(folder: Path) -> Path:
    """Return the folder of the benchmark's regressor, made if it is not there."""
    home = folder / "models/regression"
    if not home.exists():
        subprocess.run([sys.executable, HERE / "reference_models.py", folder / "models"], check=True)
    return home


def make_rows(folder: Path, rows: int) -> Path:
    """Return a directory of Parquet files of at most 1,048,576 rows, made if they are not there."""
    made = folder / f"rows-{rows}"
    if (made / "done").exists():
        return made
    made.mkdir(parents=True, exist_ok=True)
    features = pa.Table.from_pandas(panel(min(rows, GROUP_ROWS))[0], preserve_index=False)
    for index, first in enumerate(range(0, rows, GROUP_ROWS)):
        count = min(GROUP_ROWS, rows - first)
        table = features.slice(0, count).add_column(0, "id", pa.array(np.arange(first, first + count)))
        pq.write_table(table, made / f"{index:05}.parquet")
    (made / "done").touch()
    return made


def make_csv(folder: Path, source: Path, rows: int) -> Path:
    """Return a CSV file of the first rows, with their ids."""
    path = folder / f"rows-{rows}.csv"
    if not path.exists():
        table = pa.concat_tables(
            [pq.read_table(each) for each in sorted(source.glob("*.parquet"))[: -(-rows // GROUP_ROWS)]]
        )
        texts = [
            column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
            for column in table.slice(0, rows)
        ]
        pyarrow.csv.write_csv(pa.table(texts, names=table.column_names), path)
    return path


def pss_bytes(pid: int) -> int:
    """Return the PSS of a process and its descendants."""
    total = 0
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    total += sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
    return total + sum(pss_bytes(int(each)) for each in children)


def timed(command: list[Any], processors: set[int]) -> tuple[float, int, str]:
    """Run a command on some processors; return its seconds, its peak PSS, and its last line on stderr if it failed."""
    start = time.perf_counter()
    pinned = ["taskset", "-c", ",".join(map(str, sorted(processors))), *map(str, command)]
    process = subprocess.Popen(
        pinned,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    peak = 0
    errors: list[str] = []
    reader = threading.Thread(target=lambda: errors.append(process.stderr.read()))
    reader.start()
    while process.poll() is None:
        peak = max(peak, pss_bytes(process.pid))
        time.sleep(0.05)
    seconds = time.perf_counter() - start
    reader.join()
    return seconds, peak, "" if process.returncode == 0 else (errors[0].strip().splitlines() or ["failed"])[-1]


def first_answers(out: Path) -> np.ndarray:
    """Return the first predictions of an output, in the order of ids."""
    path = min(each for each in out.rglob("*") if each.suffix == ".parquet")
    table = pq.ParquetFile(path).read().slice(0, CHECKED_ROWS)
    return table["prediction"].to_numpy()


def kernel_rows_per_s(bundle: Path, source: Path, processors: set[int], seconds: float = 10.0) -> float:
    """Return the rows/s of the kernel alone, on as many threads, for rows in memory as float64."""

    os.sched_setaffinity(0, processors)
    model = mlrf.load(bundle)
    table = pq.ParquetFile(min(source.glob("*.parquet"))).read().slice(0, KERNEL_ROWS)
    rows = read_rows(model.schema, table, Leniency("ignore"))
    end = time.perf_counter() + seconds
    counts = [0] * len(processors)

    def answer(worker: int) -> None:
        while time.perf_counter() < end:
            model.engine.margins(rows)
            counts[worker] += len(rows)

    start = time.perf_counter()
    with ThreadPoolExecutor(len(processors)) as pool:
        list(pool.map(answer, range(len(processors))))
    return sum(counts) / (time.perf_counter() - start)


def python_reader(bundle: Path, path: Path, rows: int = 20_000) -> float:
    """Return the rows/s of reading CSV in Python and predicting, as `mlrf predict` did, on one processor."""

    model = mlrf.load(bundle)
    with tempfile.TemporaryDirectory() as folder, path.open("rb") as lines:
        part = Path(folder) / "rows.csv"
        part.write_bytes(b"".join(next(lines) for _ in range(rows + 1)))
        start = time.perf_counter()
        model.predict(read_file(part, model.schema), unknown_features="ignore")
        return rows / (time.perf_counter() - start)


def main() -> None:
    """Run what is chosen, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--csv-rows", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--lightgbm", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        compare(given, given.folder or Path(temporary))


def compare(given: argparse.Namespace, folder: Path) -> None:
    """Run each contender and print a line for each."""
    n_csv = min(given.csv_rows, given.rows)
    home, source = make_model(folder), make_rows(folder, given.rows)
    csv = make_csv(folder, source, n_csv)
    processors = {*sorted(os.sched_getaffinity(0))[: given.workers]}
    expected = library_answers(home, source)
    print(f"{given.rows:,} rows of 27 columns, {len(processors)} processors; CSV: {n_csv:,} rows", flush=True)
    for name, command in commands(given, folder, home, source, csv).items():
        if given.only and name not in given.only.split(","):
            continue
        rows = n_csv if name.endswith("CSV") else given.rows
        with tempfile.TemporaryDirectory(dir=folder) as out:
            seconds, peak, error = timed(command(Path(out)), processors)
            equal = "not checked" if error or "lightgbm" in name else checked(Path(out), expected)
        figures = f"{rows / seconds:12,.0f} rows/s {peak / 1e6:8,.0f} MB PSS {seconds:9.1f} s  {equal}"
        print(f"{name:18} {f'not run: {error}' if error else figures}", flush=True)
    if given.lightgbm is None:
        print(f"{'lightgbm, CSV':18} not run: give its binary with --lightgbm")
    kernel = kernel_rows_per_s(home / "bundle", source, processors)
    print(f"{'kernel alone':18} {kernel:12,.0f} rows/s on {len(processors)} threads", flush=True)
    speed = python_reader(home / "bundle", csv)
    print(f"{'CSV in Python':18} {speed:12,.0f} rows/s on one thread, as `mlrf predict` read it before")


def commands(
    given: argparse.Namespace, folder: Path, home: Path, source: Path, csv: Path
) -> dict[str, Callable[[Path], list[Any]]]:
    """Return by contender what makes its command for a directory of output."""
    score = [sys.executable, "-m", "mlrf", "score", home / "bundle"]
    keep = ["--keep", "id", "--workers", given.workers]
    contender = [sys.executable, HERE / "score_contenders.py"]
    found: dict[str, Callable[[Path], list[Any]]] = {
        "mlrf score": lambda out: [*score, source, "-o", out, *keep],
        **{name: lambda out, name=name: [*contender, name, home, source, out, given.workers] for name in CONTENDERS},
        "mlrf score, CSV": lambda out: [*score, csv, "-o", out, *keep],
    }
    if given.lightgbm is not None:
        coded = coded_csv(folder, home / "bundle", source, min(given.csv_rows, given.rows))
        settings = [f"data={coded}", f"input_model={home / 'model.txt'}", "header=true", f"num_threads={given.workers}"]
        found["lightgbm, CSV"] = lambda out: [
            given.lightgbm, "task=predict", *settings, f"output_result={out / 'answers.txt'}"
        ]  # fmt: skip
    return found


def checked(out: Path, expected: np.ndarray) -> str:
    """Return how far the first answers of an output are from LightGBM's."""
    found = first_answers(out)
    if found.tobytes() == expected.tobytes():
        return "equal bits"
    return f"differs by at most {np.max(np.abs(found - expected) / np.abs(expected)):.1e} of the answer"


def coded_csv(folder: Path, bundle: Path, source: Path, rows: int) -> Path:
    """Return a CSV of the rows with categories as codes, which LightGBM's command line reads."""

    path = folder / f"coded-{rows}.csv"
    if not path.exists():
        schema = mlrf.load(bundle).schema
        tables = [pq.read_table(each) for each in sorted(source.glob("*.parquet"))[: -(-rows // GROUP_ROWS)]]
        values = read_rows(schema, pa.concat_tables(tables).slice(0, rows), Leniency("ignore"))
        columns = {name: pa.array(values[:, index]) for index, name in enumerate(schema.names)}
        pyarrow.csv.write_csv(pa.table(columns), path)
    return path


def library_answers(home: Path, source: Path) -> np.ndarray:
    """Return LightGBM's predictions of the first rows."""

    rows = pq.ParquetFile(min(source.glob("*.parquet"))).read().slice(0, CHECKED_ROWS)
    return lightgbm.Booster(model_file=home / "model.txt").predict(rows.drop_columns(["id"]).to_pandas(), num_threads=1)


if __name__ == "__main__":
    main()
