"""Bulk scoring of many rows: rows/s, processor time and memory of `mlrf score`, and of what else scores a table on one machine.

    .venv/bin/python benchmarks/score_table.py [--rows 100000000] [--rival-rows N] [--csv-rows 1000000] [--workers 2]
        [--folder DIR] [--only NAME,NAME] [--lightgbm PATH] [--write]

Makes the benchmark's regressor (690 trees of 63 leaves, 27 features, two of them categorical) and Parquet rows with an id:
1,048,576 distinct rows that repeat. Both stay in --folder. Each contender reads the rows and writes Parquet with id and
prediction, in a process of its own, on as many processors as there are workers. Prints rows/s, processor seconds for a million
rows, the peak of the PSS of all of its processes, and whether its first answers are LightGBM's. What is not installed is named
as not run. `--write` puts the table into docs/how-to/engines.md. Needs a quiet machine and 100 bytes of disk a row.

The rows of all others than `mlrf score` are --rival-rows, by default as many. LightGBM itself reads CSV, of --csv-rows rows,
here by `LGBM_BoosterPredictForFile`, which is the code of its command line; --lightgbm PATH runs that binary too. `mlrf score,
CSV` reads the same number of rows, next to the reader of CSV in Python that `mlrf explain` has.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import lightgbm
import numpy as np
import pyarrow.parquet as pq
from score_contenders import CONTENDERS
from score_inputs import HERE, coded_csv, make_csv, make_model, make_rows

import mlrf
from mlrf.core.leniency import Leniency
from mlrf.model.row_files import read_file
from mlrf.model.table_input import read_rows

CHECKED_ROWS = 1000
KERNEL_ROWS = 1 << 18
PAGE = HERE.parent / "docs/how-to/engines.md"
BEGIN, END = "<!-- scored -->", "<!-- /scored -->"


class Run(NamedTuple):
    """What a contender took; `error` is the last line on stderr if it failed."""

    seconds: float
    cpu_s: float
    peak_bytes: int
    error: str


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


def timed(command: list[Any], processors: set[int]) -> Run:
    """Run a command on some processors to its end."""
    start, before_s = time.perf_counter(), _children_cpu_s()
    pinned = ["taskset", "-c", ",".join(map(str, sorted(processors))), *map(str, command)]
    process = subprocess.Popen(pinned, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    peak = 0
    errors: list[str] = []
    reader = threading.Thread(target=lambda: errors.append(process.stderr.read()))
    reader.start()
    while process.poll() is None:
        peak = max(peak, pss_bytes(process.pid))
        # Each look takes the kernel about 10 ms for 500 MB, on the processors of the run.
        time.sleep(0.5)
    seconds = time.perf_counter() - start
    reader.join()
    error = "" if process.returncode == 0 else (errors[0].strip().splitlines() or ["failed"])[-1]
    return Run(seconds, _children_cpu_s() - before_s, peak, error)


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def first_answers(out: Path) -> np.ndarray:
    """Return the first predictions of an output, in the order of ids."""
    if (text := out / "answers.txt").exists():
        with text.open() as lines:
            return np.array([float(next(lines)) for _ in range(CHECKED_ROWS)])
    path = min(each for each in out.rglob("*") if each.suffix == ".parquet")
    table = pq.ParquetFile(path).read().slice(0, CHECKED_ROWS)
    return table["prediction"].to_numpy()


def kernel_speed(bundle: Path, source: Path, processors: set[int], seconds: float = 10.0) -> tuple[float, float]:
    """Return rows/s and processor seconds a million rows of the kernel alone, on as many threads, for rows in memory."""

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

    start, used_s = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(len(processors)) as pool:
        list(pool.map(answer, range(len(processors))))
    return sum(counts) / (time.perf_counter() - start), (time.process_time() - used_s) / sum(counts) * 1e6


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
    parser.add_argument("--rival-rows", type=int)
    parser.add_argument("--csv-rows", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--lightgbm", type=Path)
    parser.add_argument("--write", action="store_true", help="put the table into the page")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        lines = compare(given, given.folder or Path(temporary))
    if given.write:
        head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        text = "\n".join(lines)
        PAGE.write_text(f"{head}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def compare(given: argparse.Namespace, folder: Path) -> list[str]:
    """Run each contender; print and return a table with a line for each."""
    n_rivals = given.rows if given.rival_rows is None else min(given.rows, given.rival_rows)
    n_csv = min(given.csv_rows, given.rows)
    home, source = make_model(folder), make_rows(folder, given.rows)
    rival_source, csv = make_rows(folder, n_rivals), make_csv(folder, source, n_csv)
    processors = {*sorted(os.sched_getaffinity(0))[: given.workers]}
    expected = library_answers(home, source)
    lines = [
        f"690 trees of 63 leaves, 27 columns, {len(processors)} processors:",
        "",
        "| | rows | rows/s | processor s a million rows | PSS MB | answers |",
        "|---|---|---|---|---|---|",
    ]
    print(*lines, sep="\n", flush=True)

    def add(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    for name, command in commands(given, folder, home, source, rival_source, csv).items():
        if given.only and name not in given.only.split(","):
            continue
        rows = n_csv if name.endswith("CSV") else given.rows if name == "mlrf score" else n_rivals
        with tempfile.TemporaryDirectory(dir=folder) as out:
            run = timed(command(Path(out)), processors)
            if run.error:
                add(f"| {name} | | not run: {run.error} | | | |")
                continue
            equal = checked(Path(out), expected)
        cpu_s = run.cpu_s / rows * 1e6
        figures = f"{rows / run.seconds:,.0f} | {cpu_s:.2f} | {run.peak_bytes / 1e6:,.0f}"
        add(f"| {name} | {rows:,} | {figures} | {equal} |")
    kernel, cpu_s = kernel_speed(home / "bundle", source, processors)
    add(f"| the kernel alone, rows in memory | | {kernel:,.0f} | {cpu_s:.2f} | | |")
    speed = python_reader(home / "bundle", csv)
    add(f"| CSV read in Python, one thread | | {speed:,.0f} | {1e6 / speed:.2f} | | |")
    return lines


def commands(
    given: argparse.Namespace, folder: Path, home: Path, source: Path, rival_source: Path, csv: Path
) -> dict[str, Callable[[Path], list[Any]]]:
    """Return by contender what makes its command for a directory of output."""
    score = [sys.executable, "-m", "mlrf", "score", home / "bundle"]
    keep = ["--keep", "id", "--workers", given.workers]
    contender = [sys.executable, HERE / "score_contenders.py"]
    coded = coded_csv(folder, home / "bundle", source, min(given.csv_rows, given.rows))

    def command_for(name: str, rows: Path) -> Callable[[Path], list[Any]]:
        return lambda out: [*contender, name, home, rows, out, given.workers]

    found: dict[str, Callable[[Path], list[Any]]] = {
        "mlrf score": lambda out: [*score, source, "-o", out, *keep],
        **{name: command_for(name, rival_source) for name in CONTENDERS if not name.endswith("CSV")},
        "mlrf score, CSV": lambda out: [*score, csv, "-o", out, *keep],
        **{name: command_for(name, coded) for name in CONTENDERS if name.endswith("CSV")},
    }
    if given.lightgbm is not None:
        settings = [f"data={coded}", f"input_model={home / 'model.txt'}", "header=true", f"num_threads={given.workers}"]
        found["LightGBM's command line, CSV"] = lambda out: [
            given.lightgbm, "task=predict", *settings, f"output_result={out / 'answers.txt'}"
        ]  # fmt: skip
    return found


def checked(out: Path, expected: np.ndarray) -> str:
    """Return how far the first answers of an output are from LightGBM's."""
    found = first_answers(out)
    if found.tobytes() == expected.tobytes():
        return "equal bits"
    return f"differs by at most {np.max(np.abs(found - expected) / np.abs(expected)):.1e} of the answer"


def library_answers(home: Path, source: Path) -> np.ndarray:
    """Return LightGBM's predictions of the first rows."""

    rows = pq.ParquetFile(min(source.glob("*.parquet"))).read().slice(0, CHECKED_ROWS)
    return lightgbm.Booster(model_file=home / "model.txt").predict(rows.drop_columns(["id"]).to_pandas(), num_threads=1)


if __name__ == "__main__":
    main()
