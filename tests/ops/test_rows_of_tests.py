"""Rows of the scoreboard that tests stand for: they run, notice a planted fault, and name tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from row_of_tests import run_tests
from rows.row_25_mutated_files import _UNCHECKED
from run import rows

REPOSITORY = Path(__file__).parents[2]
QUICK = ("tests/unit/core/test_bundle.py::test_a_truncated_file_is_named",)


def test_every_number_of_the_plan_has_a_row():
    numbers = sorted(rows())
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.slow  # pytest starts twice
def test_tests_hold_and_notice_a_planted_fault():
    assert run_tests(QUICK).holds
    broken = run_tests(QUICK, _UNCHECKED)
    assert not broken.holds
    assert re.match(r"\d+ tests, [1-9].*: Failed: DID NOT RAISE BundleError'", broken.figure), broken.figure


def test_a_test_that_is_not_there_is_an_error():
    with pytest.raises(RuntimeError, match="pytest ended with 4"):
        run_tests(("tests/unit/core/test_absent.py",))


def test_named_tests_exist():
    nodes = [node for row in rows().values() for node in row.tests]
    assert len(nodes) > 10
    for node in nodes:
        path, _, name = node.partition("::")
        assert f"def {name}" in (REPOSITORY / path).read_text(), node
