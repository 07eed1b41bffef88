"""Renaming in one step: what cannot be done in one step is refused, and nothing is moved."""

from __future__ import annotations

import pytest

from mlrf.core.atomic_files import RENAME_EXCHANGE, RENAME_NOREPLACE, rename


def test_two_files_are_exchanged(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    two.write_text("2")
    rename(one, two, RENAME_EXCHANGE)
    assert (one.read_text(), two.read_text()) == ("2", "1")


def test_an_exchange_with_nothing_is_refused_and_moves_nothing(tmp_path):
    one, absent = tmp_path / "one", tmp_path / "absent"
    one.write_text("1")
    with pytest.raises(FileNotFoundError):
        rename(one, absent, RENAME_EXCHANGE)
    assert one.read_text() == "1"
    assert not absent.exists()


def test_a_file_that_exists_is_not_replaced(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    two.write_text("2")
    with pytest.raises(FileExistsError):
        rename(one, two, RENAME_NOREPLACE)
    assert (one.read_text(), two.read_text()) == ("1", "2")
