"""The rule for infinities in a schema, a column and a document."""

from __future__ import annotations

import itertools
import json
import math

import msgspec
import numpy as np
import pytest

from mlrf.core import json_infinities
from mlrf.core.column_rules import rule_of
from mlrf.core.errors import BundleError, InvalidFeatureError
from mlrf.core.feature import Feature, Kind
from mlrf.core.infinities import (
    LARGEST_FLOAT32,
    REFUSED,
    Infinities,
    OnInfinity,
    describe_infinities,
    read_infinities,
)
from mlrf.core.json_schema import from_json_schema, to_json_schema
from mlrf.core.schema import Schema

RULES = [Infinities(*each) for each in itertools.product(OnInfinity, OnInfinity, (False, True))]
NUMBERS = [0.0, 1e300, -1e300, LARGEST_FLOAT32, math.nextafter(LARGEST_FLOAT32, math.inf), -1e39, math.inf, -math.inf]


def test_largest_float32_bound_is_where_rounding_gives_inf():
    with np.errstate(over="ignore"):
        assert np.isfinite(np.float32(LARGEST_FLOAT32))
        assert np.isinf(np.float32(math.nextafter(LARGEST_FLOAT32, math.inf)))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_rule_is_read_back_from_schema_and_description(rule):
    assert read_infinities(describe_infinities(rule)) == rule
    schema = Schema((Feature("x", infinities=rule), Feature("n", Kind.INTEGER, infinities=rule)))
    assert from_json_schema(json.loads(json.dumps(to_json_schema(schema)))) == schema


def test_a_schema_states_the_rule_of_most_numbers_once():
    number, missing = (
        Infinities(OnInfinity.NUMBER, OnInfinity.NUMBER),
        Infinities(OnInfinity.MISSING, OnInfinity.MISSING),
    )
    plain = [Feature(f"x{i}", infinities=number) for i in range(9)]
    others = [
        Feature("m", infinities=missing),
        Feature("r"),
        Feature("b", Kind.BOOLEAN),
        Feature("c", Kind.CATEGORICAL, ("a",)),
    ]
    schema = Schema((*plain, *others))
    document = json.loads(json.dumps(to_json_schema(schema)))
    own = {name: each.get("x-mlrf-infinities") for name, each in document["properties"].items()}
    assert document["x-mlrf-infinities"] == "number"
    assert own == dict.fromkeys([f.name for f in plain]) | {"m": "missing", "r": "refused", "b": None, "c": None}
    assert from_json_schema(document) == schema


def test_a_schema_with_a_rule_for_each_feature_is_still_read():
    number = Infinities(OnInfinity.NUMBER, OnInfinity.NUMBER)
    document = to_json_schema(Schema((Feature("x", infinities=number), Feature("y", infinities=number))))
    document["properties"]["x"]["x-mlrf-infinities"] = document.pop("x-mlrf-infinities")
    assert [f.infinities for f in from_json_schema(document).features] == [number, REFUSED]


@pytest.mark.parametrize("rule", ["sometimes", "", 3, True, [], {}])
def test_a_rule_that_is_none_is_refused(rule):
    document = to_json_schema(Schema((Feature("x"),)))
    with pytest.raises(BundleError, match="not a schema that mlrf wrote"):
        from_json_schema(document | {"x-mlrf-infinities": rule})
    document["properties"]["x"]["x-mlrf-infinities"] = rule
    with pytest.raises(BundleError, match="not a schema that mlrf wrote"):
        from_json_schema(document)


def test_schema_without_rule_refuses_infinities_only():
    document = to_json_schema(Schema((Feature("x"),)))
    assert "x-mlrf-infinities" not in document
    assert "x-mlrf-infinities" not in document["properties"]["x"]
    assert from_json_schema(document).features[0].infinities == REFUSED


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("kind", [Kind.NUMERIC, Kind.INTEGER])
def test_columns_admit_what_single_values_are_kept_as(rule, kind):
    feature = Feature("x", kind, infinities=rule)
    schema = Schema((feature,))
    for number in NUMBERS:
        try:
            kept = schema.number(0, number)
        except InvalidFeatureError as error:
            kept = None
            assert "within the range of" in str(error)
        admitted = rule_of(feature).admits(number)
        assert admitted == (kept == number), number


def test_missing_is_refused_where_nothing_may_be_missing():
    rule = Infinities(OnInfinity.MISSING, OnInfinity.MISSING)
    assert math.isnan(Schema((Feature("x", infinities=rule),)).number(0, math.inf))
    with pytest.raises(InvalidFeatureError, match="range of float64, got the number inf"):
        Schema((Feature("x", nullable=False, infinities=rule),)).number(0, math.inf)


def test_json_numbers_beyond_float64_are_infinities():
    assert json_infinities.decode(b'{"a": [1e999, -1e999, 1, 1.5, null]}') == {"a": [math.inf, -math.inf, 1, 1.5, None]}
    assert json_infinities.decode(b"[" + b"9" * 5000 + b", 1e999]") == [math.inf, math.inf]
    assert json_infinities.decode_documents(b'{"a": 1e999}\n{"a": 2}\n') == [{"a": math.inf}, {"a": 2}]
    for text in (b"NaN", b"[1e999, NaN]", b"[1e999", b"[1e999, \xff]"):
        with pytest.raises(msgspec.MsgspecError):
            json_infinities.decode(text)


def test_infinities_are_written_as_numbers_that_are_read_back():
    values = {"a": math.inf, "b": -math.inf, "c": 1.5, "d": "inf"}
    text = msgspec.json.encode(json_infinities.encoded_infinities(values))
    assert json_infinities.decode(text) == json.loads(text) == values
