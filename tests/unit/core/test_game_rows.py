"""The rows of a background on disk: read as they were written, and refused when damaged."""

from __future__ import annotations

import struct

import pytest

from mlrf.core.errors import BundleError
from mlrf.core.game_rows import encode_game_rows, read_game_rows

ROWS = struct.pack("<6d", 1.0, -0.0, float("nan"), 4.0, float("inf"), 6.0)
GOOD = encode_game_rows(ROWS, 3)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "background.bin"


def test_rows_are_read_as_they_were_written(path):
    path.write_bytes(GOOD)
    assert read_game_rows(path, 3, "background") == (2, ROWS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cut short"),
        (GOOD[:7], "cut short"),
        (b"X" + GOOD[1:], "no background"),
        (GOOD[:-8], "does not match"),
        (GOOD + bytes(8), "does not match"),
        (encode_game_rows(ROWS, 2), "does not match"),
        (encode_game_rows(b"", 3), "does not match"),
    ],
)
def test_a_damaged_file_is_refused(path, content, message):
    path.write_bytes(content)
    with pytest.raises(BundleError, match=message):
        read_game_rows(path, 3, "background")


def test_a_missing_file_is_refused(path):
    with pytest.raises(BundleError, match="cannot be read"):
        read_game_rows(path, 3, "background")
