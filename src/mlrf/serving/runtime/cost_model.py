"""The cost model of an engine, measured when a model is replayed or opened: decides which work leaves the event loop."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import TypeVar

import msgspec

from mlrf.engines.interface import Explainer
from mlrf.model.explanation_kinds import GAME_OPTIONS, INTERACTIONS, ExplanationKind, all_games, kind_name
from mlrf.model.row_predictor import RowPredictor

_FEW, _MANY = 16, 128
_EXPLAINED = 8
"""Rows of a batch that is explained for the measurement: as many as the kernel explains together (ADR 25)."""
_MOST_TIMED_S = 20e-3
"""A large batch is timed only if it is expected, from a small one, to take at most this long; nothing is timed again once its
runs have taken longer."""
_TIMED_RUNS = 3
_MOST_ROWS = 1 << 20
_INTERACTIONS_SHARE = 4.0
"""Time of a row's interactions, in rows of contributions (ADR 21), until the first were timed."""
_SMOOTHING = 0.3

_T = TypeVar("_T")


class CostModel(msgspec.Struct, frozen=True):
    """Predicts the seconds that the engine of one model takes.

    A row of a large batch is cheaper than a row of a small one, because the kernel passes all rows through one tree after the
    other: with 690 trees a row took 9.4 µs in a batch of 16 and 1.6 µs in one of 100. Estimates from small batches alone would
    send every large one to the worker's thread.
    """

    one_s: float
    """Seconds of one row alone."""
    row_s: float
    """Seconds of a row in a small batch."""
    block_s: float
    """Seconds of `_MANY` rows; infinite if they take too long to be timed."""
    explained_row_s: float
    """Seconds of the contributions of a row alone; 0 for an engine that explains nothing."""
    explained_block_s: float
    """Seconds of the contributions of `_EXPLAINED` rows, each of which takes down to a third of a row alone."""
    kind_row_s: dict[ExplanationKind, float]
    """Seconds of a row's explanations of another kind, which runs correct."""

    def most_within(self, limit_s: float, *, explained: bool) -> int:
        """Return the largest number of rows predicted to take at most `limit_s`."""
        return bisect_right(range(_MOST_ROWS), limit_s, key=lambda n: self.of(n, n if explained else 0)) - 1

    def of(self, n_rows: int, n_explained: int = 0) -> float:
        """Return the predicted seconds for the margins of `n_rows` and the contributions of `n_explained`."""
        if n_rows == 1:
            return self.one_s + self._explained_s(n_explained)
        margins_s = min(n_rows * self.row_s, math.ceil(n_rows / _MANY) * self.block_s)
        return margins_s + self._explained_s(n_explained)

    def _explained_s(self, n_rows: int) -> float:
        return min(n_rows * self.explained_row_s, math.ceil(n_rows / _EXPLAINED) * self.explained_block_s)

    def of_kind(self, kind: ExplanationKind, n_rows: int) -> float:
        """Return the predicted seconds for explanations of `n_rows` of another kind, with their margins."""
        return n_rows * self.kind_row_s[kind]

    def predicted(
        self, kind: ExplanationKind | None, n_rows: int, run: Callable[[], _T]
    ) -> tuple[Callable[[], _T], float]:
        """Return work that explains `n_rows` and its predicted seconds; its own time corrects later predictions.

        For no kind it is `run`, and 0: its time follows from the length of the body.
        """
        if kind is None or not n_rows:
            return run, 0.0

        def run_timed() -> _T:
            began_s = perf_counter()
            made = run()
            row_s = (perf_counter() - began_s) / n_rows
            self.kind_row_s[kind] += _SMOOTHING * (row_s - self.kind_row_s[kind])
            return made

        return run_timed, self.of_kind(kind, n_rows)


def measure_costs(model: RowPredictor) -> CostModel:
    """Measure the cost model of a model's engine, on its example."""
    engine, row = model.engine, model.schema.row(model.schema.example())
    few, many = (model.table([row] * n) for n in (_FEW, _MANY))
    row_s = shortest(lambda: engine.margins(few)) / _FEW
    explained_row_s = explained_block_s = 0.0
    if isinstance(engine, Explainer):
        explainer, alone, explained = engine, model.table([row]), model.table([row] * _EXPLAINED)
        explained_row_s = shortest(lambda: explainer.contributions_many(alone))
        explained_block_s = shortest(lambda: explainer.contributions_many(explained))
    return CostModel(
        one_s=shortest(lambda: engine.margin(row)),
        row_s=row_s,
        block_s=shortest(lambda: engine.margins(many)) if row_s * _MANY < _MOST_TIMED_S else math.inf,
        explained_row_s=explained_row_s,
        explained_block_s=explained_block_s,
        kind_row_s=_kind_row_s(model, explained_row_s),
    )


def _kind_row_s(model: RowPredictor, explained_row_s: float) -> dict[ExplanationKind, float]:
    """Return the seconds of a row's explanations of each kind; damaged files of the bundle are found too."""
    one = model.table([model.schema.row(model.schema.example())])
    own_s: dict[str, float] = {}
    for option in GAME_OPTIONS:
        # Other players are fewer than the features, on the same paths.
        own_s[option.name] = 0.0 if option.is_large else explained_row_s
        if model.explains and option.file in model.bundle.manifest.files:
            model.games().check((option.name,))
            if option.is_large:
                explainer = model.games().game((option.name,)).explainer
                own_s[option.name] = shortest(partial(explainer.contributions_many, one))
    kinds = {
        kind: max(own_s[name] for name in chosen) for chosen in all_games() if (kind := kind_name(chosen)) is not None
    }
    return {INTERACTIONS: explained_row_s * _INTERACTIONS_SHARE, **kinds}


def shortest(work: Callable[[], object]) -> float:
    """Return the seconds of the fastest of a few runs, the first of which warms caches."""
    elapsed: list[float] = []
    while len(elapsed) < _TIMED_RUNS and sum(elapsed) < _MOST_TIMED_S:
        started = perf_counter()
        work()
        elapsed.append(perf_counter() - started)
    return min(elapsed)
