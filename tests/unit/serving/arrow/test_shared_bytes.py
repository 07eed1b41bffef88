"""Arrow streams that point at the same bytes many times: what they cost is bounded by the bytes that were sent."""

from __future__ import annotations

import gc
import struct
import tracemalloc
from contextlib import contextmanager
from dataclasses import replace

import pyarrow as pa
import pytest

from arrow_streams import stream
from mlrf.core.errors import MalformedRequestError
from mlrf.core.feature import Feature, Kind
from mlrf.core.flatbuffers_writer import FlatBufferWriter
from mlrf.core.leniency import Leniency
from mlrf.core.schema import Schema
from mlrf.serving.arrow import row_reader
from mlrf.serving.arrow.row_reader import RowReader

MIB = 1 << 20
WORDS = Schema(tuple(Feature(name, Kind.CATEGORICAL, ("aa", "bb", "cc")) for name in "ab"))


def reader(max_rows=1000):
    return RowReader(WORDS, Leniency(unknown_categories="missing", natural=True), max_rows)


@contextmanager
def peak_below(most_bytes):
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most_bytes
    finally:
        tracemalloc.stop()


def words(column):
    return stream(pa.table({"a": column, "b": pa.array(["aa"] * len(column))}))


def views(lengths):
    """A column of views of these lengths, all from the first byte of one buffer."""
    packed = b"".join(struct.pack("<i4sii", length, b"xxxx", 0, 0) for length in lengths)
    return pa.Array.from_buffers(
        pa.string_view(), len(lengths), [None, pa.py_buffer(packed), pa.py_buffer(b"x" * max(lengths))]
    )


def test_columns_that_share_one_name_are_refused():
    """A thousand columns that point at one name of a mebibyte would be a gigabyte of names."""
    positions = []

    def field(writer):
        if not positions:
            name = "x" * MIB
            positions.append(writer.table([lambda w: w.text(name), ("B", 0), ("B", 1), lambda w: w.table([])]))
        return positions[0]

    schema = [("h", 0), lambda writer: writer.tables([field] * 1000)]
    metadata = FlatBufferWriter.message([("h", 4), ("B", 1), lambda writer: writer.table(schema), ("q", 0)])
    content = struct.pack("<Ii", 0xFFFFFFFF, len(metadata)) + metadata
    with peak_below(16 * MIB), pytest.raises(MalformedRequestError, match="share"):
        reader().rows(content)


def test_rows_that_share_one_view_make_one_string_of_it():
    content = words(views([MIB] * 500))
    with peak_below(16 * MIB):
        assert len(reader().rows(content).table) == 1000


def test_views_of_the_same_bytes_are_refused_past_a_budget():
    with peak_below(16 * MIB), pytest.raises(MalformedRequestError, match="share the same bytes"):
        reader().rows(words(views([MIB - row for row in range(500)])))


def test_repeated_dictionary_values_are_refused_past_a_budget():
    """Offsets that go up and down: each second value is the whole buffer."""
    offsets = struct.pack("<1001i", *([0, MIB] * 500), MIB)
    values = pa.Array.from_buffers(pa.string(), 1000, [None, pa.py_buffer(offsets), pa.py_buffer(b"x" * MIB)])
    column = pa.DictionaryArray.from_arrays(pa.array(range(0, 1000, 2), pa.int32()), values, safe=False)
    with pytest.raises(MalformedRequestError, match="share the same bytes"):
        reader().rows(words(column))


def test_columns_that_share_their_buffers_are_refused():
    content = stream(pa.table({name: ["aa", "bb", "cc"] * 40 for name in "ab"}))
    texts = [struct.pack("<qq", first, 240) for first in range(0, 2048, 8)]
    whole = struct.pack("<qq", 0, 1024)
    forged = content
    for sound in texts:
        forged = forged.replace(sound, whole)
    assert forged.count(whole) == 2
    assert len(reader().rows(content).table) == 240
    with pytest.raises(MalformedRequestError, match="overlap"):
        reader().rows(forged)


class Scanned(tuple):
    """Columns that count how often they are searched."""

    __slots__ = ()
    scans = 0

    def __iter__(self):
        Scanned.scans += 1
        return super().__iter__()


def test_the_column_of_a_dictionary_is_found_without_a_search(monkeypatch):
    monkeypatch.setattr(row_reader, "_KNOWN_DICTIONARY_BYTES", 0)
    reading = reader()
    content = words(pa.array(["aa"]).dictionary_encode()).removesuffix(b"\xff\xff\xff\xff" + bytes(4))
    start = content.index(b"\xff\xff\xff\xff", 1)
    end = content.index(b"\xff\xff\xff\xff", start + 1)
    dictionary = content[start:end]
    expected = reading.rows(content).table
    ((known, layout),) = reading._known.items()
    reading._known[known] = replace(layout, columns=Scanned(layout.columns))
    assert reading.rows(content[:start] + dictionary * 300 + content[end:]).table == expected
    assert Scanned.scans < 10


def test_a_stream_of_very_many_dictionaries_is_refused():
    content = words(pa.array(["aa"]).dictionary_encode())
    start = content.index(b"\xff\xff\xff\xff", 1)
    end = content.index(b"\xff\xff\xff\xff", start + 1)
    with pytest.raises(MalformedRequestError, match="more than 1001 dictionaries; send each of them once"):
        reader(max_rows=10_000).rows(content[:start] + content[start:end] * 1002 + content[end:])


def test_kept_dictionaries_hold_a_bounded_number_of_codes():
    """A dictionary of nulls has thousands of values in a few bytes."""
    reading = reader(max_rows=40_000)
    contents = [
        words(pa.DictionaryArray.from_arrays(pa.array(range(n), pa.int32()), pa.nulls(n, pa.bool_())))
        for n in range(14_000, 14_020)
    ]
    tracemalloc.start()
    try:
        for content in contents:
            reading.rows(content)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 8 * MIB
    finally:
        tracemalloc.stop()
