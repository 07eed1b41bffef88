"""A table of any size is checked by its columns' rules, of which `ColumnRule.admits` is the definition."""

from __future__ import annotations

import math
import sys
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrf.core.column_rules import ColumnRule, ColumnRules

_RULES = (
    ColumnRule(),
    ColumnRule(may_miss=False),
    ColumnRule(-math.inf, math.inf),
    ColumnRule(0.0, 1.0, whole=True),
    ColumnRule(-3.0, 7.0, whole=True, may_miss=False),
    ColumnRule(whole=True),
    ColumnRule(-math.inf, 2.5, may_miss=False),
)
_VALUES = (
    0.0,
    -0.0,
    1.0,
    0.5,
    -3.0,
    7.0,
    2.5,
    8.0,
    math.nan,
    math.inf,
    -math.inf,
    sys.float_info.max,
    5e-324,
    2.0**51 + 0.5,
    2.0**51 + 1,
    2.0**52 - 0.5,
    2.0**52 + 1,
    2.0**53 + 2,
    -(2.0**52) - 1,
    1e300,
)


@given(st.data())
def test_the_first_value_that_breaks_its_rule_is_found(data):
    rules = ColumnRules(data.draw(st.lists(st.sampled_from(_RULES), min_size=1, max_size=20)))
    n_columns, n_rows = len(rules.rules), data.draw(st.integers(0, 9))
    admitted = [[x for x in _VALUES if rule.admits(x)] for rule in rules.rules]
    values = [data.draw(st.sampled_from(admitted[i % n_columns])) for i in range(n_rows * n_columns)]
    assert rules.first_outside(array("d", values)) is None
    for index in data.draw(st.lists(st.integers(0, len(values) - 1), max_size=3)) if values else ():
        values[index] = data.draw(st.sampled_from(_VALUES))
    first = next((i for i, x in enumerate(values) if not rules.rules[i % n_columns].admits(x)), None)
    assert rules.first_outside(array("d", values)) == first


@pytest.mark.parametrize("n_columns", [1, 2, 5, 8])
@pytest.mark.parametrize("n_rows", [1, 3, 4, 50])
@pytest.mark.parametrize("rule", _RULES)
def test_every_position_is_checked(rule, n_columns, n_rows):
    rules = ColumnRules([rule] * n_columns)
    good = next(x for x in _VALUES if rule.admits(x))
    for bad in (x for x in _VALUES if not rule.admits(x)):
        for index in range(n_rows * n_columns):
            values = array("d", [good]) * (n_rows * n_columns)
            values[index] = bad
            assert rules.first_outside(values) == index, (bad, index)
