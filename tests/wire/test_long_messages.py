"""Damaged messages of up to the size limit: some of those that `make long-messages` sends by the ten thousand."""

from __future__ import annotations

import pytest

from long_messages import LIMIT_S, measured

_BUSY = 4
"""A machine that does other things takes longer for the same."""


@pytest.mark.slow  # `make test` sends shorter ones: tests/wire/test_mutated_messages.py
def test_long_damaged_messages_cost_little_and_no_worker():
    costs, faults = measured(80, seed=4)
    assert faults == []
    assert max(cost.seconds for cost in costs) < _BUSY * LIMIT_S
    assert max(cost.size for cost in costs) > 4 << 20
    assert {cost.status for cost in costs} >= {"INVALID_ARGUMENT", "400"}
