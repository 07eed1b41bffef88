"""Tables of a FlatBuffers buffer: what lies inside is returned, and an offset or a length beyond the end is an error."""

from __future__ import annotations

import struct

import pytest

from mlrf.core.flatbuffers import DamagedBufferError, Table

ITEMS = struct.pack("<3d", 0.5, 1.5, 2.5)
VTABLE = struct.pack("<HHH", 6, 8, 4)
BUFFER = struct.pack("<I", 10) + VTABLE + struct.pack("<iI", 6, 4) + struct.pack("<I", 3) + ITEMS
"""The distance to the table, its vtable, the table with the distance to a vector, and the vector of three numbers."""


def test_items_are_the_bytes_of_a_vector():
    assert Table.root(BUFFER).items(0, 8) == ITEMS
    assert Table.root(BUFFER).count(0) == 3
    assert Table.root(BUFFER).items(1, 8) == b"", "a field that the table does not have"


@pytest.mark.parametrize("n_missing", range(1, 22))
def test_items_beyond_the_end_are_an_error(n_missing):
    table = Table.root(BUFFER[:-n_missing])
    with pytest.raises(DamagedBufferError, match="points outside itself"):
        table.items(0, 8)


@pytest.mark.parametrize("size", [0, 3, 9, 13, 17, 21])
def test_a_buffer_that_ends_before_its_vector_is_an_error(size):
    with pytest.raises(DamagedBufferError, match=r"is cut|points outside itself"):
        Table.root(BUFFER[:size]).items(0, 8)
