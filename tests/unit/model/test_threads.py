"""`threads=` changes how long an answer takes, never its bits; a number that makes no sense is refused."""

from __future__ import annotations

import numpy as np
import pytest

from mlrf.core.errors import ConfigError
from mlrf.model.table_model import MOST_THREADS

N_ROWS = 4000
"""Several pieces of work a thread."""


@pytest.fixture(scope="module")
def rows(table):
    return np.tile(table, (N_ROWS // len(table), 1))


@pytest.mark.parametrize("kind", ["model", "class_model"])
@pytest.mark.parametrize("answer", ["margin", "predict", "explain"])
def test_answers_have_the_same_bits_on_any_number_of_threads(kind, answer, rows, request):
    ask = getattr(request.getfixturevalue(kind), answer)
    given = rows if answer != "explain" else rows[:320]
    expected, *others = (ask(given, threads=n) for n in (1, 2, 7, 10**12))
    for found in others:
        pair = (found.values, expected.values) if answer == "explain" else (found, expected)
        assert np.array_equal(*pair)


def test_the_engine_gets_the_threads_and_bounds_them(model, rows, monkeypatch):
    requested = []
    margins = model.engine.margins

    class Watched:
        def margins(self, table, threads=1):
            requested.append(threads)
            return margins(table, threads)

    monkeypatch.setattr(model, "engine", Watched())
    model.predict(rows, threads=3)
    model.margin(rows, threads=10**30)
    assert requested == [3, MOST_THREADS]


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", True, None])
@pytest.mark.parametrize("answer", ["margin", "predict", "explain"])
def test_a_number_of_threads_below_one_is_refused(threads, answer, model, table):
    with pytest.raises(ConfigError, match=r"threads must be a whole number from 1 up, not .*leave it out"):
        getattr(model, answer)(table, threads=threads)
