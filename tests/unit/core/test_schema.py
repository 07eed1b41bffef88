"""Valid instances, their rows, and the errors of everything else."""

from __future__ import annotations

import json
import math
import struct

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from bundles import ALL_KINDS
from examples import examples
from mlrf.core.errors import (
    BundleError,
    FeatureCountError,
    InvalidFeatureError,
    InvalidRequestError,
    MissingFeatureError,
    UnknownCategoryError,
    UnknownFeatureError,
)
from mlrf.core.feature import CategoryHashing, Feature, Kind
from mlrf.core.json_schema import from_json_schema, to_json_schema
from mlrf.core.leniency import Leniency
from mlrf.core.schema import Schema
from random_schemas import instances, schemas

EXAMPLE = ALL_KINDS.example()
ROW = [9.5, 3.0, 1.0, 1.0, 1.0, 7.0, 0.25]


def bits(row):
    return struct.pack(f"{len(row)}d", *row)


def test_an_instance_by_name_or_position_is_a_row():
    assert ALL_KINDS.row(EXAMPLE) == ROW
    assert ALL_KINDS.row(dict(reversed(EXAMPLE.items()))) == ROW
    assert ALL_KINDS.row([9.5, 3, True, 1, 1, 7, 0.25]) == ROW


@pytest.mark.parametrize("zero", [-0.0, 0.0, 0])
def test_an_integer_has_no_minus_zero(zero):
    for instance in (EXAMPLE | {"count": zero, "code": zero}, [9.5, zero, True, zero, 1, zero, 0.25]):
        row = ALL_KINDS.row(instance)
        assert [math.copysign(1.0, row[index]) for index in (1, 5)] == [1.0, 1.0]
    assert math.copysign(1.0, ALL_KINDS.row(EXAMPLE | {"price": -0.0})[0]) == -1.0


def test_null_is_nan_for_every_kind_that_may_be_missing():
    row = ALL_KINDS.row(EXAMPLE | dict.fromkeys(ALL_KINDS.names[:-1]))
    assert all(map(math.isnan, row[:-1]))


def test_integral_floats_are_integers_and_integers_are_numbers():
    assert ALL_KINDS.row(EXAMPLE | {"price": 2, "count": 3.0, "size": 20.0, "code": 7.0}) == [2.0, *ROW[1:]]


@pytest.mark.parametrize("name", ALL_KINDS.names)
def test_every_kind_refuses_invalid_values(name):
    wrong = {
        "price": ["1", True, [], {}, 10**400, math.inf, math.nan],
        "count": [1.5, "1", True, [], math.inf, 10**400],
        "promo": [0, 1, "true", [], 1.0],
        "store": [None.__class__, [], {}],
        "size": [[], {}],
        "code": [0.5, "7", False, []],
        "depth": [None, "deep"],
    }[name]
    for value in wrong:
        with pytest.raises(InvalidFeatureError) as refused:
            ALL_KINDS.row(EXAMPLE | {name: value})
        assert refused.value.details["feature"] == name
        assert set(refused.value.details) == {"feature", "value", "expected"}
        assert repr(name) in str(refused.value)
        json.dumps(refused.value.details, allow_nan=False)


@pytest.mark.parametrize(
    ("name", "value"),
    [("store", "west"), ("store", 1), ("size", 11), ("size", "10"), ("size", True), ("size", 10.5), ("store", "")],
)
def test_a_category_that_is_not_listed_is_refused_or_missing(name, value):
    with pytest.raises(UnknownCategoryError) as refused:
        ALL_KINDS.row(EXAMPLE | {name: value})
    assert refused.value.details == {"feature": name, "value": value}
    assert "null for missing" in str(refused.value)
    row = ALL_KINDS.row(EXAMPLE | {name: value}, Leniency(unknown_categories="missing"))
    assert math.isnan(row[ALL_KINDS.names.index(name)])


@pytest.mark.parametrize("code", [-1, 3, 2**60, -0.0 - 1])
def test_a_code_outside_the_list_is_refused_or_missing(code):
    values = [9.5, 3, True, code, 1, 7, 0.25]
    with pytest.raises(UnknownCategoryError, match="codes 0 to 2"):
        ALL_KINDS.row(values)
    assert math.isnan(ALL_KINDS.row(values, Leniency(unknown_categories="missing"))[3])


def test_true_and_one_are_two_categories():
    schema = Schema((Feature("a", Kind.CATEGORICAL, (True, 1, "1", False)),))
    assert [schema.row({"a": value})[0] for value in (True, 1, "1", False, 1.0)] == [0, 1, 2, 3, 1]
    with pytest.raises(UnknownCategoryError):
        schema.row({"a": 0})


@pytest.mark.parametrize("value", [0, -1.5, 4, 1e300])
def test_a_number_outside_the_range_is_refused(value):
    schema = Schema((Feature("a", least=5e-324, most=3.0),))
    assert schema.row({"a": 3}) == [3.0]
    expected = "a number of at least 5e-324 and of at most 3.0"
    with pytest.raises(InvalidFeatureError, match=f"feature 'a': expected {expected}"):
        schema.row({"a": value})


def test_missing_features_are_named():
    with pytest.raises(MissingFeatureError) as refused:
        ALL_KINDS.row({"price": 1, "count": 1, "promo": True, "store": "north"})
    assert refused.value.details == {"feature": "size", "missing": ["size", "code", "depth"]}


def test_unknown_features_are_named_or_ignored():
    with pytest.raises(UnknownFeatureError) as refused:
        ALL_KINDS.row(EXAMPLE | {"colour": 1, "x" * 500: 2})
    assert refused.value.details["feature"] == "colour"
    assert len(refused.value.details["unknown"][1]) == 80
    assert ALL_KINDS.row(EXAMPLE | {"colour": 1}, Leniency(unknown_features="ignore")) == ROW


def test_missing_feature_is_reported_before_unknown_one():
    with pytest.raises(MissingFeatureError, match="depth"):
        ALL_KINDS.row({name: value for name, value in EXAMPLE.items() if name != "depth"} | {"depht": 1})


@pytest.mark.parametrize("n", [0, 6, 8, 1000])
def test_a_wrong_number_of_values_is_refused(n):
    with pytest.raises(FeatureCountError) as refused:
        ALL_KINDS.row([1] * n)
    assert refused.value.details == {"expected": 7, "got": n}


@pytest.mark.parametrize("instance", [None, 1, "price", b"price", True, 1.5])
def test_non_instances_are_refused(instance):
    with pytest.raises(InvalidRequestError, match="object of names and values or an array"):
        ALL_KINDS.row(instance)


def test_values_from_outside_are_shown_at_bounded_length():
    with pytest.raises(UnknownCategoryError) as refused:
        ALL_KINDS.row(EXAMPLE | {"store": "w" * 10**6})
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Schema(()), "at least one"),
        (lambda: Schema((Feature("a"), Feature("b"), Feature("a"))), "'a'"),
        (lambda: Feature(""), "needs a name"),
        (lambda: Feature("a", Kind.NUMERIC, (1,)), "cannot have categories"),
        (lambda: Feature("a", Kind.CATEGORICAL, ("x", "x")), "twice"),
        (lambda: Feature("a", Kind.CATEGORICAL, (1, 1.0)), "twice"),
        (lambda: Feature("a", least=1.0, most=0.0), "range 1.0 to 0.0"),
        (lambda: Feature("a", Kind.BOOLEAN, least=1.0), "is boolean and cannot have the range"),
        (lambda: Feature("a", Kind.CATEGORICAL, hashing=CategoryHashing()), "has no list of them"),
    ],
)
def test_a_schema_that_means_nothing_cannot_be_made(make, reason):
    with pytest.raises(ValueError, match=reason):
        make()


def test_canonical_instance_has_schema_order_and_json_types():
    assert ALL_KINDS.instance(ROW) == EXAMPLE
    assert list(ALL_KINDS.instance(ROW)) == list(ALL_KINDS.names)
    with pytest.raises(ValueError, match="'store'"):
        ALL_KINDS.instance([*ROW[:3], 3.0, *ROW[4:]])


@settings(max_examples=examples(200))
@given(st.data(), schemas())
def test_a_row_and_its_canonical_instance_are_the_same(data, schema):
    instance = data.draw(instances(schema))
    try:
        row = schema.row(instance)
    except InvalidRequestError:
        return
    canonical = schema.instance(row)
    assert bits(schema.row(canonical)) == bits(row)
    assert schema.instance(schema.row(canonical)) == canonical
    assert bits(schema.row(json.loads(json.dumps(canonical)))) == bits(row)


@given(schemas())
def test_json_schema_round_trips_the_schema(schema):
    document = json.loads(json.dumps(to_json_schema(schema)))
    Draft202012Validator.check_schema(document)
    assert from_json_schema(document) == schema


@settings(max_examples=examples(300))
@given(st.data(), schemas())
def test_json_schema_and_schema_agree(data, schema):
    instance = data.draw(instances(schema))
    try:
        schema.row(instance)
        is_right = True
    except InvalidRequestError:
        is_right = False
    assert Draft202012Validator(to_json_schema(schema)).is_valid(instance) == is_right


@given(schemas())
def test_the_example_is_an_instance(schema):
    schema.row(schema.example())


def test_a_list_without_a_category_still_has_an_example():
    schema = Schema((Feature("a", Kind.CATEGORICAL, ()),))
    assert math.isnan(schema.row(schema.example())[0])


def broken(**changes):
    return to_json_schema(ALL_KINDS) | changes


@pytest.mark.parametrize(
    "document",
    [
        None, [], 1, "x", {}, broken(**{"x-mlrf-order": None}), broken(**{"x-mlrf-order": ["price"]}), broken(properties=[]),
        broken(**{"x-mlrf-order": []}, properties={}), broken(**{"x-mlrf-order": ["a"]}, properties={"a": 1}),
        broken(**{"x-mlrf-order": ["a"]}, properties={"a": {}}),
        broken(**{"x-mlrf-order": ["a"]}, properties={"a": {"x-mlrf-kind": "weight", "type": ["number"]}}),
        broken(**{"x-mlrf-order": ["a"]}, properties={"a": {"x-mlrf-kind": "numeric"}}),
        broken(**{"x-mlrf-order": ["a"]}, properties={"a": {"x-mlrf-kind": "numeric", "type": 3}}),
        broken(**{"x-mlrf-order": ["a"]}, properties={"a": {"x-mlrf-kind": "categorical", "enum": 3}}),
        broken(**{"x-mlrf-order": ["a"]}, properties={"a": {"x-mlrf-kind": "categorical", "enum": [[1]]}}),
        broken(**{"x-mlrf-order": ["a"]}, properties={"a": {"x-mlrf-kind": "categorical", "enum": ["x", "x"]}}),
        broken(**{"x-mlrf-order": ["a"]}, properties={"a": {"x-mlrf-kind": "numeric", "type": ["number"], "examples": []}}),
        broken(**{"x-mlrf-order": ["a"]}, properties={"a": {"x-mlrf-kind": "numeric", "type": ["number"], "examples": ["x"]}}),
        broken(**{"x-mlrf-order": ["a"]}, properties={"a": {"x-mlrf-kind": "numeric", "type": ["number"], "examples": {}}}),
        broken(**{"x-mlrf-order": ["", "a"]}, properties={"": {"x-mlrf-kind": "numeric", "type": []}, "a": {}}),
    ],
)  # fmt: skip
def test_foreign_schema_document_names_the_file(document):
    with pytest.raises(BundleError, match=r"schema\.json") as refused:
        from_json_schema(document)
    assert refused.value.details["file"] == "schema.json"
