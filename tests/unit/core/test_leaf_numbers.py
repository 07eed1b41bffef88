"""Leaf numbers on disk: read as they were written, and refused when damaged."""

from __future__ import annotations

import struct

import pytest

from mlrf.core.errors import BundleError
from mlrf.core.leaf_numbers import encode_leaf_numbers, read_leaf_numbers

TREES, NUMBERS = struct.pack("<2I", 0, 2), struct.pack("<5I", 1, 0, 0, 2, 1)
GOOD = encode_leaf_numbers(TREES, NUMBERS)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "leaves.bin"


def test_numbers_are_read_as_they_were_written(path):
    path.write_bytes(GOOD)
    assert tuple(map(bytes, read_leaf_numbers(path))) == (TREES, NUMBERS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read"),
        (GOOD[:7], "cut short"),
        (b"X" + GOOD[1:], "no leaf numbers"),
        (GOOD[:-4], "the length"),
        (GOOD + bytes(4), "the length"),
    ],
)
def test_a_damaged_file_is_refused(path, content, message):
    path.write_bytes(content)
    with pytest.raises(BundleError, match=message):
        read_leaf_numbers(path)


def test_a_missing_file_is_refused(path):
    with pytest.raises(BundleError, match="cannot be read"):
        read_leaf_numbers(path)
