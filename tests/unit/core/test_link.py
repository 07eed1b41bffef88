"""Links compared with their formulas, where those can be computed, and beyond."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import pytest
from hypothesis import given

from mlrf.core.link import KINDS, Link

MARGINS = st.floats(allow_nan=False, allow_infinity=False)
TAME = st.floats(-700, 700)
FORMULAS = {
    "identity": lambda m: m,
    "sigmoid": lambda m: 1 / (1 + math.exp(-m)),
    "exp": math.exp,
    "expm1": math.expm1,
    "square": lambda m: m * m,
    "signed_square": lambda m: math.copysign(m * m, m),
    "log1p_exp": lambda m: math.log1p(math.exp(m)),
    "step": lambda m: float(m > 0),
    "clip": lambda m: sorted([0.0, m, 1.0])[1],
    "isolation": lambda m: -(2**-m) - 1,
}


@pytest.mark.parametrize("kind", FORMULAS)
@given(m=TAME)
def test_a_link_is_its_formula(kind, m):
    assert Link(kind).scalar()(m) == pytest.approx(FORMULAS[kind](m), rel=1e-15, abs=0)
    assert Link(kind).vector()([m, m]) == [Link(kind).scalar()(m)] * 2


@given(TAME, st.floats(0.1, 1))
def test_a_sigmoid_has_a_scale(m, scale):
    assert Link("sigmoid", scale).scalar()(m) == 1 / (1 + math.exp(-scale * m))
    assert Link("sigmoid_each", scale).vector()([m, -m]) == [1 / (1 + math.exp(-scale * x)) for x in (m, -m)]


def test_shares_divide_by_the_sum_and_are_zero_where_it_is():
    assert Link("shares").vector()([1.0, 3.0]) == [0.25, 0.75]
    assert Link("shares").vector()([0.0, 0.0]) == [0.0, 0.0]
    assert Link("sigmoid_shares").vector()([0.0, 0.0, 0.0]) == [1 / 3] * 3


@given(st.lists(st.floats(-300, 300), min_size=2, max_size=6))
def test_softmax_is_its_formula(margins):
    powers = [math.exp(m) for m in margins]
    assert Link("softmax").vector()(margins) == pytest.approx([p / sum(powers) for p in powers], rel=1e-12, abs=1e-300)


@given(st.lists(MARGINS, min_size=1, max_size=6))
def test_softmax_never_overflows_and_sums_to_one(margins):
    probabilities = Link("softmax").vector()(margins)
    assert sum(probabilities) == pytest.approx(1.0)
    assert all(0 <= p <= 1 for p in probabilities)


@pytest.mark.parametrize("kind", sorted(KINDS))
@given(margins=st.lists(st.floats(), min_size=2, max_size=3))
def test_no_margin_makes_a_link_raise(kind, margins):
    assert all(isinstance(x, float) for x in Link(kind).vector()(margins))


def test_what_overflows_is_infinite_as_in_the_c_library():
    assert Link("exp").scalar()(1000.0) == math.inf
    assert Link("signed_square").scalar()(-1e200) == -math.inf
    assert Link("log1p_exp").scalar()(1000.0) == math.inf
    assert Link("isolation").scalar()(-2000.0) == -math.inf
    assert Link("sigmoid").scalar()(-1000.0) == 0.0
    assert Link("sigmoid").scalar()(1000.0) == 1.0
    assert math.isnan(Link("exp").scalar()(math.nan))


def test_a_link_of_all_margins_has_no_function_of_one():
    for kind in sorted(KINDS):
        assert Link(kind).is_vector is (kind not in FORMULAS)
    with pytest.raises(ValueError, match="softmax"):
        Link("softmax").scalar()
