"""The tree engine compared with ONNX Runtime and LightGBM, without a server: margins and explanations, one core each.

With arguments it measures, in a separate process. All three run the same model: the bundle's two files, and the
training library's own. Rows are random: each column is drawn separately from the request bodies, so that no branch can be
predicted."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from figures import Bar, Figure, at_least, at_most
from plan import Plan

MANY, MANY_QUICK = 1_000_000, 50_000
EXPLAINED, EXPLAINED_BY_LIBRARY = 10_000, 200
LIMIT_S = 900

Works = dict[str, Callable[[], object]]


def measure(plan: Plan, rows: int) -> Iterator[Figure]:
    """Yield the tree engine's processor time a row, and how many times faster it is than the others."""
    plan.say(f"engines, without a server, up to {rows:,} rows")
    command = [sys.executable, __file__, str(plan.home("regression")), str(rows)]
    result = subprocess.run(command, check=True, capture_output=True, text=True, timeout=LIMIT_S)
    found: dict[str, dict[str, list[float]]] = json.loads(result.stdout)
    bars: dict[str, dict[str, Bar]] = {
        "one row": {"onnxruntime": at_least(3)},
        "100 rows": {"onnxruntime": at_least(3.5)},
        f"{rows:,} rows": {"onnxruntime": at_least(4), "lightgbm": at_least(4)},
        "2 threads": {"1 thread": at_least(1.8)},
        "SHAP, one row": {"lightgbm": at_least(18)},
        f"SHAP, {EXPLAINED:,} rows": {"lightgbm": at_least(20)},
    }
    yield Figure("engine: open and check forest.bin", found.pop("open")["ms"], "ms", (at_most(5),))
    for what, times in found.items():
        trees_us = min(times["trees"])
        yield Figure(f"engine: {what}, trees", [trees_us], "us a row", details=times)
        for rival, rival_us in times.items():
            if rival != "trees":
                bar = bars[what].get(rival)
                yield Figure(
                    f"engine: {what}, trees against {rival}", [min(rival_us) / trees_us], "x", (bar,) if bar else ()
                )


def main(home: Path, n_rows: int) -> None:
    """Measure, and print microseconds per row by task and engine as JSON."""
    import lightgbm  # noqa: PLC0415  the runner must not import them
    import numpy as np  # noqa: PLC0415

    from mlrf.engines.onnxruntime import OnnxRuntimeEngine  # noqa: PLC0415
    from mlrf.engines.tree_kernel import TreeEngine  # noqa: PLC0415

    forest = home / "bundle" / "forest.bin"
    trees, onnx = TreeEngine(forest), OnnxRuntimeEngine(home / "bundle" / "model.onnx")
    booster = lightgbm.Booster(model_file=str(home / "model.txt"))
    sent = [json.loads(line)["features"] for line in (home / "positional.jsonl").read_text().splitlines()]
    columns = np.array(sent, dtype=np.float64).T
    random = np.random.default_rng(7)
    rows = np.stack([random.choice(column, n_rows) for column in columns], axis=1)
    lists, singles = rows[:2000].tolist(), [rows[i : i + 1] for i in range(300)]
    hundreds = [rows[i : i + 100] for i in range(0, 5000, 100)]
    few, explained, part = rows[:60].tolist(), rows[:EXPLAINED], rows[: min(n_rows, 100_000)]

    def contributions(table: np.ndarray) -> object:
        return booster.predict(table, pred_contrib=True, num_threads=1)

    found = {"open": {"ms": [1e3 * seconds_of(lambda: TreeEngine(forest), time.perf_counter) for _ in range(20)]}}
    one: Works = {
        "trees": lambda: [trees.margin(row) for row in lists],
        "onnxruntime": lambda: [onnx.margin(row) for row in lists],
    }
    found["one row"] = take_turns(one, len(lists), 7)
    batch: Works = {
        "trees": lambda: [trees.margins(table) for table in hundreds],
        "onnxruntime": lambda: [onnx.margins(table) for table in hundreds],
    }
    found["100 rows"] = take_turns(batch, 5000, 7)
    many: Works = {
        "trees": lambda: trees.margins(rows),
        "onnxruntime": lambda: onnx.margins(rows),
        "lightgbm": lambda: booster.predict(rows, raw_score=True, num_threads=1),
    }
    found[f"{n_rows:,} rows"] = take_turns(many, n_rows, 2)
    # Wall time needs both cores: many short turns, at least one of which finds them idle.
    threads: Works = {"trees": lambda: trees.margins(part, 2), "1 thread": lambda: trees.margins(part)}
    found["2 threads"] = take_turns(threads, len(part), 40, time.perf_counter)
    found["SHAP, one row"] = take_turns({"trees": lambda: [trees.contributions(row) for row in few]}, len(few), 7)
    found["SHAP, one row"] |= take_turns({"lightgbm": lambda: [contributions(row) for row in singles[:60]]}, 60, 2)
    block: Works = {"trees": lambda: trees.contributions_many(explained)}
    found[f"SHAP, {EXPLAINED:,} rows"] = take_turns(block, EXPLAINED, 3)
    by_library: Works = {"lightgbm": lambda: contributions(rows[:EXPLAINED_BY_LIBRARY])}
    found[f"SHAP, {EXPLAINED:,} rows"] |= take_turns(by_library, EXPLAINED_BY_LIBRARY, 3)
    print(json.dumps(found))


def take_turns(
    works: Works, n_rows: int, turns: int, clock: Callable[[], float] = time.process_time
) -> dict[str, list[float]]:
    """Return the microseconds per row of each task in every turn; tasks alternate, so that all see the same machine."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(turns):
        for name, work in works.items():
            times[name].append(1e6 * seconds_of(work, clock) / n_rows)
    return times


def seconds_of(work: Callable[[], object], clock: Callable[[], float]) -> float:
    started = clock()
    work()
    return clock() - started


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
