"""The fast parser and the strict parser give the same row, bit for bit, or the same error."""

from __future__ import annotations

import json

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings

from examples import examples
from mlrf.core.errors import BatchTooLargeError, InvalidFeatureError, UnknownCategoryError
from mlrf.core.feature import Feature, Kind
from mlrf.core.leniency import Leniency
from mlrf.core.schema import Schema
from mlrf.serving.native.fast_parser import RowDecoder
from mlrf.serving.native.strict_parser import StrictParser
from request_bodies import MAX_INSTANCES, bits, cases, complete_decoder, outcome, schemas


@settings(max_examples=examples(400))
@given(cases())
def test_one_instance_is_read_the_same_both_ways(case):
    read, (text, *_), _ = case
    decoder, body = complete_decoder(*read), text.encode()
    assert outcome(lambda: [decoder.row(body)]) == outcome(lambda: [StrictParser(*read).row(body)])


@settings(max_examples=examples(200))
@given(cases())
def test_a_batch_is_read_the_same_both_ways(case):
    read, texts, more = case
    text = '{"instances": [' + ",".join(texts) + "]" + "".join(", " + member for member in more) + "}"
    decoder, body = complete_decoder(*read), text.encode()
    expected = outcome(lambda: StrictParser(*read).rows(body))
    assert outcome(lambda: decoder.rows(body)) == expected


@settings(max_examples=examples(200))
@given(cases(), st.data())
def test_a_plain_batch_is_read_as_the_strict_parser_reads_it(case, data):
    (schema, *others), texts, more = case
    if data.draw(st.booleans()):
        texts = [json.dumps({"features": [plain_value(f, data) for f in schema.features]}) for _ in texts]
    text = '{"instances": [' + ",".join(texts) + "]" + "".join(", " + member for member in more) + "}"
    batch = RowDecoder(schema, *others).plain_batch(text.encode())
    if batch is not None:
        rows, explain = zip(*[iter(batch.table)] * len(schema.features), strict=True), batch.explain
        expected = [(bits(row), type(explain), explain, None) for row in rows]
        assert outcome(lambda: StrictParser(schema, *others).rows(text.encode())) == expected


def plain_value(feature, data):
    kinds = {Kind.BOOLEAN: st.booleans(), Kind.NUMERIC: st.floats(allow_nan=False, allow_infinity=False)}
    value = kinds.get(feature.kind, st.integers(-2, 5))
    return data.draw(st.none() | value if feature.nullable else value)


def test_batches_of_common_clients_are_plain():
    schema = Schema((Feature("a b"), Feature("n", Kind.INTEGER), Feature("é", Kind.BOOLEAN)))
    decoder = RowDecoder(schema, Leniency(), MAX_INSTANCES)
    rows = [{"a b": 1.5, "n": 3, "é": True}, {"a b": None, "n": -1, "é": False}]
    for instances in ([{"features": row} for row in rows], [{"features": [*row.values()]} for row in rows]):
        body = json.dumps({"instances": instances}, ensure_ascii=False).encode()
        assert bits(decoder.plain_batch(body).table) == bits([1.5, 3.0, 1.0, None, -1.0, 0.0])


@pytest.mark.parametrize("explain", [False, True, 1, 10, 999999])
@pytest.mark.parametrize("body", ['{"instances": [%s], "explain": %s}', '{"explain": %s, "instances": [%s]}'])
def test_an_explained_batch_is_plain(body, explain):
    decoder = RowDecoder(Schema((Feature("a"),)), Leniency(), MAX_INSTANCES)
    parts = ('{"features": [1.5]}', json.dumps(explain))
    read = decoder.plain_batch((body % (parts if body.startswith('{"i') else parts[::-1])).encode())
    assert (bits(read.table), type(read.explain), read.explain) == (bits([1.5]), type(explain), explain)


@pytest.mark.parametrize("explain", ["0", "00", "01", "-1", "1.0", "1e2", "1000000", "null", "tru", '"true"', "{}", ""])
def test_another_value_of_explain_is_left_to_the_other_parsers(explain):
    decoder = RowDecoder(Schema((Feature("a"),)), Leniency(), MAX_INSTANCES)
    for body in (
        '{"instances": [{"features": [1.5]}], "explain": %s}',
        '{"explain": %s, "instances": [{"features": [1.5]}]}',
    ):
        assert decoder.plain_batch((body % explain).encode()) is None


def test_a_batch_with_an_option_twice_is_left_to_the_other_parsers():
    decoder = RowDecoder(Schema((Feature("a"),)), Leniency(), MAX_INSTANCES)
    assert decoder.plain_batch(b'{"explain": 1, "instances": [{"features": [1.5]}], "explain": 2}') is None


PLAIN = Schema((Feature("a"), Feature("b", Kind.CATEGORICAL, ("x", "y"))))


@given(st.binary(max_size=40), st.integers(0, 30), st.sampled_from(["refuse", "ignore"]))
@example(b'"\xff"', 0, "ignore")
def test_invalid_json_gets_the_same_error_from_both_parsers(noise, position, unknown):
    leniency = Leniency(unknown)
    whole = b'{"features": {"a": 1, "b": "x", "c": "y"}}'
    body = whole[:position] + noise + whole[position + len(noise) :]
    decoder = complete_decoder(PLAIN, leniency, MAX_INSTANCES)
    assert outcome(lambda: [decoder.row(body)]) == outcome(
        lambda: [StrictParser(PLAIN, leniency, MAX_INSTANCES).row(body)]
    )


@pytest.mark.parametrize(
    "inside",
    [b'"\xff"', b'"\\ud800"', b'"\\x"', b"1e999", b"[" * 5000 + b"]" * 5000, b"1" * 5000, b'{"\xff":1}', b'"\x01"'],
)
def test_ignored_feature_value_is_treated_alike_by_parsers(inside):
    leniency = Leniency("ignore")
    body = b'{"features": {"a": 1, "b": "x", "c": ' + inside + b"}}"
    decoder = complete_decoder(PLAIN, leniency, MAX_INSTANCES)
    assert outcome(lambda: [decoder.row(body)]) == outcome(
        lambda: [StrictParser(PLAIN, leniency, MAX_INSTANCES).row(body)]
    )


@pytest.mark.parametrize("zero", [b"-0", b"-0.0", b"-0e5", b"0"])
@pytest.mark.parametrize("body", [b'{"features": {"n": %b, "c": %b}}', b'{"features": [%b, %b]}'])
def test_an_integer_of_a_body_has_no_minus_zero(zero, body):
    schema = Schema((Feature("n", Kind.INTEGER), Feature("c", Kind.CATEGORICAL)))
    row = complete_decoder(schema, Leniency(), 1).row(body % (zero, zero))[0]
    assert bits(row) == bits([0.0, 0.0])


def test_a_category_of_an_empty_list_is_refused_either_way():
    schema = Schema((Feature("c", Kind.CATEGORICAL, categories=()),))
    for body in (b'{"features":[0]}', b'{"features":{"c":"a"}}'):
        for parser in (complete_decoder(schema, Leniency(), 1), StrictParser(schema, Leniency(), 1)):
            with pytest.raises(UnknownCategoryError, match="the model has none"):
                parser.row(body)


@given(schemas())
def test_the_example_of_any_schema_is_read(schema):
    if any(f.categories == () and not f.nullable for f in schema.features):
        return  # nothing is an instance of it
    body = json.dumps({"features": schema.example()}).encode()
    assert bits(complete_decoder(schema, Leniency(), 1).row(body)[0]) == bits(schema.row(schema.example()))


EVERY_KIND = Schema(
    (
        Feature("a"),
        Feature("b", Kind.INTEGER),
        Feature("c", Kind.BOOLEAN),
        Feature("d", Kind.CATEGORICAL),
        Feature("e", Kind.CATEGORICAL, ("a", "")),
        Feature("f", Kind.CATEGORICAL, (0, 1, 12)),
    )
)
ODD = [
    "0", "-0", "-0.0", "0.0", "12", "12.0", "1.5", "12e0", "1e2", "1e999", "-1e999", "1e-400", "5e-324", "2.2250738585072011e-308",
    "9007199254740993", "9007199254740993.0", "9223372036854775807", "9223372036854775808", "-9223372036854775809",
    "18446744073709551615", "18446744073709551616", "123456789012345678901234567890", "1" * 400, "1e308", "1.7976931348623159e308",
    "9007199254740992.9", "0.1000000000000000055511151231257827", "4503599627370497.5", "1E2", "1e+2", "1e22", "1e23",
    "true", "false", "null", '"a"', '""', '"\\u0061"', '"12"', "[]", "{}", "[1]", "NaN", "Infinity", "01", "+1", ".5", "1.", "1e", "-",
]  # fmt: skip


@pytest.mark.parametrize("name", EVERY_KIND.names)
@pytest.mark.parametrize("unknown_categories", ["refuse", "missing", "as-library"])
@pytest.mark.parametrize("natural", [False, True])
def test_odd_values_are_judged_the_same_both_ways(name, unknown_categories, natural):
    leniency = Leniency(unknown_categories=unknown_categories, natural=natural)
    decoder = complete_decoder(EVERY_KIND, leniency, 1)
    for literal in ODD:
        members = dict.fromkeys(EVERY_KIND.names, "null") | {name: literal}
        named = "{" + ",".join(f'"{key}":{value}' for key, value in members.items()) + "}"
        for inside in (named, "[" + ",".join(members.values()) + "]"):
            body = f'{{"features":{inside}}}'.encode()
            expected = outcome(lambda body=body: [StrictParser(EVERY_KIND, leniency, MAX_INSTANCES).row(body)])
            assert outcome(lambda body=body: [decoder.row(body)]) == expected, body


WHOLE = {
    "integers": (Feature("a", Kind.INTEGER), b"4.0", b"4"),
    "codes of a list": (Feature("a", Kind.CATEGORICAL, ("x", "y", "z")), b"2.0", b"2"),
    "codes without a list": (Feature("a", Kind.CATEGORICAL), b"2.0", b"2"),
    "booleans as floats": (Feature("a", Kind.BOOLEAN), b"1.0", b"true"),
    "booleans as integers": (Feature("a", Kind.BOOLEAN), b"0", b"false"),
}


@pytest.mark.parametrize(
    ("case", "named"),
    [(case, named) for case in WHOLE for named in (False, True) if case != "codes of a list" or not named],
)
def test_floats_of_data_frames_are_read_by_the_fast_decoder(case, named):
    feature, natural, canonical = WHOLE[case]
    decoder = complete_decoder(Schema((feature, Feature("b"))), Leniency(natural=True), 2)
    one = b'{"features":{"b":7,"\\u0061":%b}}' if named else b'{"features":[%b,7]}'
    (expected, *_) = decoder.fast_row(one % canonical)
    (row, *_) = decoder.fast_row(one % natural)
    assert bits(row) == bits(expected)
    many = decoder.fast_rows(b'{"instances":[%b,%b]}' % (one % natural, one % canonical))
    assert [bits(row) for row, *_ in many] == [bits(expected)] * 2


@pytest.mark.parametrize(
    ("kind", "wrong"), [("INTEGER", b"4.5"), ("BOOLEAN", b"0.5"), ("BOOLEAN", b"2"), ("BOOLEAN", b'"1"')]
)
def test_non_integer_and_non_boolean_numbers_are_refused(kind, wrong):
    decoder = complete_decoder(Schema((Feature("a", Kind[kind]),)), Leniency(natural=True), 1)
    for body in (b'{"features":[%b]}', b'{"features":{"a":%b}}'):
        with pytest.raises(InvalidFeatureError, match="'a'"):
            decoder.row(body % wrong)


@pytest.mark.parametrize("number", [b"0", b"1", b"1.0"])
def test_a_strict_server_refuses_numbers_for_booleans(number):
    decoder = complete_decoder(Schema((Feature("a", Kind.BOOLEAN),)), Leniency(), 1)
    with pytest.raises(InvalidFeatureError, match="expected true or false"):
        decoder.row(b'{"features":[%b]}' % number)


def test_very_many_instances_are_counted_before_they_are_decoded():
    body = b'{"instances":[%b]}' % b",".join([b"{}"] * 200_000)
    with pytest.raises(BatchTooLargeError, match="contains 10001 or more instances, more than 10000; send it in parts"):
        StrictParser(PLAIN, Leniency(), 10_000).rows(body)
