"""The table of engines: every rival's engine on the same rows, each in its own process and environment, in turns."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import rival_environments
from contenders import BenchmarkError
from plan import make_models

_ENGINE = Path(__file__).with_name("rival_engine.py")
MODELS: dict[str, tuple[str, ...]] = {
    "lightgbm": ("mlrf", "LightGBM", "ONNX Runtime", "tl2cgen", "treelite", "lleaves", "pylignum", "oneDAL", "timber"),
    "xgboost": ("mlrf", "XGBoost", "ONNX Runtime", "tl2cgen", "treelite", "pylignum", "oneDAL", "timber"),
    "catboost": ("mlrf", "CatBoost", "ONNX Runtime", "pylignum", "oneDAL"),
    "ydf": ("mlrf", "YDF", "ONNX Runtime"),
}
EXPLAINERS: dict[str, tuple[str, ...]] = {
    "lightgbm": ("mlrf", "LightGBM", "shap", "shapiq", "fasttreeshap", "woodelf"),
    "xgboost": ("mlrf", "XGBoost", "shap", "shapiq", "fasttreeshap", "woodelf", "oneDAL"),
    "catboost": ("mlrf", "CatBoost", "woodelf", "oneDAL"),
    "ydf": ("mlrf", "YDF"),
}
ALL = tuple(dict.fromkeys(name for table in (MODELS, EXPLAINERS) for names in table.values() for name in names))
SIZES = ("1", "100", "10000", "1000000")
EXPLAINED = ("shap 1", "shap 1000")
_MOST_S = 120.0
"""Seconds that an engine may take for all turns of a task."""
_ANSWER_S = 1_200.0
_TOLERANCE, _SHAP_TOLERANCE = 2e-5, 1e-3
"""Engines in float32 differ by so much; SHAP values by so much of the largest one."""

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
        self.spent_s: dict[str, float] = defaultdict(float)
        """Of each task, all turns."""
        command = [rival_environments.python_of(name), _ENGINE, name, home, processor]
        quiet = {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | quiet,
        )  # fmt: skip
        self._answer()

    def ask(self, task: str, limit_s: float = _ANSWER_S) -> Any:
        """Let it do a task; BenchmarkError with what it wrote if it fails, or takes longer, which ends it."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended: what it wrote says why
            self.process.stdin.write(task + "\n")
            self.process.stdin.flush()
        return self._answer(limit_s)

    def _answer(self, limit_s: float = _ANSWER_S) -> Any:
        assert self.process.stdout is not None
        limit = threading.Timer(limit_s, self.process.kill)
        limit.start()
        try:
            for line in self.process.stdout:
                with contextlib.suppress(json.JSONDecodeError):  # libraries print too
                    answer = json.loads(line)
                    if isinstance(answer, dict):
                        raise BenchmarkError(f"{self.name}: {answer['error']}")
                    return answer
            complaint = self.process.communicate()[1].strip().splitlines()
        finally:
            limit.cancel()
        if self.process.returncode == -signal.SIGKILL:
            raise BenchmarkError(f"{self.name}: took more than {limit_s:g} s")
        raise BenchmarkError(f"{self.name}: {complaint[-1] if complaint else 'ended'}")

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


def measure(
    rounds: int, names: Sequence[str] = ALL, sizes: Sequence[str] = SIZES
) -> Iterator[tuple[str, Table, dict[str, str]]]:
    """Yield for each model the figures of the engines named, and why one is missing."""
    models = make_rival_models()
    for model in MODELS:
        chosen = [[name for name in table[model] if name in names] for table in (MODELS, EXPLAINERS)]
        if any(set(each) - {"mlrf"} for each in chosen):
            yield model, *measure_model(models / model, *chosen, rounds, sizes)


def measure_model(
    home: Path, names: Sequence[str], explainers: Sequence[str], rounds: int, sizes: Sequence[str] = SIZES
) -> tuple[Table, dict[str, str]]:
    """Return the figures of the engines of one model, and why one is missing; the first engine is what others must equal."""
    table: Table = defaultdict(lambda: defaultdict(list))
    missing: dict[str, str] = {}
    running: dict[str, EngineProcess] = {}
    processor = max(os.sched_getaffinity(0))
    kinds = (("", names, sizes), (", SHAP values", explainers, EXPLAINED))
    try:
        for name in dict.fromkeys((*names, *explainers)):
            _say(f"{home.name}: {name}")
            try:
                running[name] = EngineProcess(name, home, processor)
            except BenchmarkError as error:
                missing |= {name + kind: str(error) for kind, contenders, _ in kinds if name in contenders}
        for kind, contenders, tasks in kinds:
            right = running[contenders[0]].ask("check shap" if kind else "check")
            for name in (each for each in contenders if each + kind not in missing):
                with _noted(missing, name + kind):
                    _check(running[name], right, "check shap" if kind else "check")
            for task in tasks:
                _say(f"{home.name}: {task} rows")
                for _ in range(1 if task == SIZES[-1] else rounds):
                    for name in (each for each in contenders if each + kind not in missing):
                        with _noted(missing, name + kind):
                            _take_turn(table, running[name], task)
    finally:
        for process in running.values():
            process.close()
    return table, missing


def _take_turn(table: Table, engine: EngineProcess, task: str) -> None:
    if not _takes_too_long(table, engine, task):
        began = time.perf_counter()
        table[task][engine.name].append(engine.ask(task, _MOST_S))
        engine.spent_s[task] += time.perf_counter() - began


@contextlib.contextmanager
def _noted(missing: dict[str, str], name: str) -> Iterator[None]:
    try:
        yield
    except BenchmarkError as error:
        missing[name] = str(error)


def _say(sentence: str) -> None:
    print(f"  {time.strftime('%H:%M:%S')} … {sentence}", file=sys.stderr, flush=True)


def _takes_too_long(table: Table, engine: EngineProcess, task: str) -> bool:
    """Whether one more turn of a task would take too long, judged by the figures of its kind."""
    # Some explain a thousand rows in little more time than one, so only what a thousand took counts.
    tasks = (task,) if task == EXPLAINED[-1] else SIZES if task in SIZES else EXPLAINED
    known = [us for each in tasks if each in table for us in table[each].get(engine.name, ())]
    n_rows = int(task.removeprefix("shap "))
    return bool(known) and engine.spent_s[task] + min(known) * n_rows / 1e6 > _MOST_S


def _check(engine: EngineProcess, right: float | list[float], task: str) -> None:
    found = engine.ask(task)
    assert isinstance(found, list)
    assert isinstance(right, list)
    if len(found) != len(right):
        raise BenchmarkError(f"{engine.name}: {len(found)} values, not {len(right)}")
    relative, absolute = (0.0, _SHAP_TOLERANCE * max(map(abs, right))) if "shap" in task else (_TOLERANCE, _TOLERANCE)
    for index, (a, b) in enumerate(zip(found, right, strict=True)):
        if not math.isclose(a, b, rel_tol=relative, abs_tol=absolute):
            raise BenchmarkError(f"{engine.name}: value {index} is {a:.6g}, not {b:.6g}")


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
