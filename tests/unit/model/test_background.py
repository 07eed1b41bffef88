"""`Model.explain(background=…)`: any form of rows, the mean margin as base, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import mlrf
from bundles import write_tree_bundle
from mlrf.core.combination import Combination
from mlrf.core.errors import BundleError, ConfigError, InvalidRequestError, NotExplainableError
from mlrf.core.manifest import CombinationEntry, LinkEntry, MemberEntry
from mlrf.engines.combined import combined_engine
from mlrf.model.background import explainer_against


@pytest.mark.parametrize("kind", ["model", "class_model"])
def test_the_base_is_the_mean_margin_of_the_background(kind, table, request):
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
    with pytest.raises(ConfigError, match="leave out interactions, or background and groups"):
        model.explain(table, background=table, interactions=True)


def test_a_table_above_its_limit_is_refused(model, table):
    with pytest.raises(NotExplainableError, match=r"takes more than .* MB.*give fewer rows, or leave background out"):
        explainer_against(model._rows.explainer(), table.data, 100)


def test_the_background_of_the_bundle_is_used_on_request(tmp_path, table):
    stored = mlrf.load(write_tree_bundle(tmp_path / "b", background=table[10:]))
    found, given = stored.explain(table[:5], background=True), stored.explain(table[:5], background=table[10:])
    np.testing.assert_array_equal(found.values, given.values)
    assert (found.base, found.game, stored.explain(table[:5]).game) == (given.base, "interventional", "path-dependent")


def test_a_bundle_without_a_background_says_how_to_get_one(model, table):
    with pytest.raises(NotExplainableError, match="has no background; build it again with --background"):
        model.explain(table, background=True)
    assert model.explain(table, background=False).game == "path-dependent"


def test_a_damaged_background_is_refused(tmp_path, table):
    stored = mlrf.load(write_tree_bundle(tmp_path / "b", background=table[10:]))
    (tmp_path / "b" / "background.bin").write_bytes(b"")
    with pytest.raises(BundleError, match="cut short"):
        stored.explain(table, background=True)


def test_an_argument_that_is_no_option_is_refused(model, table):
    with pytest.raises(TypeError, match=r"explain\(\) got an unexpected keyword argument 'backgrounds'"):
        model.explain(table, backgrounds=True)
    with pytest.raises(TypeError, match=r"build\(\) got an unexpected keyword argument 'backgrounds'"):
        mlrf.build("model.txt", "b", name="b", backgrounds=table)


def test_a_weighted_sum_of_models_has_the_sum_of_their_values(class_model, table):
    members = [MemberEntry(outputs=1, link=LinkEntry("identity"))] * 3
    entry = CombinationEntry("linear", members, coefficients=[[2.0, 0.0, -1.0]], intercepts=[0.5])
    engine = combined_engine(class_model.engine, Combination(entry))
    against = explainer_against(engine, table[10:].tobytes())
    found = np.array(against.contributions_many(table[:5].tobytes())).reshape(5, -1)
    parts = class_model.explain(table[:5], background=table[10:])
    np.testing.assert_allclose(found, 2 * parts.values[..., 0] - parts.values[..., 2], rtol=0, atol=1e-12)
    np.testing.assert_allclose(against.base, [2 * parts.base[0] - parts.base[2] + 0.5], rtol=1e-12)
