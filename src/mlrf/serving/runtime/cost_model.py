"""What rows take an engine, so that what would hold the event loop is made beside it: timed once, when the model is opened."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from time import perf_counter

from mlrf.engines.interface import Explainer
from mlrf.model import Model

_FEW, _MANY = 16, 128
_MOST_TIMED_S = 20e-3
"""Many rows are timed only where few let expect no more than this."""
_TIMED_RUNS = 3
_MOST_ROWS = 1 << 20


class CostModel:
    """The seconds that one model's answers take.

    Rows are cheaper by the hundred: of 690 trees a row took 9.4 µs among 16 and 1.6 µs among 100, as the kernel then sweeps all
    of them through one tree after the other. By what few of them take, every such batch would go to the worker's thread.
    """

    def __init__(self, model: Model) -> None:
        few, many = (model.table([model.schema.row(model.schema.example())] * n) for n in (_FEW, _MANY))
        margins = model.engine.margins
        few_s = _shortest(lambda: margins(few))
        self._row_s = few_s / _FEW
        self._block_s = _shortest(lambda: margins(many)) if self._row_s * _MANY < _MOST_TIMED_S else math.inf
        self._explained_row_s = 0.0
        if isinstance(model.engine, Explainer):
            explainer = model.engine
            self._explained_row_s = _shortest(lambda: explainer.contributions_many(few)) / _FEW

    def most_within(self, limit_s: float, *, explained: bool) -> int:
        """Return how many rows take no longer than a limit."""
        return bisect_right(range(_MOST_ROWS), limit_s, key=lambda n: self.of(n, explained=explained)) - 1

    def of(self, n_rows: int, *, explained: bool) -> float:
        """Return what n rows take, with reasons or without."""
        cost_s = min(n_rows * self._row_s, math.ceil(n_rows / _MANY) * self._block_s)
        return cost_s + n_rows * self._explained_row_s if explained else cost_s


def _shortest(work: Callable[[], object]) -> float:
    """Return the seconds of the fastest of a few runs, the first of which warms caches."""
    elapsed = []
    for _ in range(_TIMED_RUNS):
        started = perf_counter()
        work()
        elapsed.append(perf_counter() - started)
    return min(elapsed)
