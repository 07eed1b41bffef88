"""The time that the stages of a request take, for the requests that are sampled.

1. A sampled request has a Recorder; for any other `recording()` returns None, and a stage costs one comparison.
2. Code that does the work of a stage calls `enter` with its name, and the code that continues calls it with the next. Exactly
   one stage is current at any time, so none is counted twice and their sum is the whole time of the request.
3. The recorder follows the request: through the worker's thread, through coroutines and back to the loop (results.py).
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from time import perf_counter
from typing import TypeVar

import msgspec

STAGES = ("queue", "decode", "features", "engine", "explain", "rest")
"""Waiting for the worker's thread or for the loop; reading the body; rows by key; margins; contributions; everything else."""
QUEUE, DECODE, FEATURES, ENGINE, EXPLAIN, REST = STAGES

_T = TypeVar("_T")
_G = TypeVar("_G")


class Stage(msgspec.Struct, frozen=True):
    """A completed stage; times in seconds of `perf_counter`."""

    name: str
    began_s: float
    ended_s: float


class Recorder:
    """Records the stages of one request, starting now."""

    __slots__ = ("_began_s", "_name", "_over")

    def __init__(self) -> None:
        self._over: list[Stage] = []
        self._name = REST
        self._began_s = perf_counter()

    def enter(self, name: str) -> None:
        """End the stage that is under way and begin another."""
        now_s = perf_counter()
        self._over.append(Stage(self._name, self._began_s, now_s))
        self._name, self._began_s = name, now_s

    def end(self) -> list[Stage]:
        """End the stage that is under way, and return all of them in order."""
        self.enter(REST)
        return self._over


_current: ContextVar[Recorder | None] = ContextVar("mlrf_stages", default=None)
recording = _current.get
"""Return the recorder of the current request; None if it is not sampled."""


def staged(name: str, work: Callable[[_G], _T], given: _G) -> _T:
    """Return `work(given)`, recorded as the stage `name`."""
    recorder = recording()
    if recorder is None:
        return work(given)
    recorder.enter(name)
    made = work(given)
    recorder.enter(REST)
    return made


def record(recorder: Recorder, work: Callable[[bytes], _T], given: bytes) -> _T:
    """Return `work(given)`, run on the event loop with `recorder` as the current recorder."""
    token = _current.set(recorder)
    recorder.enter(REST)
    try:
        return work(given)
    finally:
        _current.reset(token)


def record_in_thread(recorder: Recorder | None, work: Callable[[], _T]) -> Callable[[], _T]:
    """Return `work` for the worker thread, wrapped to record its stages; unchanged without a recorder."""
    if recorder is None:
        return work

    def run() -> _T:
        token = _current.set(recorder)
        recorder.enter(REST)
        try:
            return work()
        finally:
            recorder.enter(QUEUE)
            _current.reset(token)

    return run


def context_of(recorder: Recorder | None) -> Context | None:
    """Return the context for a coroutine of a sampled request; None without a recorder."""
    if recorder is None:
        return None
    context = copy_context()
    context.run(_current.set, recorder)
    return context


def durations(stages: list[Stage]) -> dict[str, float]:
    """Return the seconds spent in each stage, by name."""
    spent: dict[str, float] = {}
    for each in stages:
        spent[each.name] = spent.get(each.name, 0.0) + each.ended_s - each.began_s
    return spent
