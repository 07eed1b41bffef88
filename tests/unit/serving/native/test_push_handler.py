"""Rows of a push are read alike by the compiled decoder and by the rules of the schema."""

from __future__ import annotations

import json

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from examples import examples
from mlrf.core.errors import RequestError
from mlrf.core.feature import Feature, Kind
from mlrf.core.schema import Schema
from mlrf.features.entity_key import EntityKey, KeyField, KeyType
from mlrf.features.row_format import RowFormat
from mlrf.serving.native.push_handler import PushReader
from random_schemas import VALUES, instances, schemas

KEY = EntityKey((KeyField("id!", KeyType.INTEGER), KeyField("day!", KeyType.DATE)))
KEYS = st.fixed_dictionaries(
    {"id!": st.integers(-9, 9) | st.just(2.0) | VALUES, "day!": st.just("2026-01-31") | VALUES}
)
TIMES = st.sampled_from(["2026-01-31T06:00:00Z", "2026-01-31", "2026-01-31T06:00:00.25+02:00", "soon", None, 5])


@st.composite
def pushes(draw):
    schema = draw(schemas())
    documents = []
    for _ in range(draw(st.integers(1, 3))):
        document = {"key": draw(KEYS), "features": draw(instances(schema))}
        if draw(st.booleans()):
            document["as_of"] = draw(TIMES)
        documents.append(document)
    members = {"rows": documents}
    if draw(st.booleans()):
        members["partial"] = draw(st.booleans())
    return RowFormat(schema, KEY), json.dumps(members).encode()


def outcome(reader, body):
    try:
        return reader.rows(body)
    except RequestError as error:
        return type(error), str(error), error.details


def strict(rows):
    reader = PushReader(rows)
    reader._quickly = None
    return reader


@settings(max_examples=examples(200))
@given(pushes())
def test_a_push_is_read_the_same_both_ways(push):
    rows, body = push
    assert outcome(PushReader(rows), body) == outcome(strict(rows), body)


ODD = ["0", "-0", "-0.0", "12.0", "1.5", "1e2", "1e999", "9007199254740993", "9007199254740993.0", "18446744073709551616",
       "1" * 400, "5e-324", "true", "false", "null", '"a"', '"\\u0061"', '"12"', "[]", "{}"]  # fmt: skip
EVERY_KIND = Schema(
    (
        Feature("a"),
        Feature("b", Kind.INTEGER, nullable=False),
        Feature("c", Kind.BOOLEAN),
        Feature("d", Kind.CATEGORICAL),
        Feature("e", Kind.CATEGORICAL, ("a", "")),
        Feature("f", Kind.CATEGORICAL, (0, 1, 12)),
    )
)


@pytest.mark.parametrize("name", EVERY_KIND.names)
def test_odd_values_are_judged_the_same_both_ways(name):
    rows = RowFormat(EVERY_KIND, KEY)
    for literal in ODD:
        members = dict.fromkeys(EVERY_KIND.names, "null") | {"b": "1"} | {name: literal}
        named = "{" + ",".join(f'"{key}":{value}' for key, value in members.items()) + "}"
        body = f'{{"rows":[{{"key":{{"id!":1,"day!":"2026-01-31"}},"features":{named}}}]}}'.encode()
        assert outcome(PushReader(rows), body) == outcome(strict(rows), body), literal


def test_a_key_field_that_is_a_feature_is_never_contradicted():
    rows = RowFormat(Schema((Feature("id"), Feature("x"))), EntityKey((KeyField("id", KeyType.INTEGER),)))
    left_out = b'{"rows":[{"key":{"id":3},"features":{"x":1}}]}'
    repeated = b'{"rows":[{"key":{"id":3},"features":{"id":3.0,"x":1}}]}'
    assert PushReader(rows).rows(left_out) == PushReader(rows).rows(repeated)
    refused = outcome(PushReader(rows), b'{"rows":[{"key":{"id":3},"features":{"id":4,"x":1}}]}')
    assert refused[2] == {"index": 0, "field": "id"}
