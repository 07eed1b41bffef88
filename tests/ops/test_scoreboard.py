"""Rows of the reliability scoreboard in brief: small numbers, and bars that a busy machine can meet. `make ops` uses the real bars."""

from __future__ import annotations

import pytest

from run import rows

pytestmark = pytest.mark.timing  # latencies under load

BRIEF = {number: row.brief for number, row in rows().items() if row.brief is not None}
LONG_TO_FAIL = {5, 22}
"""Rows whose fault is a wait: a brief run cannot distinguish it from a busy machine, or takes seconds to."""


@pytest.mark.parametrize("number", BRIEF)
def test_a_row_holds(number):
    finding = BRIEF[number](False)
    assert finding.holds, finding.figure


@pytest.mark.parametrize("number", sorted(BRIEF.keys() - LONG_TO_FAIL))
def test_a_planted_fault_is_caught(number):
    finding = BRIEF[number](True)
    assert not finding.holds, finding.figure
