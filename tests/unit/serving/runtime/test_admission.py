"""Admission of requests: those that wait no longer than their client does, within the memory budget."""

from __future__ import annotations

import pytest

from mlrf.core.errors import OverloadedError
from mlrf.serving.runtime.admission import MAX_WAITING, Admission

ROUTE = 2
RUN_S = 0.005
N_BYTES = 500


@pytest.fixture
def admission():
    """Admission that has seen runs of 5 ms for bodies of 500 bytes."""
    learnt = Admission(max_wait_s=0.5)
    learnt.note_run(ROUTE, N_BYTES, RUN_S, 1.0)
    return learnt


def fill(admission, n, n_bytes=N_BYTES, timeout_s=0.0):
    admitted = 0
    for _ in range(n):
        try:
            admission.enter(ROUTE, n_bytes, timeout_s)
        except OverloadedError:
            continue
        admitted += 1
    return admitted


def test_64_clients_that_wait_for_5_ms_of_work_are_all_admitted(admission):
    assert fill(admission, 64) == 64


def test_work_that_would_begin_after_the_longest_wait_is_refused(admission):
    assert fill(admission, 1000) == pytest.approx(0.5 / RUN_S, abs=2)


def test_work_that_would_miss_its_deadline_is_refused(admission):
    assert fill(admission, 1000, timeout_s=0.05) == pytest.approx(0.04 / RUN_S, abs=1), "a fifth before its deadline"


def test_late_answers_make_the_allowance_larger_and_punctual_ones_smaller(admission):
    for _ in range(100):
        admission.note_end(0.02, 0.1)
    assert fill(admission, 1000, timeout_s=0.1) == pytest.approx(0.05 / RUN_S, abs=1), "at most twice the prediction"
    for _ in range(2000):
        admission.note_end(0.02, 0.02)
    n_waiting = admission.n_waiting
    assert fill(admission, 1000, timeout_s=0.1) == pytest.approx(0.1 / RUN_S - n_waiting, abs=2)


def test_one_in_a_hundred_late_answers_keeps_the_allowance(admission):
    for turn in range(100):
        admission.note_end(0.02, 0.1 if turn == 0 else 0.02)
    assert fill(admission, 1000, timeout_s=0.05) == pytest.approx(0.04 / RUN_S, abs=1)


def test_a_refusal_states_the_wait_with_its_allowance(admission):
    fill(admission, 8, timeout_s=0.05)
    with pytest.raises(OverloadedError, match="would wait about 56 ms, but may wait for 50 ms"):
        admission.enter(ROUTE, N_BYTES, 0.05)


def test_requests_without_a_deadline_have_no_allowance(admission):
    for _ in range(100):
        admission.note_end(0.02, 0.1)
    assert fill(admission, 1000) == pytest.approx(0.5 / RUN_S, abs=2)


def test_client_deadline_beyond_max_wait_is_admitted(admission):
    assert fill(admission, 1000, timeout_s=2.0) == pytest.approx(1.6 / RUN_S, abs=2)


def test_an_idle_thread_takes_work_that_looks_too_long(admission):
    admission.note_run(ROUTE, N_BYTES, 60.0, 2.0)
    assert fill(admission, 1, timeout_s=0.01) == 1


def test_a_longer_body_is_expected_to_take_longer(admission):
    assert admission.enter(ROUTE, 10 * N_BYTES) == pytest.approx(10 * RUN_S, rel=0.02)


def test_long_bodies_are_refused_unread(admission):
    fill(admission, 1000)
    assert admission.strained
    assert admission.refusal(ROUTE, N_BYTES) is not None
    assert admission.refusal(ROUTE, N_BYTES - 1) is None, "it may be short work"
    assert admission.refusal(ROUTE + 1, N_BYTES) is None, "another route"
    assert admission.refusal(ROUTE, N_BYTES, timeout_s=5.0) is None, "its client waits longer"


def test_a_queue_that_is_left_strains_no_more(admission):
    n = fill(admission, 1000)
    for _ in range(n):
        admission.leave(N_BYTES, RUN_S)
    assert not admission.strained
    assert (admission.n_waiting, admission.n_waiting_bytes) == (0, 0)
    assert fill(admission, 1000) == n


def test_a_wait_for_the_loop_refuses_clients_that_wait_less():
    admission = Admission(max_wait_s=0.5)
    admission.note_loop(is_behind=True, wait_s=0.1)
    assert admission.strained
    assert admission.refusal(ROUTE, 0) is None
    assert admission.refusal(ROUTE, 0, timeout_s=0.05) is not None
    admission.note_loop(is_behind=True, wait_s=0.6)
    assert admission.refusal(ROUTE, 0) is not None
    admission.note_loop(is_behind=False, wait_s=0.0)
    assert not admission.strained


def test_the_queue_is_bounded_in_number_before_any_cost_is_known():
    assert fill(Admission(), MAX_WAITING + 10) == MAX_WAITING


def test_the_queue_is_bounded_in_bytes():
    admission = Admission()
    assert 0 < fill(admission, MAX_WAITING, 8 << 20) <= 8
    assert admission.strained


def test_unfinished_bodies_share_a_byte_budget():
    admission = Admission()
    for _ in range(16):
        admission.reserve(8 << 20)
    with pytest.raises(OverloadedError):
        admission.reserve(1)
    admission.release(8 << 20)
    admission.reserve(1)
