"""Requests are sampled at their rate, and none that is due is skipped."""

from __future__ import annotations

import pytest

from mlrf.serving.telemetry.sampling import NEVER, Sampler


def picked(rate, n, seed=1):
    sampler = Sampler(rate, seed)
    return [number for number in range(n) if sampler.picks(number)]


def test_all_and_none():
    assert picked(1.0, 100) == list(range(100))
    assert picked(0.0, 100) == []
    assert Sampler(0.0).due == NEVER


@pytest.mark.parametrize("rate", [0.9, 0.3, 0.01, 1 / 64])
def test_the_share_that_is_picked_is_the_rate(rate):
    n = 200_000
    spread = 5 * (n * rate * (1 - rate)) ** 0.5
    assert abs(len(picked(rate, n)) - n * rate) < spread


def test_sampling_by_due_number_misses_nothing():
    sampler, every = Sampler(0.1, seed=7), picked(0.1, 1000, seed=7)
    found = []
    while sampler.due < 1000:
        found.append(sampler.due)
        assert sampler.picks(sampler.due)
    assert found == every


def test_a_rate_too_small_to_notice_is_a_rate():
    assert Sampler(1e-300, seed=1).due == NEVER
    assert 0 <= Sampler(1 - 1e-16, seed=1).due < 10
