"""Golden rows as plain numbers: read as they were written, and refused when damaged."""

from __future__ import annotations

import struct

import pytest

from mlrf.core.errors import BundleError
from mlrf.core.golden_bin import MAX_ROWS, encode_golden_rows, read_golden_rows

ROWS, MARGINS = (1.0, 2.0, 3.0, 4.0), (0.5, 0.25)
GOOD = encode_golden_rows(struct.pack("<4d", *ROWS), struct.pack("<2d", *MARGINS), 2)

NO_ROWS = GOOD[:12] + struct.pack("<3I", 0, 2, 1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "golden.bin"


def test_rows_are_read_as_they_were_written(path):
    path.write_bytes(GOOD)
    rows = read_golden_rows(path, 2, 1)
    assert (rows.n, tuple(rows.rows), tuple(rows.margins)) == (2, ROWS, MARGINS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cut short"),
        (GOOD[:7], "cut short"),
        (b"X" + GOOD[1:], "no golden rows"),
        (GOOD[:-8], "do not match"),
        (GOOD + bytes(8), "do not match"),
    ],
)
def test_a_damaged_file_is_refused(path, content, message):
    path.write_bytes(content)
    with pytest.raises(BundleError, match=message):
        read_golden_rows(path, 2, 1)


def test_rows_of_another_shape_are_refused(path):
    path.write_bytes(GOOD)
    with pytest.raises(BundleError, match="do not match"):
        read_golden_rows(path, 1, 2)


@pytest.mark.parametrize("n", [0, MAX_ROWS + 1])
def test_a_file_of_no_rows_or_of_too_many_is_refused(path, n):
    path.write_bytes(encode_golden_rows(bytes(16 * n), bytes(8 * n), n) if n else NO_ROWS)
    with pytest.raises(BundleError, match="do not match"):
        read_golden_rows(path, 2, 1)


def test_a_header_of_another_shape_is_refused(path):
    """Without rows the length fits every shape."""
    path.write_bytes(NO_ROWS)
    with pytest.raises(BundleError, match="do not match"):
        read_golden_rows(path, 3, 1)
