"""Arrow streams as rows: the bits of the schema's own reading, from every writer; what does not fit is refused by name."""

from __future__ import annotations

import contextlib
import gc
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
from mlrf.serving.arrow.known_prefixes import KnownPrefixes
from mlrf.serving.arrow.row_reader import RowReader

NATURAL = Leniency(natural=True)


def reader(schema=ALL_KINDS, leniency=NATURAL, max_rows=10):
    return RowReader(schema, leniency, max_rows)


def bits(numbers):
    return struct.pack(f"{len(numbers)}d", *numbers)


EXPECTED = bits([x for row in ROWS for x in ALL_KINDS.row(row)])


@pytest.mark.parametrize("writer", STREAMS)
def test_rows_have_the_bits_of_the_same_rows_in_json(writer):
    content = STREAMS[writer]()
    reading = reader()
    assert not reading.knows(content)
    assert bits(reading.rows(content).table) == EXPECTED
    assert reading.knows(content)
    assert bits(reading.rows(content).table) == EXPECTED


@pytest.mark.parametrize(
    "kind",
    [pa.float16(), pa.float32(), pa.float64(), pa.int8(), pa.uint8(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64()],
)
def test_numbers_of_every_type_are_read(kind):
    values = pa.array([1, 0, 100]).cast(kind)
    assert list(reader(Schema((Feature("a"),))).rows(stream(pa.table({"a": values}))).table) == [1.0, 0.0, 100.0]


def test_an_optional_feature_may_have_no_column():
    schema = Schema((Feature("a"), Feature("b", Kind.INTEGER, optional=True, default=7)))
    assert list(reader(schema).rows(stream(pa.table({"a": [1.5, 2.5]}))).table) == [1.5, 7.0, 2.5, 7.0]


def test_a_column_without_any_value_is_missing():
    found = reader(Schema((Feature("a"),))).rows(stream(pa.table({"a": pa.nulls(2)}))).table
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
        reader().rows(content())
    assert caught.value.details | details == caught.value.details


def test_lenient_server_skips_columns_and_unknown_categories():
    lenient = reader(leniency=Leniency("ignore", "missing", natural=True))
    table = arrow_table().append_column("x", pa.array([1, 2, 3]))
    assert bits(lenient.rows(stream(table)).table) == EXPECTED
    found = lenient.rows(changed("store", ["west", "süd", None])).table
    assert math.isnan(found[3])


def test_no_length_in_a_stream_decides_what_is_allocated():
    """A record batch of 2^40 rows, a dictionary of 2^40 values, a column's name of 2^31 bytes: refused, and nothing allocated."""
    content = stream(with_dictionaries())
    tracemalloc.start()
    try:
        for at in range(0, len(content) - 8, 4):
            for number in ((1 << 40).to_bytes(8, "little"), b"\xff\xff\xff\x7f"):
                with contextlib.suppress(RequestError):
                    reader(max_rows=1000).rows(content[:at] + number + content[at + len(number) :])
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("writer", STREAMS)
def test_damaged_stream_is_a_client_error_or_answered(writer):
    content = STREAMS[writer]()
    refused = 0
    for seed in range(300):
        try:
            reader(max_rows=100).rows(damaged(content, seed))
        except RequestError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("writer", STREAMS)
def test_a_known_beginning_changes_no_answer(writer):
    """A reader that has read streams with the same schema and dictionaries answers, and refuses, as a new one."""

    def outcome(reading, content):
        try:
            return bits(reading.rows(content).table)
        except RequestError as error:
            return type(error), str(error)

    content = STREAMS[writer]()
    known = reader(max_rows=100)
    known.rows(content)
    for seed in range(300):
        changed_content = damaged(content, seed)
        assert outcome(known, changed_content) == outcome(reader(max_rows=100), changed_content), seed


def test_beginnings_differ_by_their_dictionaries():
    known = reader()
    table = with_dictionaries()
    other = table.set_column(
        table.column_names.index("store"),
        "store",
        pa.DictionaryArray.from_arrays(table["store"].chunk(0).indices, pa.array(["unused", "north", "süd", None])),
    )
    for _ in range(2):
        assert bits(known.rows(stream(table)).table) == EXPECTED
        assert known.rows(stream(other)).table[3] == 0.0, "north"


def test_many_beginnings_are_forgotten():
    known = KnownPrefixes()
    for number in range(100):
        known.keep(f"beginning {number}".encode(), number)
    assert known.find(b"beginning 99 and rows") == (12, 99)
    assert known.find(b"beginning 1") is None
    known.keep(bytes(1 << 17), 1)
    assert known.find(bytes(1 << 17)) is None
    known.clear()
    assert known.find(b"beginning 99 and rows") is None


def pair(first, size):
    return struct.pack("<qq", first, size)


TEXTS = Schema((Feature("a", Kind.CATEGORICAL, ("aa", "bb", "cc")),))
NUMBER = Schema((Feature("a"),))
FORGED = {
    "numbers": (NUMBER, [1.0, 2.0, 3.0], pa.float64(), pair(0, 24), pair(0, 16)),
    "halves": (NUMBER, [1.0, 2.0, 3.0], pa.float16(), pair(0, 6), pair(0, 4)),
    "booleans": (NUMBER, [True, False, True], pa.bool_(), pair(0, 1), pair(0, 0)),
    "validity": (NUMBER, [1.0, None, 3.0], pa.float64(), pair(0, 1), pair(0, 0)),
    "offsets": (TEXTS, ["aa", "bb", "cc"], pa.string(), pair(0, 16), pair(0, 12)),
    "large offsets": (TEXTS, ["aa", "bb", "cc"], pa.large_string(), pair(0, 32), pair(0, 24)),
    "texts": (TEXTS, ["aa", "bb", "cc"], pa.string(), pair(16, 6), pair(16, 5)),
    "falling offsets": (TEXTS, ["aa", "bb", "cc"], pa.string(), struct.pack("<4i", 0, 2, 4, 6), struct.pack("<4i", 0, 4, 2, 6)),
    "an offset before the texts": (
        TEXTS, ["aa", "bb", "cc"], pa.string(), struct.pack("<4i", 0, 2, 4, 6), struct.pack("<4i", -2, 2, 4, 6),
    ),
    "views": (TEXTS, ["aa", "bb", "cc"], pa.string_view(), pair(0, 48), pair(0, 32)),
    "texts that are not UTF-8": (TEXTS, ["aa", "bb", "cc"], pa.string(), b"aabbcc", b"aa\xff\xffcc"),
    "rows fewer than 0": (NUMBER, [1.0, 2.0, 3.0], pa.float64(), struct.pack("<q", 3), struct.pack("<q", -3)),
    "columns of other lengths": (NUMBER, [1.0, 2.0, 3.0], pa.float64(), pair(3, 0), pair(2, 0)),
}  # fmt: skip


@pytest.mark.parametrize("what", FORGED)
def test_lengths_that_do_not_fit_are_refused(what):
    schema, given, kind, sound, forged = FORGED[what]
    if kind == pa.float16():
        given = pa.array(given, pa.float32()).cast(kind)
    content = stream(pa.table({"a": pa.array(given, kind)}))
    assert sound in content
    assert len(reader(schema).rows(content).table) == 3
    with pytest.raises(MalformedRequestError):
        reader(schema).rows(content.replace(sound, forged))


def test_a_dictionary_in_parts_is_refused():
    kind = pa.dictionary(pa.int8(), pa.string())
    parts = [
        pa.DictionaryArray.from_arrays(pa.array([0], pa.int8()), pa.array(values)) for values in (["aa"], ["aa", "bb"])
    ]
    table = pa.table({"a": pa.chunked_array(parts, kind)})
    with pytest.raises(InvalidRequestError, match="send it whole"):
        reader(TEXTS).rows(stream(table, emit_dictionary_deltas=True))
    assert list(reader(TEXTS).rows(stream(table)).table) == [0.0, 0.0]


def test_a_dictionary_is_not_taken_for_another_of_the_same_place():
    reading = reader(TEXTS)
    for values in (["aa", "bb"], ["bb", "aa"], ["bb", "cc"]):
        column = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), pa.array(values))
        expected = [float(["aa", "bb", "cc"].index(value)) for value in values]
        assert list(reading.rows(stream(pa.table({"a": column}))).table) == expected


def test_what_is_kept_of_a_stream_does_not_hold_its_body():
    reading = reader(Schema((*TEXTS.features, Feature("b"))), max_rows=100_000)
    values = pa.array(range(50_000), pa.float64())
    tracemalloc.start()
    try:
        for code in range(3):
            column = pa.DictionaryArray.from_arrays(
                pa.array([code] * 50_000, pa.int8()), pa.array(["cc", "bb", "aa"][: code + 1])
            )
            content = stream(pa.table({"a": column, "b": values}))
            assert len(reading.rows(content).table) == 100_000
            del content
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 200_000
    finally:
        tracemalloc.stop()
