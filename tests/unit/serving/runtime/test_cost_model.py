"""Predicted times: of explanations of other kinds, which runs correct, and which the queue is counted in."""

from __future__ import annotations

import asyncio
import time

import msgspec
import numpy as np
import pytest

import mlrf
from bundles import NUMBERS, rows_of, write_tree_bundle
from mlrf.core.errors import OverloadedError
from mlrf.serving.runtime import cost_model
from mlrf.serving.runtime.admission import Admission
from mlrf.serving.runtime.cost_model import measure_costs, shortest
from mlrf.serving.runtime.executor import Executor
from mlrf.serving.runtime.results import Deferred


@pytest.fixture(scope="module")
def costs(tmp_path_factory):
    background = np.random.default_rng(0).normal(size=(20, 3))
    path = write_tree_bundle(tmp_path_factory.mktemp("costs") / "b", schema=NUMBERS, background=background)
    return measure_costs(rows_of(mlrf.load(path)))


@pytest.mark.parametrize("kind", ["interactions", "background"])
def test_each_kind_has_a_prediction_that_grows_with_the_rows(kind, costs):
    _, one_s = costs.predicted(kind, 1, bytes)
    _, many_s = costs.predicted(kind, 100, bytes)
    assert 0 < one_s < many_s == pytest.approx(100 * one_s)
    assert costs.predicted(None, 100, bytes) == (bytes, 0.0)


def test_an_explained_row_is_predicted_alone_and_in_a_batch(costs):
    assert costs.explained_row_s > 0
    assert costs.explained_block_s > 0
    costs = msgspec.structs.replace(
        costs, one_s=0.0, row_s=0.0, block_s=0.0, explained_row_s=3.0, explained_block_s=8.0
    )
    assert [costs.of(n, n) for n in (0, 1, 2, 3, 8, 9, 800)] == [0.0, 3.0, 6.0, 8.0, 8.0, 16.0, 800.0]
    assert costs.most_within(9.0, explained=True) == 8


def test_runs_correct_the_prediction(costs, monkeypatch):
    times = iter(range(0, 100000, 1000))
    monkeypatch.setattr(cost_model, "perf_counter", lambda: float(next(times)))
    for _ in range(30):
        run, _ = costs.predicted("interactions", 10, lambda: b"made")
        assert run() == b"made"
    assert costs.of_kind("interactions", 1) == pytest.approx(100.0, rel=0.01)


def test_a_prediction_counts_in_place_of_the_length():
    """Work predicted to take longer than may be waited for delays what comes next, and its length teaches nothing."""
    route, n_bytes = 0, 500
    admission = Admission(max_wait_s=0.5)
    admission.note_run(route, n_bytes, 1e-4, 1.0)
    assert admission.enter(route, n_bytes, 0.0, 2.0) == 2.0
    with pytest.raises(OverloadedError, match="would wait about 2000 ms"):
        admission.enter(route, n_bytes)
    admission.leave(n_bytes, 2.0)
    assert admission.enter(route, n_bytes) == pytest.approx(1e-4)


def test_predicted_work_does_not_teach_the_cost_of_lengths():
    async def story():
        admission = Admission(max_wait_s=0.5)
        executor = Executor(admission)
        try:
            await executor.start(Deferred(lambda: b"made", cost_s=2.0), 0, 500, 0.0)
        finally:
            executor.stop()
        return admission.enter(0, 500)

    assert asyncio.run(story()) == 0.0


def test_predicted_work_is_refused_at_its_own_deadline():
    admission = Admission(max_wait_s=0.5)
    admission.enter(0, 500, 0.0, 0.1)
    with pytest.raises(OverloadedError):
        admission.enter(0, 500, 0.3, 0.25)


def test_slow_work_is_not_timed_again():
    runs = []

    def explain_with_many_deep_trees():
        runs.append(None)
        time.sleep(0.021)

    assert shortest(explain_with_many_deep_trees) >= 0.021
    assert len(runs) == 1
