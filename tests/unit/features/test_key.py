"""The canonical bytes of keys: one encoding for one key, sorted as the values are, and refusals that say what to do."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrf.core.errors import InvalidKeyError
from mlrf.features.entity_key import MAX_KEY_BYTES, EntityKey, KeyField, KeyType, entity_key

SALES = entity_key([("store_id", "integer"), ("department", "string"), ("date", "date"), ("promo", "boolean")])
RIGHT = {"store_id": 54, "department": "süd\0e", "date": "2026-01-31", "promo": True}

_TEXTS = st.text(max_size=20) | st.sampled_from(["", "\0", "a", "a\0", "a\0\0", "a\0b", "a\xff", "ab"])
_VALUES = {
    "string": _TEXTS,
    "integer": st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-3, 3),
    "date": st.dates().map(dt.date.isoformat),
    "boolean": st.booleans(),
}


@st.composite
def _keys_and_pairs(draw):
    types = draw(st.lists(st.sampled_from(sorted(_VALUES)), min_size=1, max_size=3))
    key = entity_key([(f"field{i}", kind) for i, kind in enumerate(types)])
    values = st.fixed_dictionaries({f"field{i}": _VALUES[kind] for i, kind in enumerate(types)})
    return key, draw(values), draw(values)


@given(_keys_and_pairs())
def test_bytes_sort_as_the_values_do_and_read_back(case):
    key, one, other = case
    first, second = key.encode(one), key.encode(other)
    assert (first == second) == (one == other)
    # Code points sort as UTF-8 does.
    assert (first < second) == ([one[n] for n in key.names] < [other[n] for n in key.names])
    assert key.decode(first) == one


@given(_keys_and_pairs(), st.binary(max_size=8))
def test_bytes_of_no_key_are_refused_and_never_misread(case, tail):
    key, one, _ = case
    raw = key.encode(one)
    for damaged in (raw[:-1], raw + b"\1", raw[: len(raw) // 2] + tail):
        try:
            values = key.decode(damaged)
        except ValueError:
            continue
        assert key.decode(key.encode(values)) == values


def test_the_order_of_fields_is_irrelevant():
    backwards = EntityKey(tuple(reversed(SALES.fields)))
    assert backwards == SALES
    assert SALES.encode(dict(reversed(RIGHT.items()))) == SALES.encode(RIGHT)


def test_an_integral_number_is_an_integer():
    assert SALES.encode({**RIGHT, "store_id": 54.0}) == SALES.encode(RIGHT)
    assert SALES.encode({**RIGHT, "store_id": -0.0}) == SALES.encode({**RIGHT, "store_id": 0})


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("store_id", "54", "a string of digits is not an integer"),
        ("store_id", 54.5, "an integer within 64 bits"),
        ("store_id", True, "an integer within 64 bits, got true"),
        ("store_id", 1 << 63, "an integer within 64 bits, got an integer outside 64 bits"),
        ("store_id", 9007199254740993.0, "an integer within 64 bits, got the number 9007199254740992.0; above 2^53"),
        ("store_id", float("inf"), "an integer within 64 bits"),
        ("store_id", None, "cannot be missing"),
        ("department", 54, "send it in quotes"),
        ("department", "\ud800", "expected a string"),
        ("department", ["a"], "got an array"),
        ("date", "2026-02-30", "a date YYYY-MM-DD"),
        ("date", "20260131", "a date YYYY-MM-DD"),
        ("date", "2026-W05-6", "a date YYYY-MM-DD"),
        ("date", "2026-01-31T00:00:00", "a date YYYY-MM-DD"),
        ("date", "２026-01-31", "a date YYYY-MM-DD"),
        ("date", 20260131, "a date YYYY-MM-DD"),
        ("promo", 1, "true or false, got the number 1"),
        ("promo", "true", "true or false"),
    ],
)
def test_a_wrong_value_is_named_with_its_field(field, value, message):
    with pytest.raises(InvalidKeyError, match=f'key field "{field}"') as caught:
        SALES.encode({**RIGHT, field: value})
    assert message in str(caught.value)
    assert caught.value.details["field"] == field


def test_missing_unknown_and_overlong_fields_are_refused():
    with pytest.raises(InvalidKeyError, match='lacks the field "date"; send all of') as caught:
        SALES.encode({name: value for name, value in RIGHT.items() if name != "date"})
    assert caught.value.details["missing"] == ["date"]
    with pytest.raises(InvalidKeyError, match='no field "shop" in this model; its fields are'):
        SALES.encode({**RIGHT, "shop": 1})
    longest = {**RIGHT, "department": "d" * (MAX_KEY_BYTES - 15)}
    assert len(SALES.encode(longest)) == MAX_KEY_BYTES
    with pytest.raises(InvalidKeyError, match="longer than 511 bytes"):
        SALES.encode({**longest, "department": longest["department"] + "d"})


def test_fields_that_make_no_key_are_refused():
    with pytest.raises(ValueError, match="at least one field"):
        EntityKey(())
    with pytest.raises(ValueError, match="two fields of the key are named 'a'"):
        EntityKey((KeyField("a", KeyType.STRING), KeyField("a", KeyType.DATE)))
    with pytest.raises(ValueError, match="needs a name"):
        KeyField("", KeyType.STRING)


def test_bytes_beyond_a_key_are_refused():
    raw = SALES.encode(RIGHT)
    with pytest.raises(ValueError, match="more bytes than a key"):
        SALES.decode(raw + b"x")
