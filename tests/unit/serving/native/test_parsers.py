"""The fast decoder and the careful one give the same row, bit for bit, or the same refusal."""

from __future__ import annotations

import json
import struct

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings

from mlrf.core.category_hash import category_hash
from mlrf.core.errors import InvalidFeatureError, RequestError, UnknownCategoryError
from mlrf.core.feature import CategoryHashing, Feature, Kind
from mlrf.core.leniency import Leniency
from mlrf.core.schema import Schema
from mlrf.features.entity_key import EntityKey, KeyField, KeyType
from mlrf.serving.lookup.by_key import ByKey
from mlrf.serving.native.fast_parser import RowDecoder
from mlrf.serving.native.strict_parser import StrictParser

MAX_INSTANCES = 3

names = st.text(min_size=1, max_size=6).filter(lambda name: not any(0xD800 <= ord(c) < 0xE000 for c in name))
categories = st.one_of(
    st.lists(names, max_size=4, unique=True),
    st.lists(st.integers(-(1 << 63), (1 << 63) - 1), max_size=4, unique=True),
    st.lists(
        st.one_of(st.integers(0, 3), names, st.booleans(), st.just(0.5)),
        max_size=4,
        unique_by=lambda c: (isinstance(c, bool), c),
    ),
)


@st.composite
def features(draw, name):
    kind = draw(st.sampled_from(Kind))
    listed = tuple(draw(categories)) if kind is Kind.CATEGORICAL and draw(st.booleans()) else None
    hashing = None
    if listed is not None and draw(st.booleans()):
        known = tuple(sorted(category_hash(text) for text in draw(st.sets(st.sampled_from("abcdef01")))))
        hashing = CategoryHashing(known, draw(st.booleans()))
    return Feature(name, kind, listed, nullable=draw(st.booleans()), hashing=hashing)


@st.composite
def schemas(draw):
    named = draw(
        st.lists(st.one_of(names, st.sampled_from(["f0", "f1", "features", "a"])), min_size=1, max_size=5, unique=True)
    )
    return Schema(tuple(draw(features(name)) for name in named))


LITERALS = st.one_of(
    st.sampled_from(
        ["0", "-0", "-0.0", "1", "1.0", "1.5", "12e0", "1e2", "1e999", "-1e999", "1e-400", "5e-324", "2.2250738585072011e-308",
         "9007199254740993", "9007199254740993.0", "9223372036854775807", "9223372036854775808", "-9223372036854775809",
         "18446744073709551616", "1e22", "123456789012345678901234567890", "0.1e1", "1e308", "1.7976931348623159e308",
         "true", "false", "null", '"a"', '""', "[]", "{}", "[1]", "NaN", "Infinity", "01", "+1", ".5", "1.", '"\\ud800"', '"\\u0061"']
    ),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-10, 10).map(str),
    st.integers().map(str),
)  # fmt: skip


@st.composite
def right_literals(draw, feature, *, by_code):
    if feature.nullable and draw(st.integers(0, 5)) == 0:
        return "null"
    match feature.kind:
        case Kind.BOOLEAN:
            return draw(st.sampled_from(["true", "false", "0", "1", "1.0", "-0.0", "2"]))
        case Kind.NUMERIC:
            return draw(
                st.one_of(st.floats(allow_nan=False, allow_infinity=False).map(repr), st.integers(-5, 5).map(str))
            )
        case Kind.CATEGORICAL if feature.categories:
            if by_code:
                code = draw(st.integers(0, len(feature.categories) - 1))
                return draw(st.sampled_from([str(code), f"{code}.0", f"{code}e0"]))
            return json.dumps(draw(st.sampled_from(feature.categories)), ensure_ascii=draw(st.booleans()))
    return draw(st.one_of(st.integers(-(1 << 53), 1 << 53).map(str), st.integers(-99, 99).map(lambda i: f"{i}.0")))


EXPLAINS = [
    f', "explain": {value}' for value in ("true", "false", "3", "1", "0", "-1", "2.0", "null", '"all"', "9" * 12)
]


RIGHT_KEY_VALUES = {
    KeyType.STRING: st.one_of(names, st.just("")).map(json.dumps),
    KeyType.INTEGER: st.one_of(st.integers(-9, 9), st.integers(-(1 << 63), (1 << 63) - 1)).map(str)
    | st.sampled_from(["54.0", "-0", "-0.0", "1e3"]),
    KeyType.DATE: st.dates().map(lambda day: json.dumps(day.isoformat())),
    KeyType.BOOLEAN: st.sampled_from(["true", "false"]),
}


@st.composite
def entity_keys(draw):
    if draw(st.integers(0, 3)) == 0:
        return None
    named = draw(st.lists(st.one_of(names, st.just("a")), min_size=1, max_size=3, unique=True))
    return EntityKey(tuple(KeyField(name, draw(st.sampled_from(KeyType))) for name in named))


MORE = [
    f'"{name}": {value}'
    for name, values in {
        "explain": ["true", "2", "0", "null"],
        "unknown_categories": ['"missing"', '"refuse"', '"as-library"', "1"],
        "return_features": ["true", "false", "1", "null"],
        "max_feature_age": ["1", "0.5", "1e999", "0", "-1", "true", "null", '"1"', "1" * 30, "1e-400"],
        "stale_features": ['"refuse"', '"flag"', '"x"', "null"],
    }.items()
    for value in values
]


@st.composite
def keyed_members(draw, schema, entity_key):
    """The members of an instance that says by key which row it wants, and what in that row is otherwise."""
    wrong = draw(st.integers(0, 2)) == 0
    fields = entity_key.fields if entity_key is not None else (KeyField("a", KeyType.INTEGER),)
    inside = [(f.name, draw(LITERALS if wrong and draw(st.booleans()) else RIGHT_KEY_VALUES[f.type])) for f in fields]
    if wrong and draw(st.booleans()):
        inside = inside[1:] if draw(st.booleans()) else [*inside, (draw(names), draw(LITERALS))]
    key = "{" + ",".join(f"{json.dumps(n)}:{v}" for n, v in draw(st.permutations(inside))) + "}"
    members = [f'"key": {draw(LITERALS) if wrong and draw(st.integers(0, 5)) == 0 else key}']
    if draw(st.booleans()):
        chosen = draw(st.lists(st.sampled_from(schema.features), unique=True))
        other = [(f.name, draw(LITERALS if wrong else right_literals(f, by_code=False))) for f in chosen]
        if wrong and draw(st.booleans()):
            other.append((draw(names), draw(LITERALS)))
        members.append('"overrides": {' + ",".join(f"{json.dumps(n)}:{v}" for n, v in other) + "}")
    if wrong and draw(st.integers(0, 3)) == 0:
        members.append('"features": [1]')
    return members


@st.composite
def instances(draw, schema, entity_key=None):
    if (entity_key is not None or draw(st.integers(0, 9)) == 0) and draw(st.booleans()):
        members = draw(keyed_members(schema, entity_key))
        members += draw(st.lists(st.sampled_from(MORE), max_size=3))
        return "{" + ", ".join(draw(st.permutations(members))) + "}"
    wrong = draw(st.integers(0, 3)) == 0
    by_code = draw(st.booleans())
    literals = [
        draw(LITERALS if wrong and draw(st.booleans()) else right_literals(f, by_code=by_code)) for f in schema.features
    ]
    members = list(zip(schema.names, literals, strict=True))
    if wrong and draw(st.booleans()):
        members = members[1:] if draw(st.booleans()) else [*members, (draw(names), draw(LITERALS))]
    if draw(st.integers(0, 4)) == 0:
        members = draw(st.permutations(members))
    space = draw(st.sampled_from(["", " ", "\n\t "]))
    if by_code:
        inside = "[" + ",".join(space + literal for _, literal in members) + "]"
    else:
        escaped = draw(st.booleans())
        inside = "{" + ",".join(json.dumps(n, ensure_ascii=escaped) + space + ":" + v for n, v in members) + "}"
    option = draw(
        st.sampled_from(
            [
                "",
                "",
                "",
                ', "unknown_categories": "missing"',
                ', "unknown_categories": "refuse"',
                ', "unknown_categories": "as-library"',
                ', "x": 1',
                *EXPLAINS,
            ]
        )
    )
    return f'{{"features":{space}{inside}{option}}}{space}'


@st.composite
def cases(draw):
    schema = draw(schemas())
    leniency = Leniency(
        draw(st.sampled_from(["refuse", "ignore"])),
        draw(st.sampled_from(["refuse", "missing"])),
        natural=draw(st.booleans()),
    )
    entity_key = draw(entity_keys())
    texts = draw(st.lists(instances(schema, entity_key), min_size=1, max_size=MAX_INSTANCES + 1))
    return (schema, leniency, MAX_INSTANCES, entity_key), texts, draw(st.lists(st.sampled_from(MORE), max_size=2))


def bits(row):
    return struct.pack(f"{len(row)}d", *[float("nan") if x is None else x for x in row])


def outcome(read):
    try:
        asked = read()
    except RequestError as error:
        return type(error), error.details
    return [(told(row), type(explain), explain, returned) for row, explain, returned in asked]


def told(row):
    if not isinstance(row, ByKey):
        return bits(row)
    overrides = sorted((row.overrides or {}).items())
    return row.key, [(i, bits([x])) for i, x in overrides], row.max_age_s, row.on_stale


@settings(max_examples=400)
@given(cases())
def test_one_instance_is_read_the_same_both_ways(case):
    read, (text, *_), _ = case
    decoder, body = RowDecoder(*read), text.encode()
    assert outcome(lambda: [decoder.row(body)]) == outcome(lambda: [StrictParser(*read).row(body)])


@settings(max_examples=200)
@given(cases())
def test_a_batch_is_read_the_same_both_ways(case):
    read, texts, more = case
    text = '{"instances": [' + ",".join(texts) + "]" + "".join(", " + member for member in more) + "}"
    decoder, body = RowDecoder(*read), text.encode()
    expected = outcome(lambda: StrictParser(*read).rows(body))
    assert outcome(lambda: decoder.rows(body)) == expected


PLAIN = Schema((Feature("a"), Feature("b", Kind.CATEGORICAL, ("x", "y"))))


@given(st.binary(max_size=40), st.integers(0, 30), st.sampled_from(["refuse", "ignore"]))
@example(b'"\xff"', 0, "ignore")
def test_bytes_that_are_no_json_are_refused_the_same_both_ways(noise, place, unknown):
    leniency = Leniency(unknown)
    whole = b'{"features": {"a": 1, "b": "x", "c": "y"}}'
    body = whole[:place] + noise + whole[place + len(noise) :]
    decoder = RowDecoder(PLAIN, leniency, MAX_INSTANCES)
    assert outcome(lambda: [decoder.row(body)]) == outcome(
        lambda: [StrictParser(PLAIN, leniency, MAX_INSTANCES).row(body)]
    )


@pytest.mark.parametrize(
    "inside",
    [b'"\xff"', b'"\\ud800"', b'"\\x"', b"1e999", b"[" * 5000 + b"]" * 5000, b"1" * 5000, b'{"\xff":1}', b'"\x01"'],
)
def test_what_stands_in_an_ignored_feature_is_judged_the_same_both_ways(inside):
    leniency = Leniency("ignore")
    body = b'{"features": {"a": 1, "b": "x", "c": ' + inside + b"}}"
    decoder = RowDecoder(PLAIN, leniency, MAX_INSTANCES)
    assert outcome(lambda: [decoder.row(body)]) == outcome(
        lambda: [StrictParser(PLAIN, leniency, MAX_INSTANCES).row(body)]
    )


@pytest.mark.parametrize("zero", [b"-0", b"-0.0", b"-0e5", b"0"])
@pytest.mark.parametrize("body", [b'{"features": {"n": %b, "c": %b}}', b'{"features": [%b, %b]}'])
def test_an_integer_of_a_body_has_no_minus_zero(zero, body):
    schema = Schema((Feature("n", Kind.INTEGER), Feature("c", Kind.CATEGORICAL)))
    row = RowDecoder(schema, Leniency(), 1).row(body % (zero, zero))[0]
    assert bits(row) == bits([0.0, 0.0])


def test_a_category_of_an_empty_list_is_refused_either_way():
    schema = Schema((Feature("c", Kind.CATEGORICAL, categories=()),))
    for body in (b'{"features":[0]}', b'{"features":{"c":"a"}}'):
        for parser in (RowDecoder(schema, Leniency(), 1), StrictParser(schema, Leniency(), 1)):
            with pytest.raises(UnknownCategoryError, match="the model knows none"):
                parser.row(body)


@given(schemas())
def test_the_example_of_any_schema_is_read(schema):
    if any(f.categories == () and not f.nullable for f in schema.features):
        return  # nothing is an instance of it
    body = json.dumps({"features": schema.example()}).encode()
    assert bits(RowDecoder(schema, Leniency(), 1).row(body)[0]) == bits(schema.row(schema.example()))


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
    decoder = RowDecoder(EVERY_KIND, leniency, 1)
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
    decoder = RowDecoder(Schema((feature, Feature("b"))), Leniency(natural=True), 2)
    one = b'{"features":{"b":7,"\\u0061":%b}}' if named else b'{"features":[%b,7]}'
    (expected, *_) = decoder.row_at_once(one % canonical)
    (row, *_) = decoder.row_at_once(one % natural)
    assert bits(row) == bits(expected)
    many = decoder.rows_at_once(b'{"instances":[%b,%b]}' % (one % natural, one % canonical))
    assert [bits(row) for row, *_ in many] == [bits(expected)] * 2


@pytest.mark.parametrize(
    ("kind", "wrong"), [("INTEGER", b"4.5"), ("BOOLEAN", b"0.5"), ("BOOLEAN", b"2"), ("BOOLEAN", b'"1"')]
)
def test_numbers_that_are_no_integer_or_boolean_are_refused(kind, wrong):
    decoder = RowDecoder(Schema((Feature("a", Kind[kind]),)), Leniency(natural=True), 1)
    for body in (b'{"features":[%b]}', b'{"features":{"a":%b}}'):
        with pytest.raises(InvalidFeatureError, match="'a'"):
            decoder.row(body % wrong)


@pytest.mark.parametrize("number", [b"0", b"1", b"1.0"])
def test_a_strict_server_refuses_numbers_for_booleans(number):
    decoder = RowDecoder(Schema((Feature("a", Kind.BOOLEAN),)), Leniency(), 1)
    with pytest.raises(InvalidFeatureError, match="expected true or false"):
        decoder.row(b'{"features":[%b]}' % number)
