"""Rows as bytes: a round trip, bound to schema and key; and as-of times."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from bundles import ALL_KINDS, NUMBERS
from mlrf.core.category_hash import HASHED_CODE
from mlrf.core.errors import InvalidStoredRowError
from mlrf.core.feature import CategoryHashing, Feature, Kind
from mlrf.core.schema import Schema
from mlrf.features.as_of import MAX_AS_OF_US, MIN_AS_OF_US, read_as_of, show_as_of
from mlrf.features.entity_key import entity_key
from mlrf.features.row_format import RowFormat, row_digest

FORMAT = RowFormat(ALL_KINDS, entity_key([("id", "integer")]))
KEY = FORMAT.key.encode({"id": 1})
SOUND = [9.5, 3.0, 1.0, 1.0, 1.0, 7.0, 0.25]
_MISSING = st.just(math.nan)
_NUMBERS = st.floats(allow_infinity=False, allow_nan=False)
_WHOLE = st.integers(-(1 << 53), 1 << 53).map(float)
_CODES = st.sampled_from([0.0, 1.0, 2.0])
_ROWS = st.tuples(
    _NUMBERS | _MISSING,
    _WHOLE | _MISSING,
    st.sampled_from([0.0, 1.0]) | _MISSING,
    _CODES | _MISSING,
    _CODES | _MISSING,
    _WHOLE | _MISSING,
    _NUMBERS,
)


@given(_ROWS, st.none() | st.integers(MIN_AS_OF_US, MAX_AS_OF_US), st.sets(st.integers(0, 6)))
def test_a_row_is_read_back_as_it_was_written(values, as_of_us, absent):
    values = [math.nan if i in absent else x for i, x in enumerate(values)]
    row = FORMAT.unpack(KEY, FORMAT.pack(values, as_of_us, sorted(absent)), 7)
    assert list(map(repr, row.values)) == list(map(repr, values))
    assert (row.as_of_us, row.absent, row.transaction) == (as_of_us, tuple(sorted(absent)), 7)


def test_rows_are_bound_to_schema_and_key():
    record = FORMAT.pack(SOUND)
    features = ALL_KINDS.features
    others = [
        RowFormat(ALL_KINDS, entity_key([("id", "string")])),
        RowFormat(Schema(features[::-1]), FORMAT.key),
        RowFormat(Schema((replace(features[0], nullable=False), *features[1:])), FORMAT.key),
        RowFormat(NUMBERS, FORMAT.key),
    ]
    for other in others:
        with pytest.raises(InvalidStoredRowError):
            other.unpack(KEY, record, 0)
    # An example is for people to look at: rows do not depend on it.
    assert RowFormat(Schema((replace(features[0], example=1.0), *features[1:])), FORMAT.key).digest == FORMAT.digest


@given(st.binary(max_size=90))
def test_bytes_of_no_row_are_refused(damage):
    whole, partial = FORMAT.pack(SOUND), FORMAT.pack([*SOUND[:3], math.nan, *SOUND[4:]], absent=(3,))
    for raw in (
        damage,
        whole[:-1],
        whole + b"\0",
        partial[:-1],
        partial + b"\0",
        b"\2" + whole[1:],
        b"\1\2" + whole[2:],
        partial[:-1] + b"\x88",  # an eighth feature
        FORMAT.pack(SOUND, absent=(3,)),  # absent, and there
    ):
        with pytest.raises(InvalidStoredRowError):
            FORMAT.unpack(KEY, raw, 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("price", math.inf),
        ("price", -math.inf),
        ("count", 0.5),
        ("promo", 2.0),
        ("promo", -1.0),
        ("store", 3.0),
        ("store", -1.0),
        ("store", 0.5),
        ("size", 10.0),
        ("code", 7.5),
        ("depth", math.nan),
    ],
)
@pytest.mark.parametrize("absent", [(), (0,), (6,)])
def test_values_outside_the_schema_are_refused(name, value, absent):
    index = ALL_KINDS.names.index(name)
    if index in absent:
        pytest.skip("not held")
    values = [math.nan if i in absent else value if i == index else x for i, x in enumerate(SOUND)]
    with pytest.raises(InvalidStoredRowError, match=f'not a value of the feature "{name}"'):
        FORMAT.unpack(KEY, FORMAT.pack(values, None, absent), 0)


@pytest.mark.parametrize("as_of_us", [MIN_AS_OF_US - 1, MAX_AS_OF_US + 1, (1 << 63) - 1])
@pytest.mark.parametrize("absent", [(), (0,)])
def test_as_of_times_that_no_calendar_has_are_refused(as_of_us, absent):
    record = FORMAT.pack([math.nan if i in absent else x for i, x in enumerate(SOUND)], as_of_us, absent)
    with pytest.raises(InvalidStoredRowError, match="as-of time is outside the years 1 to 9999"):
        FORMAT.unpack(KEY, record, 0)


def test_only_hashes_that_the_model_knows_are_values():
    def of(hashing):
        return RowFormat(Schema((Feature("c", Kind.CATEGORICAL, ("a",), hashing=hashing),)), FORMAT.key)

    known, anything = of(CategoryHashing((5,))), of(CategoryHashing((5,), is_open=True))
    for rows, taken in ((known, [0, HASHED_CODE + 5]), (anything, [0, HASHED_CODE + 5, HASHED_CODE + 6])):
        for value in taken:
            assert list(rows.unpack(KEY, rows.pack([value]), 0).values) == [value]
    for absent in ((), (0,)):
        with pytest.raises(InvalidStoredRowError):
            known.unpack(KEY, known.pack([HASHED_CODE + 6], None, absent), 0)
    with pytest.raises(InvalidStoredRowError):
        anything.unpack(KEY, anything.pack([2 * HASHED_CODE]), 0)


def test_error_of_an_invalid_probe_names_no_key():
    assert FORMAT.invalid(b"\0", "why").details == {"key": {}}


def test_the_digest_of_a_row_is_of_its_values_alone():
    record = FORMAT.pack([1.0] * 7, 5)
    assert row_digest(record) == row_digest(FORMAT.pack([1.0] * 7, 6))
    assert row_digest(record) != row_digest(FORMAT.pack([1.0] * 6 + [-1.0], 5))
    assert row_digest(record) != row_digest(FORMAT.pack([1.0] * 7, 5, absent=(0,)))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-01-31T06:00:00Z", "2026-01-31T06:00:00Z"),
        ("2026-01-31T06:00:00", "2026-01-31T06:00:00Z"),
        ("2026-01-31T08:00:00.25+02:00", "2026-01-31T06:00:00.250000Z"),
        ("2026-01-31", "2026-01-31T00:00:00Z"),
        ("1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z"),
    ],
)
def test_as_of_times_are_rfc_3339_and_naive_means_utc(text, shown):
    assert show_as_of(read_as_of(text)) == shown


@pytest.mark.parametrize("text", ["", "yesterday", "2026-02-30T00:00:00Z", 1738303200, None])
def test_invalid_times_are_refused(text):
    with pytest.raises(ValueError, match=r"time like 2026-01-31T06:00:00Z|string like"):
        read_as_of(text)
