"""Rows as bytes: what is read back is what was written, bound to its schema and key; and as-of times."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundles import ALL_KINDS, NUMBERS
from mlrf.core.schema import Schema
from mlrf.features.as_of import read_as_of, show_as_of
from mlrf.features.entity_key import entity_key
from mlrf.features.row_format import ForeignRowError, RowFormat, row_digest

FORMAT = RowFormat(ALL_KINDS, entity_key([("id", "integer")]))
_NUMBERS = st.floats(allow_infinity=False)


@given(
    st.lists(_NUMBERS, min_size=7, max_size=7),
    st.none() | st.integers(-(1 << 62), 1 << 62),
    st.sets(st.integers(0, 6)),
)
def test_a_row_is_read_back_as_it_was_written(values, as_of_us, absent):
    values = [math.nan if i in absent else x for i, x in enumerate(values)]
    row = FORMAT.unpack(FORMAT.pack(values, as_of_us, sorted(absent)), 7)
    assert list(map(repr, row.values)) == list(map(repr, values))
    assert (row.as_of_us, row.absent, row.transaction) == (as_of_us, tuple(sorted(absent)), 7)


def test_rows_are_bound_to_schema_and_key():
    record = FORMAT.pack([0.0] * 7)
    features = ALL_KINDS.features
    others = [
        RowFormat(ALL_KINDS, entity_key([("id", "string")])),
        RowFormat(Schema(features[::-1]), FORMAT.key),
        RowFormat(Schema((replace(features[0], nullable=False), *features[1:])), FORMAT.key),
        RowFormat(NUMBERS, FORMAT.key),
    ]
    for other in others:
        with pytest.raises(ForeignRowError):
            other.unpack(record, 0)
    # An example is for people to look at: rows do not depend on it.
    assert RowFormat(Schema((replace(features[0], example=1.0), *features[1:])), FORMAT.key).digest == FORMAT.digest


@given(st.binary(max_size=90))
def test_bytes_of_no_row_are_refused(damage):
    whole, partial = FORMAT.pack([0.0] * 7), FORMAT.pack([0.0] * 7, absent=(3,))
    for raw in (
        damage,
        whole[:-1],
        whole + b"\0",
        partial[:-1],
        partial + b"\0",
        b"\2" + whole[1:],
        b"\1\2" + whole[2:],
    ):
        with pytest.raises(ForeignRowError):
            FORMAT.unpack(raw, 0)


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
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match=r"time like 2026-01-31T06:00:00Z|string like"):
        read_as_of(text)
