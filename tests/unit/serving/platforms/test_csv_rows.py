"""Rows of CSV bodies: headers, the number of fields, and what is refused before a line is split."""

from __future__ import annotations

import math

import pytest

from bundles import NUMBERS
from mlrf.core import json_infinities
from mlrf.core.errors import (
    BatchTooLargeError,
    FeatureCountError,
    InvalidFeatureError,
    InvalidRequestError,
    MalformedRequestError,
    MissingFeatureError,
    UnknownFeatureError,
    UnsupportedMediaTypeError,
)
from mlrf.core.feature import Feature, Kind
from mlrf.core.schema import Schema
from mlrf.serving.native.canonical_rows import RowWriter
from mlrf.serving.native.json_scanner import most_values
from mlrf.serving.platforms.csv_rows import Header, rows_of_csv

MAX_COMMAS = most_values(len(NUMBERS.features))
LIKE_CODES = Schema((Feature("size", Kind.CATEGORICAL, ("1", "0")), Feature("price")))
"""A feature whose categories are numbers as text, and other numbers than their codes."""


def rows(body, header=Header.ABSENT, schema=NUMBERS, max_rows=4):
    return rows_of_csv(RowWriter(schema, max_rows, "--max-infer-rows"), body, header)


@pytest.mark.parametrize(
    ("body", "header", "message"),
    [
        (
            b"1,2,3\n4,5",
            Header.ABSENT,
            "row 1 of the CSV body has 2 fields, expected 3: one for each feature in schema order",
        ),
        (b"1,2,3,4", Header.ABSENT, "row 0 .* has 4 fields"),
        (b"x0,x1,x2\n1,2", Header.EXACT, "row 0 .* has 2 fields, expected 3: one for each column of its header"),
        (b"1,2,3\n\n4,5,6", Header.ABSENT, "row 1 .* has 0 fields"),
    ],
)
def test_every_row_has_a_field_for_each_column(body, header, message):
    with pytest.raises(FeatureCountError, match=message):
        rows(body, header)


def test_an_empty_line_is_missing_for_a_model_of_one_feature():
    one = Schema((Feature("x"),))
    assert rows(b"1\n\n2\n", schema=one) == [b"[1]", b"[null]", b"[2]"]


@pytest.mark.parametrize("number", ["1.e400", ".5e401", "+1e400", "007e400", "inf"])
def test_a_number_beyond_float64_is_an_infinity_however_written(number):
    (row,) = rows(f"{number},-{number.lstrip('+')},1".encode())
    assert json_infinities.decode(row) == [math.inf, -math.inf, 1]


def test_a_line_of_too_many_fields_is_refused_before_splitting():
    with pytest.raises(FeatureCountError, match=rf"line 2 .* holds {MAX_COMMAS + 1} commas"):
        rows(b"1,2,3\n" + b"," * (MAX_COMMAS + 1))
    with pytest.raises(FeatureCountError, match=f"has {MAX_COMMAS + 1} fields"):
        rows(b"1,2,3\n" + b"," * MAX_COMMAS)


def test_a_number_that_could_be_a_category_or_a_code_is_refused():
    with pytest.raises(InvalidFeatureError, match=r"instance 1:.*size"):
        rows(b",2\n1,2", schema=LIKE_CODES)
    assert len(rows(b"size,price\n1,2", Header.EXACT, LIKE_CODES)) == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [(b"1,\xff,3", "not UTF-8 at byte 2"), (b"", "the body is empty"), (b'1,"2,3', "not CSV at line 1")],
)
def test_a_body_that_is_no_csv_is_refused(body, message):
    with pytest.raises(MalformedRequestError, match=message):
        rows(body)


def test_more_rows_than_the_limit_are_refused():
    with pytest.raises(BatchTooLargeError, match="more than 4"):
        rows(b"1,2,3\n" * 9)


@pytest.mark.parametrize(
    ("first", "error"),
    [
        (b"x0,x1,x1", InvalidRequestError),
        (b"x0,x1", MissingFeatureError),
        (b"x0,x1,x2,x3", UnknownFeatureError),
    ],
)
def test_a_header_has_every_name_once(first, error):
    for header in (Header.PRESENT, Header.DETECT, Header.EXACT):
        with pytest.raises(error, match="the header of the CSV body"):
            rows(first + b"\n1,2,3", header)


def test_data_in_the_first_line_needs_header_absent():
    with pytest.raises(UnsupportedMediaTypeError, match="header=absent"):
        rows(b"1,2,3", Header.EXACT)
    assert rows(b"1,2,3", Header.DETECT) == [b"[1,2,3]"]
