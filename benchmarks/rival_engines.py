"""The table of engines: every rival's engine on the same rows, each in its own process and environment, in turns."""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import rival_environments
from contenders import BenchmarkError
from plan import make_models

_ENGINE = Path(__file__).with_name("rival_engine.py")
MODELS: dict[str, tuple[str, ...]] = {
    "lightgbm": ("mlrf", "LightGBM", "ONNX Runtime", "tl2cgen", "treelite", "lleaves", "pylignum"),
    "xgboost": ("mlrf", "XGBoost", "ONNX Runtime", "tl2cgen", "treelite", "pylignum"),
    "catboost": ("mlrf", "CatBoost", "ONNX Runtime"),
}
EXPLAINERS: dict[str, tuple[str, ...]] = {
    "lightgbm": ("mlrf", "LightGBM", "shap", "shapiq"),
    "xgboost": ("mlrf", "XGBoost", "shap"),
    "catboost": ("mlrf", "CatBoost"),
}
SIZES = ("1", "100", "10000", "1000000")
EXPLAINED = ("shap 1", "shap 1000")
_MOST_S = 120.0
_TOLERANCE = 2e-5
"""Engines in float32 differ by so much."""

Table = dict[str, dict[str, list[float]]]
"""Microseconds of processor time per row, by task and engine: one figure a turn."""


def make_rival_models() -> Path:
    """Return the folder of the models, which are made if an earlier run has not."""
    folder = rival_environments.HOME / "models"
    if not (folder / ".ready").exists():
        reference = make_models(rival_environments.RESULTS) / "regression"
        folder.mkdir(parents=True, exist_ok=True)
        maker = Path(__file__).with_name("rival_models.py")
        rival_environments.run([sys.executable, maker, reference, folder])
        (folder / ".ready").touch()
    return folder


class EngineProcess:
    """A running engine."""

    def __init__(self, name: str, home: Path, processor: int) -> None:
        self.name = name
        command = [rival_environments.python_of(name), _ENGINE, name, home, processor]
        quiet = {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | quiet,
        )  # fmt: skip
        self._answer()

    def ask(self, task: str) -> float | list[float]:
        """Let it do a task; BenchmarkError with what it wrote if it fails."""
        assert self.process.stdin is not None
        self.process.stdin.write(task + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> float | list[float]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with contextlib.suppress(json.JSONDecodeError):  # libraries print too
                return json.loads(line)
        complaint = self.process.communicate()[1].strip().splitlines()
        raise BenchmarkError(f"{self.name}: {complaint[-1] if complaint else 'ended'}")

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


def measure(rounds: int, sizes: Sequence[str] = SIZES) -> Iterator[tuple[str, Table, dict[str, str]]]:
    """Yield for each model the figures, and why an engine is missing."""
    models = make_rival_models()
    for model, names in MODELS.items():
        yield model, *_measure_model(models / model, names, EXPLAINERS[model], rounds, sizes)


def _measure_model(
    home: Path, names: Sequence[str], explainers: Sequence[str], rounds: int, sizes: Sequence[str]
) -> tuple[Table, dict[str, str]]:
    table: Table = defaultdict(lambda: defaultdict(list))
    missing: dict[str, str] = {}
    running: dict[str, EngineProcess] = {}
    processor = max(os.sched_getaffinity(0))
    try:
        for name in dict.fromkeys((*names, *explainers)):
            print(f"  … {home.name}: {name}", file=sys.stderr, flush=True)
            try:
                running[name] = EngineProcess(name, home, processor)
                if name in names:
                    _check(name, running[name].ask("check"), running["mlrf"].ask("check"))
            except BenchmarkError as error:
                missing[name] = str(error)
        for tasks, contenders in ((sizes, names), (EXPLAINED, explainers)):
            for task in tasks:
                for _ in range(1 if task == SIZES[-1] else rounds):
                    for name in contenders:
                        if name not in missing and not _takes_too_long(table, name, task):
                            table[task][name].append(float(running[name].ask(task)))  # type: ignore[arg-type]
    finally:
        for process in running.values():
            process.close()
    return table, missing


def _takes_too_long(table: Table, name: str, task: str) -> bool:
    """Whether a table of that size would take too long, judged by the smaller ones."""
    known = [us for each in SIZES if each in table for us in table[each].get(name, ())]
    return task == SIZES[-1] and min(known) * int(task) > 1e6 * _MOST_S


def _check(name: str, found: float | list[float], right: float | list[float]) -> None:
    assert isinstance(found, list)
    assert isinstance(right, list)
    for index, (a, b) in enumerate(zip(found, right, strict=True)):
        if not math.isclose(a, b, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE):
            raise BenchmarkError(f"{name}: row {index} is {a}, not {b}")


def rows_of_table(table: Table, tasks: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each engine with its medians, and how many times mlrf's each is."""
    for name in dict.fromkeys(name for task in tasks for name in table[task]):
        cells = []
        for task in tasks:
            times = table[task].get(name)
            baseline = median(table[task]["mlrf"])
            cells.append(
                "-"
                if not times
                else f"{_shown(median(times))}" + (f" ({median(times) / baseline:.2f}x)" if name != "mlrf" else "")
            )
        yield name, cells


def _shown(us: float) -> str:
    return f"{us:,.0f}" if us >= 100 else f"{us:.3g}"
