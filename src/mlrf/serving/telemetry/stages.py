"""The time that the stages of an answer take, for requests that are looked at.

A model is served twice over: as it is, and through these parts, which share its engine and take the time. Which of the two
answers is decided per request, so that a request that nobody looks at pays nothing here.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from threading import get_ident
from time import perf_counter
from typing import NamedTuple, TypeVar, cast

from mlrf.engines.interface import Engine, Explainer, Row, Rows
from mlrf.model import Model
from mlrf.serving.lookup.by_key import ByKey
from mlrf.serving.lookup.stored_rows import FoundRow, StoredRows
from mlrf.serving.native.fast_parser import RowDecoder
from mlrf.serving.native.predict_handler import PredictHandler
from mlrf.serving.native.requests import ParsedRequest

_T = TypeVar("_T")
REST = "rest"


class Stage(NamedTuple):
    """A stage that is over; seconds of `perf_counter`."""

    name: str
    began_s: float
    ended_s: float
    thread: int


class Stages:
    """What the timed parts of one model have to tell."""

    def __init__(self) -> None:
        self._over: list[Stage] = []

    def timed(self, name: str, work: Callable[..., _T], *given: object) -> _T:
        """Do the work and keep how long it took; from any thread."""
        began_s = perf_counter()
        try:
            return work(*given)
        finally:
            self._over.append(Stage(name, began_s, perf_counter(), get_ident()))

    def take(self) -> list[Stage]:
        """Return what is over since the last call."""
        over, self._over = self._over, []
        return over


class TimedDecoder:
    """A decoder whose reading is timed, as the stage `decode`."""

    def __init__(self, decoder: RowDecoder, stages: Stages) -> None:
        self._decoder = decoder
        self._stages = stages

    def row(self, body: bytes) -> ParsedRequest:
        """Read, and take the time."""
        return self._stages.timed("decode", self._decoder.row, body)

    def rows(self, body: bytes) -> list[ParsedRequest]:
        """Read, and take the time."""
        return self._stages.timed("decode", self._decoder.rows, body)

    def row_at_once(self, body: bytes) -> ParsedRequest | None:
        """Read, and take the time."""
        return self._stages.timed("decode", self._decoder.row_at_once, body)

    def rows_at_once(self, body: bytes) -> list[ParsedRequest] | None:
        """Read, and take the time."""
        return self._stages.timed("decode", self._decoder.rows_at_once, body)


class TimedEngine:
    """An engine whose answers are timed, as the stages `engine` and `explain`."""

    def __init__(self, engine: Engine, stages: Stages) -> None:
        self._engine = engine
        self._stages = stages
        self.name = engine.name

    @property
    def n_features(self) -> int:
        """F."""
        return self._engine.n_features

    @property
    def n_outputs(self) -> int:
        """K."""
        return self._engine.n_outputs

    def margin(self, row: Row) -> list[float]:
        """Answer, and take the time."""
        return self._stages.timed("engine", self._engine.margin, row)

    def margins(self, rows: Rows) -> array[float]:
        """Answer, and take the time."""
        return self._stages.timed("engine", self._engine.margins, rows)


class TimedExplainer(TimedEngine):
    """An engine that explains, timed."""

    @property
    def base(self) -> list[float]:
        """The expected raw margins."""
        return self._explainer.base

    @property
    def _explainer(self) -> Explainer:
        return cast("Explainer", self._engine)

    def contributions(self, row: Row) -> array[float]:
        """Explain, and take the time."""
        return self._stages.timed("explain", self._explainer.contributions, row)

    def contributions_many(self, rows: Rows, threads: int = 1) -> array[float]:
        """Explain, and take the time."""
        return self._stages.timed("explain", self._explainer.contributions_many, rows, threads)


class TimedStoredRows(StoredRows):
    """Rows by key whose look-ups are timed, as the stage `features`."""

    def __init__(self, rows: StoredRows, stages: Stages) -> None:
        # The same store, limits and counts.
        vars(self).update(vars(rows))
        self._stages = stages

    def read(self, asked: Sequence[ByKey], places: Sequence[int] | None = None) -> list[FoundRow]:
        """Look up, and take the time."""
        return self._stages.timed("features", super().read, asked, places)


def timed(
    predicting: PredictHandler, model: Model, decoder: RowDecoder, rows: StoredRows | None, stages: Stages
) -> PredictHandler:
    """Return handlers that answer as those of `predicting` do, over the same engine and decoder, with the times taken."""
    timed_model, timed_rows = timed_parts(model, rows, stages)
    return predicting.over(timed_model, cast("RowDecoder", TimedDecoder(decoder, stages)), timed_rows)


def timed_parts(model: Model, rows: StoredRows | None, stages: Stages) -> tuple[Model, StoredRows | None]:
    """Return a model over the same engine and the same rows by key, with the times taken."""
    kind = TimedExplainer if isinstance(model.engine, Explainer) else TimedEngine
    timed_model = Model(model.bundle, cast("Engine", kind(model.engine, stages)))
    return timed_model, None if rows is None else TimedStoredRows(rows, stages)


def durations(over: Sequence[Stage], began_s: float, ended_s: float) -> list[tuple[str, float]]:
    """Return the seconds of each stage, and what is left of a handler's time for the rest of its work.

    What another thread did in the meantime is no part of that handler's time.
    """
    here = get_ident()
    spent = [(stage.name, stage.ended_s - stage.began_s) for stage in over]
    inside_s = sum(s.ended_s - s.began_s for s in over if s.thread == here and s.began_s >= began_s)
    return [*spent, (REST, max(0.0, ended_s - began_s - inside_s))]
