"""What is turned away under overload: what waits for long, not what comes in a burst; and how soon that is over."""

from __future__ import annotations

import pytest

from mlrf.core.errors import OverloadedError
from mlrf.serving.runtime.admission import MOST_WAITING, Admission

ROUTE = 2


def share(admission, n=200):
    return sum(admission.refusal(ROUTE, 100) is None for _ in range(n)) / n


def lags(admission, lag_s, from_s, to_s):
    now_s = from_s
    while now_s < to_s:
        admission.note_lag(lag_s, now_s)
        now_s += max(0.01, lag_s)
    return now_s


def test_a_lag_that_stands_turns_away_a_share_and_one_that_goes_gives_it_back_within_a_second():
    admission = Admission()
    now_s = lags(admission, 0.001, 10, 11)
    assert not admission.strained
    now_s = lags(admission, 0.4, now_s, now_s + 4)
    assert admission.strained
    assert share(admission) < 0.2
    now_s = lags(admission, 0.001, now_s, now_s + 0.9)
    assert not admission.strained


def test_a_share_is_felt_for():
    """A loop of 100 requests a window: as long as more are let in, the lag grows."""
    admission, waiting, let_in, now_s = Admission(), 0.0, [], 0.0
    for _ in range(600):
        now_s += 0.1
        taken = 300 * (share(admission, 300) if admission.strained else 1.0)
        let_in.append(min(taken + waiting, 100))
        waiting = max(0.0, waiting + taken - 100)
        admission.note_lag(waiting * 1e-3, now_s)
    settled = let_in[50:]
    assert sum(settled) / len(settled) > 90
    assert waiting * 1e-3 < 0.2


def test_one_long_lag_is_none_that_stands():
    admission = Admission()
    now_s = lags(admission, 0.001, 10, 11)
    admission.note_lag(0.5, now_s + 0.5)
    now_s = lags(admission, 0.001, now_s + 0.51, now_s + 2)
    assert not admission.strained


def test_many_connections_may_make_a_longer_turn():
    few, many = Admission(), Admission()
    many.n_connections = 4000
    for admission in (few, many):
        lags(admission, 0.09, 10, 13)
    assert (few.strained, many.strained) == (True, False)


def fill(admission, n, n_bytes=100):
    taken = 0
    for _ in range(n):
        try:
            admission.enter(ROUTE, n_bytes)
        except OverloadedError:
            continue
        taken += 1
    return taken


def test_the_thread_takes_a_burst_up_to_its_cap_and_bodies_like_those_are_refused_unread():
    admission = Admission()
    assert fill(admission, MOST_WAITING + 10, 5000) == MOST_WAITING
    assert admission.strained
    assert admission.refusal(ROUTE, 5000) is not None
    assert admission.refusal(ROUTE, 4999) is None, "it may be short work"
    admission.leave(5000)
    assert not admission.strained


def test_bytes_before_the_thread_are_bounded_too():
    admission = Admission()
    assert 0 < fill(admission, MOST_WAITING, 8 << 20) <= 8
    assert admission.strained


def test_bodies_that_are_not_whole_are_bounded_in_bytes_together():
    admission = Admission()
    for _ in range(16):
        admission.hold(8 << 20)
    with pytest.raises(OverloadedError):
        admission.hold(1)
    admission.release(8 << 20)
    admission.hold(1)


@pytest.mark.parametrize(("run_s", "longest"), [(0.005, 6), (0.012, 5)])
def test_a_wait_that_stands_before_the_thread_lowers_its_limit_until_it_is_short_and_is_forgotten(run_s, longest):
    admission, queue, now_s = Admission(), [], 100.0
    waits = []

    def arrive(n):
        for _ in range(n):
            if admission.refusal(ROUTE, 500) is None:
                try:
                    admission.enter(ROUTE, 500)
                except OverloadedError:
                    continue
                queue.append(now_s)

    for step in range(2000):
        arrive(3)
        entered_s = queue.pop(0) if queue else None
        now_s += run_s
        if entered_s is not None:
            admission.leave(500)
            admission.note_run(now_s - run_s - entered_s, run_s, now_s)
            if step > 300:
                waits.append(now_s - run_s - entered_s)
    assert len(waits) > 0.98 * 1699, "the thread is never idle"
    assert sorted(waits)[int(len(waits) * 0.99)] < (longest + 0.1) * run_s, "the target's 25 ms or four runs, and one"
    for _ in range(200):  # and then one at a time, for a second
        admission.enter(ROUTE, 500)
        now_s += run_s
        admission.leave(500)
        admission.note_run(0.0, run_s, now_s)
    assert fill(admission, MOST_WAITING) > 0.18 / run_s, "a burst of 250 ms, less what waits already"
