"""Rows by key: time and memory to load a million, the cost of a look-up, and how many copies the workers hold.

    python benchmarks/feature_store.py load FILE FOLDER | look-up FOLDER | read-and-wait FOLDER

are the separate processes that `measure` starts; each prints one JSON object.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
import timeit
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from figures import Figure, at_least, at_most
from plan import Plan

from mlrf.core.feature import Feature, Kind
from mlrf.core.schema import Schema
from mlrf.features.bulk_load import load_rows
from mlrf.features.entity_key import entity_key
from mlrf.features.lmdb_store import LmdbStore
from mlrf.features.row_format import RowFormat

ROWS = 1_000_000
QUICK_ROWS = 50_000
WORKERS = 4
PUSH_ROWS = 1000
_NUMBERS, _CATEGORIES = 25, 30
_QUICK_STARTS = 5
_LIMIT_S = 300
_MB = 1e6
FORMAT = RowFormat(
    Schema(
        (
            *(Feature(f"x{i}") for i in range(_NUMBERS)),
            *(Feature(f"c{i}", Kind.CATEGORICAL, tuple(f"c{c}" for c in range(_CATEGORIES))) for i in range(2)),
        )
    ),
    entity_key([("store_id", "integer"), ("department", "string"), ("date", "date")]),
)


def measure(plan: Plan) -> Iterator[Figure]:
    """Yield the costs of loading, looking up, storing and pushing rows."""
    n_rows = QUICK_ROWS if plan.starts <= _QUICK_STARTS else ROWS
    with tempfile.TemporaryDirectory(dir=plan.models) as folder:
        for order in ("in order", "shuffled"):
            path, state = Path(folder, "rows.parquet"), Path(folder, order.replace(" ", "-"))
            plan.say(f"{n_rows} rows to load, {order}")
            write_rows(path, n_rows, shuffled=order == "shuffled")
            found = run_apart("load", path, state)
            what = f"load {n_rows} rows x 27, {order}"
            yield Figure(what, [found["seconds"]], "s", (at_most(15),), found)
            yield Figure(f"{what}: memory at its peak", [found["peak_mb"]], "MB", (at_most(300),))
        plan.say("look-ups")
        found = run_apart("look-up", state)
        yield Figure("look-up: key to bytes, row read and decoded", [found["look_up_us"]], "us", (at_most(5),), found)
        yield Figure("look-up: one of 100 in a batch", [found["of_batch_us"]], "us")
        yield Figure("look-up: transaction of the store", [found["transaction_us"]], "us")
        plan.say(f"{WORKERS} processes that hold the rows")
        yield Figure(f"rows held by {WORKERS} processes / rows", [copies(state)], "copies", (at_most(1.05),))
        plan.say("pushes during look-ups")
        rate, reads = push(state, 2.0 if n_rows == QUICK_ROWS else 10.0)
        details = {"look_ups_a_second": reads}
        yield Figure(f"pushes of {PUSH_ROWS} rows during look-ups", [rate], "rows/s", (at_least(10_000),), details)


def write_rows(path: Path, n: int, *, shuffled: bool) -> None:
    """Write a file of rows, always the same; one row group, as most writers make it."""
    rng = np.random.default_rng(1)
    # The key's fields in the order of their names, which is the order of the encoding.
    index = rng.permutation(n) if shuffled else np.arange(n)
    per_day, stores = 2000, 200
    columns = {
        "date": pa.array((index // per_day + 19_000).astype(np.int32)).cast(pa.date32()),
        "department": pa.array(np.array([f"DEPARTMENT {d}" for d in range(10)])[index % per_day // stores]),
        "store_id": pa.array(index % stores),
        "at": pa.array(np.full(n, 1_700_000_000_000_000), pa.timestamp("us")),
    }
    columns |= {f"x{i}": pa.array(rng.normal(size=n)) for i in range(_NUMBERS)}
    names = np.array([f"c{c}" for c in range(_CATEGORIES)])
    columns |= {f"c{i}": pa.array(names[rng.integers(0, _CATEGORIES, n)]) for i in range(2)}
    pq.write_table(pa.table(columns), path)


def key(index: int) -> dict[str, Any]:
    """Return the key of a row by its index."""
    day = (np.datetime64("1970-01-01") + 19_000 + index // 2000).item().isoformat()
    return {"store_id": index % 200, "department": f"DEPARTMENT {index % 2000 // 200}", "date": day}


def run_apart(*command: object) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, __file__, *map(str, command)], check=True, capture_output=True, timeout=_LIMIT_S
    )
    return json.loads(done.stdout)


def load(path: Path, state: Path) -> dict[str, Any]:
    from mlrf.features.rows_parquet import RowsFile  # noqa: PLC0415  counted with the load

    store = LmdbStore(state, FORMAT)
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    loaded = load_rows(store, RowsFile(path, FORMAT, as_of_column="at"), path.name)
    seconds, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak_mb = int(status["VmHWM"].split()[0]) * 1024 / _MB
    return {
        "rows": loaded.rows,
        "seconds": seconds,
        "cpu_s": cpu_s,
        "peak_mb": peak_mb,
        "size": store.count().size_bytes,
    }


def look_up(state: Path) -> dict[str, Any]:
    store = LmdbStore(state, FORMAT)
    keys = [key(int(p)) for p in np.random.default_rng(2).integers(0, store.count().rows, 100)]
    encoded = [FORMAT.key.encode(k) for k in keys]
    # Short turns: on a busy machine a long one is always interrupted.
    one = min(timeit.repeat(lambda: [store.read(FORMAT.key.encode(k)).values[0] for k in keys], number=1, repeat=1500))
    many = min(timeit.repeat(lambda: store.read_many(encoded), number=1, repeat=1500))
    still = min(timeit.repeat(store.transaction, number=100, repeat=500))
    return {"look_up_us": one * 1e4, "of_batch_us": many * 1e4, "transaction_us": still * 1e4}


def read_and_wait(state: Path) -> None:
    """Read every row, print a line, and wait until standard input ends."""
    store = LmdbStore(state, FORMAT)
    n = sum(len(batch.keys) for batch in store.in_order(10_000))
    print(json.dumps({"rows": n}), flush=True)
    sys.stdin.read()


def copies(state: Path) -> float:
    """Return how many copies of the rows are in memory, from the proportional set sizes of processes that read all of them."""
    command = [sys.executable, __file__, "read-and-wait", str(state)]
    holders = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(WORKERS)
    ]
    try:
        for holder in holders:
            assert holder.stdout is not None
            holder.stdout.readline()
        sizes = [mapped_bytes(holder.pid) for holder in holders]
    finally:
        for holder in holders:
            holder.communicate()
    # For a single process, everything that it maps is resident.
    return sum(pss for pss, _ in sizes) / max(rss for _, rss in sizes)


def mapped_bytes(pid: int) -> tuple[int, int]:
    """Return a process's memory of the rows' file: its proportional share, and the resident size."""
    pss = rss = 0
    inside = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if "-" in line.split(" ", 1)[0]:
            inside = line.endswith("data.mdb")
        elif inside and line.startswith(("Pss:", "Rss:")):
            size = int(line.split()[1]) * 1024
            pss, rss = (pss + size, rss) if line.startswith("Pss:") else (pss, rss + size)
    return pss, rss


def push(state: Path, seconds: float) -> tuple[float, float]:
    """Push as fast as possible while a thread looks rows up; return rows and look-ups a second."""
    store = LmdbStore(state, FORMAT)
    n_rows = store.count().rows
    rng = np.random.default_rng(3)
    reads, done = [0], threading.Event()

    def read() -> None:
        keys = [FORMAT.key.encode(key(int(p))) for p in rng.integers(0, n_rows, 1000)]
        while not done.is_set():
            for each in keys[:20]:
                store.read(each)
            reads[0] += 20
            time.sleep(0.005)

    reader = threading.Thread(target=read)
    reader.start()
    pushes = [
        [(FORMAT.key.encode(key(int(p))), FORMAT.pack([float(n)] * 27)) for p in rng.integers(0, n_rows, PUSH_ROWS)]
        for n in range(20)
    ]
    pushed = 0
    began_s = time.perf_counter()
    while (took_s := time.perf_counter() - began_s) < seconds:
        pushed += store.upsert(pushes[pushed // PUSH_ROWS % len(pushes)]).written
    done.set()
    reader.join()
    store.release()
    return pushed / took_s, reads[0] / took_s


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["load", path, state]:
            print(json.dumps(load(Path(path), Path(state))))
        case ["look-up", state]:
            print(json.dumps(look_up(Path(state))))
        case ["read-and-wait", state]:
            read_and_wait(Path(state))
