"""The kernel's reading of a record batch: the bits of the reading column by column, and nothing outside its buffers."""

from __future__ import annotations

import dataclasses
import math
import struct
from array import array

import pyarrow as pa
import pytest

from arrow_streams import STREAMS, arrow_table, damaged, stream
from bundles import ALL_KINDS
from mlrf import _kernel
from mlrf.core.errors import RequestError
from mlrf.core.leniency import Leniency
from mlrf.serving.arrow import row_reader
from mlrf.serving.arrow.row_reader import RowReader
from mlrf.serving.arrow.stream_layout import read_layout

NAN = math.nan
VALUES = struct.pack("<4d", 1.0, 2.0, 3.0, 4.0)
PLAN = struct.pack("<IiI", ord("d"), 0, 2)


def fill(nodes=((4, 0),), buffers=((0, 0), (0, 32)), plan=PLAN, body=VALUES, n=4, width=1):
    table = array("d", [NAN]) * (n * width)
    packed = [b"".join(struct.pack("<qq", *pair) for pair in pairs) for pairs in (nodes, buffers)]
    accepted = _kernel.fill_records(body, *packed, plan, table, n)
    return table.tolist() if accepted else None


def read(content, *, by_kernel):
    reader = RowReader(ALL_KINDS, Leniency(natural=True), 10)
    with pytest.MonkeyPatch.context() as patch:
        if not by_kernel:
            patch.setattr(row_reader, "read_layout", lambda *given: dataclasses.replace(read_layout(*given), plan=None))
        try:
            return bytes(reader.rows(content).table)
        except RequestError as error:
            return type(error)


@pytest.mark.parametrize("writer", STREAMS)
def test_both_readings_give_the_same_bits(writer):
    content = STREAMS[writer]()
    assert read(content, by_kernel=True) == read(content, by_kernel=False)


def test_both_readings_refuse_damaged_streams_alike():
    made = [damaged(STREAMS[writer](), seed) for writer in ("arrow", "dictionaries", "floats") for seed in range(300)]
    answers = [(read(each, by_kernel=True), read(each, by_kernel=False)) for each in made]
    assert [a for a, b in answers if a != b] == []
    assert any(isinstance(a, bytes) for a, _ in answers)
    assert any(isinstance(a, type) for a, _ in answers)


def test_a_column_is_written_at_its_place():
    assert fill() == [1.0, 2.0, 3.0, 4.0]
    assert fill(n=2, nodes=((2, 0),), width=2, plan=struct.pack("<IiI", ord("d"), 1, 2))[1::2] == [1.0, 2.0]
    lacking = fill(nodes=((4, 1),), buffers=((32, 1), (0, 32)), body=VALUES + b"\x0b")
    assert lacking[:2] == [1.0, 2.0]
    assert math.isnan(lacking[2])
    skipped = struct.pack("<IiI", 0, -1, 3)
    three = ((0, 0), (0, 0), (0, 0))
    assert fill(nodes=((4, 0), (4, 0)), buffers=(*three, (0, 0), (0, 32)), plan=skipped + PLAN) == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    "given",
    [
        {"nodes": ((3, 0),)},
        {"nodes": ()},
        {"nodes": ((-4, 0),)},
        {"buffers": ((0, 0),)},
        {"buffers": ((0, 0), (0, 31))},
        {"buffers": ((0, 0), (8, 32))},
        {"buffers": ((0, 0), (-8, 32))},
        {"buffers": ((0, 0), (0, -1))},
        {"buffers": ((0, 0), (1 << 62, 32))},
        {"buffers": ((0, 32), (0, 32))},
        {"nodes": ((4, 1),), "buffers": ((0, 0), (0, 32))},
        {"plan": struct.pack("<IiI", ord("d"), 1, 2)},
        {"plan": struct.pack("<IiI", ord("d"), 0, 1)},
        {"plan": struct.pack("<IiI", ord("x"), 0, 2)},
    ],
)
def test_uncertain_values_are_left_to_the_column_reader(given):
    assert fill(**given) is None


def test_a_table_of_another_size_is_refused():
    with pytest.raises(ValueError, match="so many rows"):
        _kernel.fill_records(VALUES, b"", b"", b"", array("d", [0.0] * 3), 2)


def test_views_half_floats_and_absent_features_have_no_plan():
    reader = RowReader(ALL_KINDS, Leniency(natural=True), 10)
    half = arrow_table().set_column(0, "price", pa.array([1, 2, 3], pa.float16()))
    reader.rows(stream(half))
    reader.rows(STREAMS["polars views"]())
    assert all(layout.plan is None for layout in reader._known.values())
    reader.rows(stream(arrow_table()))
    assert any(layout.plan is not None for layout in reader._known.values())
