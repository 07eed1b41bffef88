"""`Model.explain(background=…)`: any form of rows, the mean margin as base, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from mlrf.core.errors import ConfigError, InvalidRequestError, NotExplainableError
from mlrf.model.background import background_explainer


@pytest.mark.parametrize("kind", ["model", "class_model"])
def test_contributions_start_at_the_mean_margin_of_the_background(kind, table, request):
    model = request.getfixturevalue(kind)
    found = model.explain(table[:10], background=table[10:], threads=2)
    margins = model.margin(table[:10])
    np.testing.assert_allclose(found.base, model.margin(table[10:]).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.values.sum(axis=1) + found.base, margins, rtol=0, atol=1e-9)
    assert not np.allclose(found.values, model.explain(table[:10]).values)


def test_a_row_against_itself_explains_nothing(model, table):
    found = model.explain(table[:1], background=table[:1])
    np.testing.assert_array_equal(found.values, 0.0)


def test_a_background_may_have_any_form_of_rows(model, table):
    named = [model.schema.instance(row.tolist()) for row in table[10:13]]
    found = model.explain(table[:3], background=named)
    np.testing.assert_array_equal(found.values, model.explain(table[:3], background=table[10:13]).values)


def test_a_background_without_rows_is_refused(model, table):
    with pytest.raises(InvalidRequestError, match="the background has no rows; give one row or more"):
        model.explain(table, background=table[:0])


def test_a_background_and_interactions_are_refused_together(model, table):
    with pytest.raises(ConfigError, match="leave out interactions, or background"):
        model.explain(table, background=table, interactions=True)


def test_a_table_above_its_limit_is_refused(model, table):
    with pytest.raises(NotExplainableError, match=r"takes more than .* MB.*give fewer rows, or leave background out"):
        background_explainer(model._rows, table, 100)
