"""Schemas, bodies and what parsers make of them, drawn by hypothesis: canonical bodies, right and wrong."""

from __future__ import annotations

import json
import struct

import hypothesis.strategies as st
from msgspec.structs import replace

from mlrf.core.category_hash import category_hash
from mlrf.core.errors import RequestError
from mlrf.core.feature import CategoryHashing, Feature, Kind
from mlrf.core.leniency import Leniency
from mlrf.core.schema import Schema
from mlrf.features.entity_key import EntityKey, KeyField, KeyType
from mlrf.serving.lookup.by_key import ByKey
from mlrf.serving.native.fast_parser import RowDecoder

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


def values_of(feature):
    """Values that a feature takes by name."""
    match feature.kind:
        case Kind.BOOLEAN:
            values = st.booleans()
        case Kind.NUMERIC:
            values = st.floats(allow_nan=False, allow_infinity=False)
        case Kind.CATEGORICAL if feature.categories is not None:
            values = st.sampled_from(feature.categories) if feature.categories else st.nothing()
        case _:
            values = st.integers(-99, 99)
    return st.one_of(values, st.none()) if feature.nullable else values


@st.composite
def features(draw, name):
    kind = draw(st.sampled_from(Kind))
    listed = tuple(draw(categories)) if kind is Kind.CATEGORICAL and draw(st.booleans()) else None
    hashing = None
    if listed is not None and draw(st.booleans()):
        known = tuple(sorted(category_hash(text) for text in draw(st.sets(st.sampled_from("abcdef01")))))
        hashing = CategoryHashing(known, draw(st.booleans()))
    feature = Feature(name, kind, listed, nullable=draw(st.booleans()), hashing=hashing)
    if draw(st.integers(0, 3)) or (listed == () and not feature.nullable):
        return feature
    return replace(feature, optional=True, default=draw(values_of(feature)))


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
    if not by_code:
        gone = {f.name for f in schema.features if f.optional and draw(st.booleans())}
        members = [member for member in members if member[0] not in gone]
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


def complete_decoder(*args):
    """A decoder that has seen a natural body before."""
    decoder = RowDecoder(*args)
    decoder.complete()
    return decoder


def bits(row):
    return struct.pack(f"{len(row)}d", *[float("nan") if x is None else x for x in row])


def outcome(read):
    try:
        parsed = read()
    except RequestError as error:
        return type(error), error.details
    return [(comparable(row), type(explain), explain, returned) for row, explain, returned in parsed]


def comparable(row):
    if not isinstance(row, ByKey):
        return bits(row)
    overrides = sorted((row.overrides or {}).items())
    return row.key, [(i, bits([x])) for i, x in overrides], row.max_age_s, row.on_stale
