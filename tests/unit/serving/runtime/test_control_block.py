"""The control block: a row a slot, each on pages of its own."""

from __future__ import annotations

import os

import pytest

from mlrf.serving.runtime.control_block import ControlBlock


def test_rows_are_apart_and_totals_are_sums():
    block = ControlBlock(3, 700)
    for slot in range(3):
        block.row(slot)[699] = slot + 1
        block.row(slot)[0] = 10
    assert (block.total(699), block.total(0), block.total(1)) == (6, 30, 0)
    assert all(len(block.row(slot)) == 700 for slot in range(3))


def test_a_row_ends_where_the_next_begins():
    with pytest.raises(IndexError):
        ControlBlock(2, 4).row(0)[4] = 1


def test_a_child_writes_where_its_parent_reads():
    block = ControlBlock(1, 1)
    pid = os.fork()
    if pid == 0:
        block.row(0)[0] = 2**64 - 1
        os._exit(0)
    os.waitpid(pid, 0)
    assert block.total(0) == 2**64 - 1
