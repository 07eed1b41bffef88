"""Natural forms of bodies: each means exactly what one canonical body means, to both parsers, and no canonical one changes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from examples import examples
from mlrf.core.errors import (
    BatchTooLargeError,
    EmptyBatchError,
    FeatureCountError,
    InvalidFeatureError,
    InvalidRequestError,
    MissingFeatureError,
    RequestError,
    UnknownCategoryError,
)
from mlrf.core.feature import Feature, Kind, has_ambiguous_codes
from mlrf.core.leniency import Leniency
from mlrf.core.reserved_names import RESERVED_NAMES
from mlrf.core.schema import Schema
from mlrf.serving.native.fast_parser import RowDecoder
from mlrf.serving.native.requests import FEATURES, Details
from mlrf.serving.native.strict_parser import StrictParser
from request_bodies import (
    LITERALS,
    MAX_INSTANCES,
    MORE,
    bits,
    cases,
    complete_decoder,
    outcome,
    right_literals,
    schemas,
)

NATURAL = Leniency(natural=True)
SHOP = Schema(
    (
        Feature("price"),
        Feature("items", Kind.INTEGER),
        Feature("promo", Kind.BOOLEAN),
        Feature("colour", Kind.CATEGORICAL, ("red", "green")),
        Feature("size", Kind.CATEGORICAL, (10, 12)),
    )
)
"""The codes of sizes could be sizes."""
NAMED = {"price": 3.5, "items": 4, "promo": True, "colour": "green", "size": 12}
CODED = [3.5, 4, True, 1, 1]
PLAIN = Schema(SHOP.features[:4])


def rows_of(body, schema=SHOP, leniency=NATURAL):
    """The rows that both parsers read, which must agree."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    decoder = complete_decoder(schema, leniency, MAX_INSTANCES)
    is_one = not text.lstrip().startswith(b"[[") and b"instances" not in text and b"data" not in text
    fast = [decoder.row(text)] if is_one else decoder.rows(text)
    strict = [decoder.strict_row(text)] if is_one else StrictParser(schema, leniency, MAX_INSTANCES).rows(text)
    assert [bits(row) for row, *_ in fast] == [bits(row) for row, *_ in strict]
    assert [each[1:] for each in fast] == [each[1:] for each in strict]
    return [bits(row) for row, *_ in fast]


EXPECTED = bits(SHOP.row(NAMED))
ONE = {
    "an object": NAMED,
    "an object of floats": {"price": 3.5, "items": 4.0, "promo": 1.0, "colour": "green", "size": 12.0},
    "an object in another order": dict(reversed(NAMED.items())),
    "names in an array": {"features": [3.5, 4, 1, "green", 1]},
    "all as floats": {"features": [3.5, 4.0, 1.0, 1.0, 1.0]},
}
MANY = {
    "objects": [NAMED, NAMED],
    "objects as instances": {"instances": [NAMED, NAMED]},
    "canonical instances in an array": [{"features": NAMED}, {"features": CODED}],
    "an object with a canonical instance": {"instances": [NAMED, {"features": CODED}]},
    "columns": {"columns": list(NAMED), "data": [list(NAMED.values())] * 2},
    "columns in another order": {"columns": list(reversed(NAMED)), "data": [list(reversed(NAMED.values()))] * 2},
    "columns with an index": {"columns": list(NAMED), "index": [0, 1], "data": [[3.5, 4.0, 1.0, "green", 12.0]] * 2},
    "names in arrays": {"instances": [{"features": [3.5, 4, 1, "green", 1]}] * 2},
}


@pytest.mark.parametrize("form", ONE)
def test_a_natural_body_is_read_as_the_canonical_one(form):
    body = json.dumps(ONE[form]).encode()
    assert rows_of(body) == [EXPECTED]
    assert complete_decoder(SHOP, NATURAL, 1).fast_row(body) is not None, "it takes the slow path"


@pytest.mark.parametrize("form", MANY)
def test_a_natural_batch_is_read_as_the_canonical_one(form):
    body = json.dumps(MANY[form]).encode()
    decoder = complete_decoder(SHOP, NATURAL, MAX_INSTANCES)
    assert [bits(row) for row, *_ in decoder.rows(body)] == [EXPECTED, EXPECTED]
    assert [bits(row) for row, *_ in decoder.strict_rows(body)] == [EXPECTED, EXPECTED]
    if "canonical" not in form:
        assert decoder.fast_rows(body) is not None, "it takes the slow path"


@pytest.mark.parametrize("row", [[3.5, 4, True, "green"], [3.5, 4.0, 1.0, 1.0], [3.5, 4, 1, 1]])
def test_a_bare_array_is_a_row(row):
    expected = bits(PLAIN.row([3.5, 4, True, 1]))
    assert rows_of(row, PLAIN) == [expected]
    assert rows_of([row, row], PLAIN) == [expected, expected]
    assert rows_of({"instances": [row, row]}, PLAIN) == [expected, expected]
    assert complete_decoder(PLAIN, NATURAL, 2).fast_row(json.dumps(row).encode()) is not None


def test_options_of_a_natural_batch_count():
    body = json.dumps(
        {"columns": list(NAMED), "data": [list(NAMED.values())], "explain": 2, "return_features": True}
    ).encode()
    decoder = complete_decoder(SHOP, NATURAL, 1)
    ((_, explain, returned),) = decoder.fast_rows(body)
    assert (explain, returned) == (2, FEATURES)
    ((_, explain, returned),) = decoder.strict_rows(body)
    assert (explain, returned) == (2, FEATURES)


def refused(body, schema=SHOP, leniency=NATURAL, *, many=False):
    decoder = complete_decoder(schema, leniency, MAX_INSTANCES)
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(RequestError) as caught:
        decoder.rows(text) if many else decoder.row(text)
    return caught.value


def test_several_rows_are_refused_with_the_route_for_them():
    assert "/predict/batch" in str(refused([CODED, CODED]))
    assert "/predict/batch" in str(refused([NAMED]))


def test_ambiguous_category_or_code_is_refused():
    error = refused([3.5, 4, True, 1, 12])
    assert isinstance(error, InvalidFeatureError)
    assert error.details["feature"] == "size"
    assert "could be a category or a category code" in str(error)
    assert refused([[3.5, 4, True, 1, 1]], many=True).details == {"feature": "size", "index": 0}


@pytest.mark.parametrize("word", sorted(RESERVED_NAMES))
def test_an_object_with_a_reserved_word_is_a_request(word):
    schema = Schema((Feature("price"), Feature(word)))
    error = refused({"price": 1.5, word: 2.5}, schema)
    assert word in str(error)
    assert bits(
        complete_decoder(schema, NATURAL, 1).row(b'{"features":{"price":1.5,"%b":2.5}}' % word.encode())[0]
    ) == bits([1.5, 2.5])


def test_unknown_feature_is_refused_with_the_remedy():
    assert 'did you mean {"features": {"price": …}}?' in str(refused({"price": 1.5, "explain": True}))
    error = refused({"price": 1.5, "prise": 1})
    assert error.details == {"field": "prise"}
    assert isinstance(refused({"price": 3.5}), MissingFeatureError)
    lenient = Leniency("ignore", natural=True)
    assert type(refused(NAMED | {"x": 1}, leniency=lenient)) is InvalidRequestError


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"columns": [*NAMED][:4], "data": [[1, 2, True, "red"]]}, MissingFeatureError),
        ({"columns": [*NAMED, "x"], "data": [[*NAMED.values(), 1]]}, RequestError),
        ({"columns": ["price", *NAMED], "data": [[1, *NAMED.values()]]}, InvalidRequestError),
        ({"columns": [*NAMED], "data": [[1]]}, FeatureCountError),
        ({"columns": [*NAMED], "data": []}, EmptyBatchError),
        ({"columns": [*NAMED], "data": [[*NAMED.values()]] * (MAX_INSTANCES + 1)}, BatchTooLargeError),
        ({"data": [CODED]}, InvalidRequestError),
        ({"columns": [*NAMED], "data": [[*NAMED.values()]], "instances": [NAMED]}, InvalidRequestError),
        ({"columns": [*NAMED], "data": 3}, InvalidRequestError),
        ([], EmptyBatchError),
        ([3.5, 4], InvalidRequestError),
        ([NAMED | {"colour": "blue"}], UnknownCategoryError),
    ],
)  # fmt: skip
def test_a_wrong_natural_batch_is_refused(body, kind):
    assert isinstance(refused(body, many=True), kind)


@pytest.mark.parametrize("body", [NAMED, CODED, {"features": [3.5, 4, True, "green", 1]}])
def test_a_strict_server_takes_canonical_bodies_alone(body):
    assert isinstance(refused(body, leniency=Leniency()), RequestError)
    assert isinstance(refused([body], leniency=Leniency(), many=True), RequestError)


@settings(max_examples=examples(150))
@given(cases())
def test_lenient_server_reads_strict_input_the_same(case):
    (schema, leniency, most, key), texts, more = case
    strict = Leniency(leniency.unknown_features, leniency.unknown_categories)
    natural = Leniency(leniency.unknown_features, leniency.unknown_categories, natural=True)
    batch = ('{"instances": [' + ",".join(texts) + "]" + "".join(", " + member for member in more) + "}").encode()
    for name, body in (("row", texts[0].encode()), ("rows", batch)):
        accepted = outcome(
            lambda name=name, body=body: as_list(getattr(complete_decoder(schema, strict, most, key), name)(body))
        )
        if isinstance(accepted, list):
            assert (
                outcome(
                    lambda name=name, body=body: as_list(
                        getattr(complete_decoder(schema, natural, most, key), name)(body)
                    )
                )
                == accepted
            )


def as_list(parsed):
    return parsed if isinstance(parsed, list) else [parsed]


@st.composite
def natural_cases(draw):
    """A schema, and a row as a canonical body and in every form that means the same; sometimes of wrong values."""
    schema = draw(schemas())
    wrong = draw(st.integers(0, 3)) == 0
    values = [
        draw(LITERALS if wrong and draw(st.booleans()) else right_literals(f, by_code=False)) for f in schema.features
    ]
    kept = [index for index, f in enumerate(schema.features) if not f.optional or draw(st.booleans())]
    named = "{" + ",".join(f"{json.dumps(schema.names[index])}:{values[index]}" for index in kept) + "}"
    order = draw(st.permutations(kept))
    columns = json.dumps([schema.names[index] for index in order])
    data = "[" + ",".join(values[index] for index in order) + "]"
    forms = {"split": f'{{"columns":{columns},"data":[{data}]}}'}
    if kept and RESERVED_NAMES.isdisjoint(schema.names):
        forms |= {"one": named, "array": f"[{named}]", "instances": f'{{"instances":[{named}]}}'}
    return schema, Leniency(natural=True), named, forms


@settings(max_examples=examples(200))
@given(natural_cases())
def test_every_natural_form_means_one_canonical_body(case):
    schema, leniency, named, forms = case
    decoder = complete_decoder(schema, leniency, MAX_INSTANCES)
    canonical = outcome(lambda: [decoder.row(f'{{"features":{named}}}'.encode())])
    for form, text in forms.items():
        body = text.encode()
        if form == "one":
            read, strictly = [lambda body=body: [decoder.row(body)], lambda body=body: [decoder.strict_row(body)]]
        else:
            read, strictly = [lambda body=body: decoder.rows(body), lambda body=body: decoder.strict_rows(body)]
        given_, strict = outcome(read), outcome(strictly)
        if isinstance(canonical, list):
            assert given_ == strict == canonical, form
        else:
            assert not isinstance(given_, list), form
            assert given_ == strict, form


@settings(max_examples=examples(150))
@given(st.data())
def test_bare_array_equals_the_canonical_array(data):
    schema = data.draw(schemas())
    wrong = data.draw(st.integers(0, 3)) == 0
    values = [
        data.draw(
            LITERALS if wrong and data.draw(st.booleans()) else st.one_of(right_literals(f, by_code=True), names_of(f))
        )
        for f in schema.features
    ]
    array = "[" + ",".join(values) + "]"
    decoder = complete_decoder(schema, Leniency(natural=True), MAX_INSTANCES)
    canonical = outcome(lambda: [decoder.row(f'{{"features":{array}}}'.encode())])
    given_, strict = (
        outcome(lambda: [decoder.row(array.encode())]),
        outcome(lambda: [decoder.strict_row(array.encode())]),
    )
    assert given_ == strict
    ambiguous = any(
        has_ambiguous_codes(f) and v.strip()[:1] in "-0123456789" for f, v in zip(schema.features, values, strict=True)
    )
    if isinstance(canonical, list) and not ambiguous:
        assert given_ == canonical
    else:
        assert not isinstance(given_, list)


def names_of(feature):
    named = [c for c in feature.categories or () if isinstance(c, str)]
    return st.sampled_from(named).map(json.dumps) if named else st.just("null")


def test_options_in_all_forms_are_checked():
    for member in MORE:
        body = ('{"columns":["price"],"data":[[1]],' + member + "}").encode()
        decoder = complete_decoder(Schema((Feature("price"),)), NATURAL, 1)
        assert outcome(lambda: decoder.rows(body)) == outcome(lambda: decoder.strict_rows(body))  # noqa: B023


def test_the_page_of_bodies_lists_every_reserved_word():
    page = (Path(__file__).parents[4] / "docs/reference/bodies.md").read_text()
    (line,) = [part for part in page.split("\n\n") if part.startswith("Reserved words:")]
    words = re.findall(r"`(\w+)`", line.partition(". A model")[0])
    assert sorted(words) == sorted(RESERVED_NAMES)


OPTIONAL = Schema(
    (
        Feature("price"),
        Feature("items", Kind.INTEGER, optional=True, default=3),
        Feature("colour", Kind.CATEGORICAL, ("red", "green"), optional=True, default="green"),
        Feature("promo", Kind.BOOLEAN, optional=True),
    )
)


@pytest.mark.parametrize("leniency", [Leniency(), NATURAL])
def test_absent_features_get_defaults_named_by_the_request(leniency):
    decoder = complete_decoder(OPTIONAL, leniency, 2)
    body = b'{"features":{"price":1.5,"promo":true}}'
    for parsed in (decoder.fast_row(body), decoder.strict_row(body)):
        assert bits(parsed[0]) == bits([1.5, 3.0, 1.0, 1.0])
        assert parsed[2] == Details(defaults={"items": 3, "colour": "green"})
    batch = b'{"instances":[{"features":{"price":1.5},"return_features":true},{"features":[1.5,3,1,null]}]}'
    for first, second in (decoder.rows(batch), decoder.strict_rows(batch)):
        assert bits(first[0]) == bits(second[0]) == bits([1.5, 3.0, 1.0, None])
        assert first[2] == Details(features=True, defaults={"items": 3, "colour": "green", "promo": None})
        assert second[2] is None
    assert isinstance(refused({"features": {"items": 1}}, OPTIONAL), MissingFeatureError)
    assert refused({"features": {"items": 1}}, OPTIONAL).details["missing"] == ["price"]


def test_a_bare_row_may_leave_optional_features_out():
    decoder = complete_decoder(OPTIONAL, NATURAL, 2)
    for parsed in (decoder.fast_row(b'{"price":1.5}'), decoder.strict_row(b'{"price":1.5}')):
        assert bits(parsed[0]) == bits([1.5, 3.0, 1.0, None])
        assert set(parsed[2].defaults) == {"items", "colour", "promo"}


def test_natural_decoders_are_compiled_lazily_if_cheap():
    decoder = RowDecoder(PLAIN, NATURAL, 1)
    canonical, natural = b'{"features":[1,2,true,0]}', b'[1,2,true,"red"]'
    assert decoder.is_incomplete
    assert decoder.fast_row(canonical) is not None
    assert decoder.is_incomplete
    assert decoder.fast_row(natural) is None
    assert bits(decoder.strict_row(natural)[0]) == bits([1, 2, 1, 0])
    assert not decoder.is_incomplete
    assert bits(decoder.fast_row(natural)[0]) == bits([1, 2, 1, 0])
    wide = RowDecoder(Schema(tuple(Feature(f"x{i}") for i in range(2001))), NATURAL, 1)
    assert not wide.is_incomplete
    assert not RowDecoder(PLAIN, Leniency(), 1).is_incomplete
