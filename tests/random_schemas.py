"""Random schemas, instances and JSON values, for Hypothesis."""

from __future__ import annotations

import math

import hypothesis.strategies as st

from mlrf.core.feature import Feature, Kind
from mlrf.core.schema import Schema

NAMES = st.text(min_size=1, max_size=5)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(-(1 << 53), 1 << 53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1.0, 2.0, 0.5]),
    st.text(max_size=2),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2), max_leaves=4
)
CATEGORIES = st.lists(
    st.one_of(st.text(max_size=2), st.integers(-3, 3), st.booleans(), st.sampled_from([0.5, 1.5])),
    min_size=1,
    max_size=4,
    unique_by=lambda c: (isinstance(c, bool), c),
)


RANGES = st.sampled_from(
    [(-math.inf, math.inf), (-math.inf, math.inf), (-1.0, math.inf), (5e-324, 2.0), (-math.inf, -0.5), (0.0, 0.0)]
)
"""Least and greatest number of a numeric feature."""


@st.composite
def features(draw, name):
    kind = draw(st.sampled_from(Kind))
    listed = tuple(draw(CATEGORIES)) if kind is Kind.CATEGORICAL and draw(st.booleans()) else None
    least, most = draw(RANGES) if kind is Kind.NUMERIC else (-math.inf, math.inf)
    return Feature(name, kind, listed, nullable=draw(st.booleans()), least=least, most=most)


@st.composite
def schemas(draw):
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    return Schema(tuple(draw(features(name)) for name in names))


@st.composite
def right_values(draw, feature):
    if feature.nullable and draw(st.integers(0, 4)) == 0:
        return None
    match feature.kind:
        case Kind.BOOLEAN:
            return draw(st.booleans())
        case Kind.NUMERIC:
            return draw(st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(1 << 53), 1 << 53)))
        case Kind.CATEGORICAL if feature.categories is not None:
            return draw(st.sampled_from(feature.categories))
    return draw(st.one_of(st.integers(-(1 << 53), 1 << 53), st.integers(-9, 9).map(float)))


@st.composite
def instances(draw, schema):
    """An instance that is right, or wrong in some way."""
    instance = {f.name: draw(right_values(f)) for f in schema.features}
    match draw(st.integers(0, 5)):
        case 0:
            instance[draw(st.sampled_from(schema.names))] = draw(VALUES)
        case 1:
            del instance[draw(st.sampled_from(schema.names))]
        case 2:
            instance[draw(NAMES)] = draw(VALUES)
    return instance
