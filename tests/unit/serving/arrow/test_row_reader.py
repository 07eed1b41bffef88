"""Arrow streams as rows: the bits of the schema's own reading, from every writer; what does not fit is refused by name."""

from __future__ import annotations

import contextlib
import math
import struct
import tracemalloc

import pyarrow as pa
import pytest

from arrow_streams import ROWS, STREAMS, arrow_table, damaged, stream, with_dictionaries
from bundles import ALL_KINDS
from mlrf.core.errors import (
    BatchTooLargeError,
    EmptyBatchError,
    InvalidFeatureError,
    InvalidRequestError,
    MalformedRequestError,
    MissingFeatureError,
    RequestError,
    UnknownCategoryError,
    UnknownFeatureError,
)
from mlrf.core.feature import Feature, Kind
from mlrf.core.leniency import Leniency
from mlrf.core.schema import Schema
from mlrf.serving.arrow.row_reader import RowReader

NATURAL = Leniency(natural=True)


def reader(schema=ALL_KINDS, leniency=NATURAL, max_rows=10):
    return RowReader(schema, leniency, max_rows)


def bits(numbers):
    return struct.pack(f"{len(numbers)}d", *numbers)


WANTED = bits([x for row in ROWS for x in ALL_KINDS.row(row)])


@pytest.mark.parametrize("writer", STREAMS)
def test_rows_have_the_bits_of_the_same_rows_in_json(writer):
    content = STREAMS[writer]()
    reading = reader()
    assert not reading.knows(content)
    assert bits(reading.table(content)) == WANTED
    assert reading.knows(content)
    assert bits(reading.table(content)) == WANTED


@pytest.mark.parametrize(
    "kind",
    [pa.float16(), pa.float32(), pa.float64(), pa.int8(), pa.uint8(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64()],
)
def test_numbers_of_every_type_are_read(kind):
    values = pa.array([1, 0, 100]).cast(kind)
    assert list(reader(Schema((Feature("a"),))).table(stream(pa.table({"a": values})))) == [1.0, 0.0, 100.0]


def test_an_optional_feature_may_have_no_column():
    schema = Schema((Feature("a"), Feature("b", Kind.INTEGER, optional=True, default=7)))
    assert list(reader(schema).table(stream(pa.table({"a": [1.5, 2.5]})))) == [1.5, 7.0, 2.5, 7.0]


def test_a_column_without_any_value_is_missing():
    found = reader(Schema((Feature("a"),))).table(stream(pa.table({"a": pa.nulls(2)})))
    assert all(map(math.isnan, found))


def changed(name, values):
    table = arrow_table()
    return stream(table.set_column(table.column_names.index(name), name, pa.array(values)))


@pytest.mark.parametrize(
    ("content", "kind", "details"),
    [
        (lambda: stream(arrow_table().drop_columns(["size"])), MissingFeatureError, {"feature": "size"}),
        (lambda: stream(arrow_table().append_column("x", pa.array([1, 2, 3]))), UnknownFeatureError, {"feature": "x"}),
        (lambda: stream(arrow_table().append_column("size", arrow_table()["size"])), InvalidRequestError, {"feature": "size"}),
        (lambda: changed("store", ["süd", "west", None]), UnknownCategoryError, {"feature": "store", "index": 1}),
        (lambda: changed("count", [1.0, 2.0, 2.5]), InvalidFeatureError, {"feature": "count", "index": 2, "value": 2.5}),
        (lambda: changed("promo", [1, 0, 2]), InvalidFeatureError, {"feature": "promo", "index": 2}),
        (lambda: changed("price", [1.0, float("inf"), 2.0]), InvalidFeatureError, {"feature": "price", "index": 1}),
        (lambda: changed("depth", [1.0, None, 2.0]), InvalidFeatureError, {"feature": "depth", "index": 1}),
        (lambda: changed("price", ["a", "b", "c"]), InvalidFeatureError, {"feature": "price"}),
        (lambda: changed("price", [[1.0], [2.0], [3.0]]), InvalidRequestError, {"field": "price"}),
        (lambda: stream(arrow_table(), compression="lz4"), InvalidRequestError, {"field": "compression"}),
        (lambda: stream(pa.concat_tables([arrow_table()] * 4)), BatchTooLargeError, {"max_instances": 10}),
        (lambda: stream(arrow_table().slice(0, 0)), EmptyBatchError, {}),
        (lambda: b"", EmptyBatchError, {}),
        (lambda: b"ARROW1\0\0" + stream(arrow_table()), MalformedRequestError, {}),
        (lambda: stream(arrow_table())[:-100], MalformedRequestError, {}),
        (lambda: b'{"instances": []}', MalformedRequestError, {}),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(content, kind, details):
    with pytest.raises(kind) as caught:
        reader().table(content())
    assert caught.value.details | details == caught.value.details


def test_a_lenient_server_skips_columns_and_takes_unknown_categories_for_missing():
    lenient = reader(leniency=Leniency("ignore", "missing", natural=True))
    table = arrow_table().append_column("x", pa.array([1, 2, 3]))
    assert bits(lenient.table(stream(table))) == WANTED
    found = lenient.table(changed("store", ["west", "süd", None]))
    assert math.isnan(found[3])


def test_no_length_in_a_stream_decides_what_is_allocated():
    """A record batch of 2^40 rows, a dictionary of 2^40 values, a column's name of 2^31 bytes: refused, and nothing allocated."""
    content = stream(with_dictionaries())
    tracemalloc.start()
    try:
        for at in range(0, len(content) - 8, 4):
            for number in ((1 << 40).to_bytes(8, "little"), b"\xff\xff\xff\x7f"):
                with contextlib.suppress(RequestError):
                    reader(max_rows=1000).table(content[:at] + number + content[at + len(number) :])
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("writer", STREAMS)
def test_a_damaged_stream_is_refused_as_its_senders_fault_or_answered(writer):
    content = STREAMS[writer]()
    refused = 0
    for seed in range(300):
        try:
            reader(max_rows=100).table(damaged(content, seed))
        except RequestError:
            refused += 1
    assert refused > 100
