"""One engine of the table of rivals, in a process and an environment of its own, on one pinned processor.

    python benchmarks/rival_engine.py ENGINE MODEL_FOLDER PROCESSOR

It reads tasks from standard input, one a line (`1`, `100`, `10000`, `1000000`, `shap 1`, `shap 1000`, `check` or
`check shap`), and answers each with a line of JSON: processor time per row in µs, for `check` the margins of the first
hundred rows, for `check shap` the SHAP values of the first three, or `{"error": …}`.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rival_libraries import ENGINES, Engine, Table

SINGLES, HUNDREDS, TEN_THOUSANDS = 2_000, 50, 3
EXPLAINED_SINGLES, EXPLAINED_S = 20, 10.0
"""Single rows that are explained, or as many as take so many seconds."""
CHECKED, CHECKED_SHAP = 100, 3


def work_of(engine: Engine, rows: Table, task: str) -> Callable[[], int]:
    """Return what a task calls, which returns how many rows it was; every turn scores distinct rows."""
    if task == "shap 1":
        return functools.partial(_explain_singles, engine, [rows[i : i + 1] for i in range(EXPLAINED_SINGLES)])
    if task.startswith("shap"):
        tables, score = [rows[: int(task.removeprefix("shap "))]], engine.shap
    elif task == "1":
        tables, score = [engine.prepare(rows[i : i + 1]) for i in range(SINGLES)], engine.one
    else:
        size = int(task)
        turns = {100: HUNDREDS, 10_000: TEN_THOUSANDS}.get(size, 1)
        tables, score = [rows[i * size : (i + 1) * size] for i in range(turns)], engine.many
    n_rows = SINGLES if task == "1" else sum(map(len, tables))

    def work() -> int:
        for table in tables:
            score(table)
        return n_rows

    return work


def _explain_singles(engine: Engine, singles: list[Table]) -> int:
    until = time.process_time() + EXPLAINED_S
    explained = 0
    while explained < len(singles) and time.process_time() < until:
        engine.shap(singles[explained])
        explained += 1
    return explained


def answer_to(task: str, engine: Engine, rows: Table) -> float | list[float]:
    """Return the processor time of a task per row in µs, or what `check` and `check shap` compare."""
    precision = engine.precision or rows.dtype
    if task == "check":
        return _flat(engine.many(np.array(rows[:CHECKED], precision)))
    if task == "check shap":
        # Some give the expected value after the features, as a column of its own.
        values = np.asarray(engine.shap(np.array(rows[:CHECKED_SHAP], precision)), float)
        return _flat(values.reshape(CHECKED_SHAP, -1)[:, : rows.shape[1]])
    biggest = int(task.removeprefix("shap "))
    sent = np.array(rows[: max(biggest, SINGLES, 100 * HUNDREDS, 10_000 * TEN_THOUSANDS)], precision)
    work = work_of(engine, sent, task)
    began = time.process_time()
    n_rows = work()
    return 1e6 * (time.process_time() - began) / n_rows


def _flat(values: Any) -> list[float]:
    return np.asarray(values, float).reshape(-1).tolist()


def main(name: str, home: Path, processor: int) -> None:
    """Answer tasks until the input ends."""
    os.sched_setaffinity(0, {processor})
    rows = np.load(home / "rows.npy", mmap_mode="r")
    engine = ENGINES[name](home)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        try:
            answer: Any = answer_to(line.strip(), engine, rows)
        except Exception as error:  # noqa: BLE001  the runner names the engine and goes on
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
