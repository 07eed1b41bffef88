"""Rows of JSON bodies of other platforms: what is refused before a row is read."""

from __future__ import annotations

import msgspec
import pytest

from bundles import NUMBERS
from mlrf.core.errors import BatchTooLargeError, InvalidRequestError, MalformedRequestError
from mlrf.serving.native.canonical_rows import RowWriter
from mlrf.serving.native.json_scanner import has_more_items
from mlrf.serving.native.split_rows import rows_of_split
from mlrf.serving.platforms import json_rows

MAX_ROWS = 4
MOST_VALUES = MAX_ROWS * RowWriter(NUMBERS, MAX_ROWS).most_values()
FORMS = {"instances": json_rows.rows_of_list, "inputs": json_rows.rows_of_list}


@pytest.fixture
def writer():
    return RowWriter(NUMBERS, MAX_ROWS, "--max-infer-rows")


def raw(value):
    return msgspec.Raw(msgspec.json.encode(value))


def test_a_document_with_too_many_values_is_refused(writer):
    body = b'{"instances": [[%b]]}' % b",".join([b"1"] * (MOST_VALUES + 50))
    with pytest.raises(
        BatchTooLargeError, match=r"more than 4 rows of 3 features can have.*--max-infer-rows"
    ) as refused:
        json_rows.document(writer, body)
    assert refused.value.details["values"] > MOST_VALUES
    few = b'{"instances": [[%b]]}' % b",".join([b"1"] * (MOST_VALUES - 50))
    assert bytes(json_rows.document(writer, few)) == few


@pytest.mark.parametrize("body", [b"[]", b"1", b'"text"', b"null"])
def test_a_body_that_is_no_object_is_refused(writer, body):
    with pytest.raises(InvalidRequestError, match="the body must be an object"):
        json_rows.rows_of_form(writer, body, FORMS, "parameters")


NESTED = b'[{"a":[1,{}],"b":"],}"}, [ ] ]'


@pytest.mark.parametrize("item", [b"[]", b"{}", b"null", b'"],\\","', NESTED])
def test_very_many_items_are_counted_before_they_are_decoded(item):
    writer = RowWriter(NUMBERS, 10_000, "--max-infer-rows")
    items = b", ".join([item] * 300_000)
    rows = msgspec.Raw(b" [%b]" % items)
    by_column = msgspec.Raw(b'{"a": {%b}}' % items.replace(item, b'"k":1')) if item == b"[]" else None
    split = msgspec.Raw(b'{"data": [%b]}' % items)
    readers = {
        json_rows.rows_of_list: rows,
        json_rows.rows_of_records: rows,
        json_rows.rows_of_instances: rows,
        json_rows.rows_or_columns: by_column or rows,
        rows_of_split: split,
    }
    for read, body in readers.items():
        with pytest.raises(BatchTooLargeError, match="the body holds 10001 or more rows, more than 10000; send"):
            read(writer, body, "rows")


def test_a_count_is_exact_where_few_items_are_too_many():
    assert not has_more_items(msgspec.Raw(b"[%b]" % b",".join([b"1"] * 90_000)), 10, 3)
    wide = msgspec.Raw(b"[%b]" % b",".join([b"[1,2,3,4]"] * 60_000))
    assert not has_more_items(wide, 60_000, 4)
    assert not has_more_items(wide, 60_000, 3), "so many rows are allowed, of more values than features"
    assert has_more_items(wide, 59_999, 3)


def test_a_body_that_is_not_json_is_refused(writer):
    with pytest.raises(MalformedRequestError):
        json_rows.rows_of_form(writer, b'{"instances": [', FORMS, "parameters")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"instances": [], "rows": []}, 'unknown member "rows".*"instances" or "inputs"'),
        ({}, "it has none of them"),
        ({"instances": [], "inputs": []}, "it has instances and inputs"),
    ],
)
def test_exactly_one_member_holds_the_rows(writer, members, message):
    with pytest.raises(InvalidRequestError, match=message.replace('"', "['\"]")):
        json_rows.rows_of_form(writer, msgspec.json.encode(members), FORMS, "parameters")


def test_parameters_are_refused_unless_empty(writer):
    for value in (b"null", b"{ }"):
        body = b'{"instances": [[1, 2, 3]], "parameters": %b}' % value
        assert len(json_rows.rows_of_form(writer, body, FORMS, "parameters")) == 1
    with pytest.raises(InvalidRequestError, match="the model has no parameters"):
        json_rows.rows_of_form(
            writer, b'{"instances": [[1, 2, 3]], "parameters": {"threshold": 1}}', FORMS, "parameters"
        )


def test_other_members_may_have_any_value(writer):
    body = b'{"instances": [[1, 2, 3]], "signature_name": "serving_default"}'
    assert len(json_rows.rows_of_form(writer, body, FORMS, "parameters", "signature_name")) == 1
