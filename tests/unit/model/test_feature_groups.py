"""`Model.explain(groups=…)`: the players and their order, every game, and what is refused by name."""

from __future__ import annotations

import re

import numpy as np
import pytest

from mlrf.core.combination import Combination
from mlrf.core.errors import ConfigError, InvalidRequestError
from mlrf.core.manifest import CombinationEntry, LinkEntry, MemberEntry
from mlrf.engines.combined import combined_engine
from mlrf.model.background import explainer_against
from mlrf.model.feature_groups import players_of
from mlrf.model.game_model import GameModel

GROUPS = {"money": ["price", "count"], "place": ["store"]}
PLAYERS = ["money", "place", "promo", "size", "code", "depth"]


@pytest.mark.parametrize("kind", ["model", "class_model"])
@pytest.mark.parametrize("against", [None, slice(10, 40)])
def test_players_are_the_groups_and_the_other_features(kind, against, table, request):
    model = request.getfixturevalue(kind)
    background = None if against is None else table[against]
    found = model.explain(table[:10], groups=GROUPS, background=background, threads=2)
    assert found.feature_names == PLAYERS
    assert found.values.shape[:2] == (10, len(PLAYERS))
    np.testing.assert_allclose(found.values.sum(axis=1) + found.base, model.margin(table[:10]), rtol=0, atol=1e-9)
    features = model.explain(table[:10], background=background)
    np.testing.assert_allclose(found.base, features.base, rtol=1e-12)
    # A group of one feature and singles have the values of a smaller game, which differ from those of features.
    assert not np.allclose(found.values[:, 0], features.values[:, :2].sum(axis=1))
    alone = model.explain(table[:10], groups={"cost": ["price"]}, background=background)
    np.testing.assert_allclose(alone.values, features.values, rtol=0, atol=1e-12)


def test_an_explanation_shows_what_its_players_are(model, table):
    found = model.explain(table[1:3], groups=GROUPS)
    shown = found.display_data()
    assert shown.shape == (2, len(PLAYERS))
    assert re.fullmatch(r"price=.*, count=.*", shown[0, 0])
    assert "money" in found.to_svg()
    assert found[0].groups == found.groups
    assert found.groups.members["promo"] == ["promo"]


def test_a_weighted_sum_of_models_has_the_sum_of_their_values(class_model, table):
    members = [MemberEntry(outputs=1, link=LinkEntry("identity"))] * 3
    entry = CombinationEntry("linear", members, coefficients=[[2.0, 0.0, -1.0]], intercepts=[0.5])
    players = players_of(GameModel("sample", class_model.schema.names, ()), GROUPS)
    groups = combined_engine(class_model.engine, Combination(entry)).grouped(players.group_of, len(PLAYERS))
    for explainer, background in ((groups, None), (explainer_against(groups, table[10:].tobytes()), table[10:])):
        found = np.array(explainer.contributions_many(table[:5].tobytes())).reshape(5, -1)
        parts = class_model.explain(table[:5], groups=GROUPS, background=background)
        np.testing.assert_allclose(found, 2 * parts.values[..., 0] - parts.values[..., 2], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({}, "groups must be"),
        ([["price"]], "groups must be"),
        ({"money": []}, "must be a name and an array of features"),
        ({"money": "price"}, "must be a name and an array of features"),
        ({"money": ["prize"]}, "'prize' in the group 'money' is not a feature"),
        ({"money": ["price", "price"]}, "'price' is in 'money' and 'money'; a feature has one group"),
        ({"money": ["price"], "cost": ["price"]}, "'price' is in 'money' and 'cost'; a feature has one group"),
        ({"count": ["price"]}, "'count' is a group, and a feature that is in no group; give the group another name"),
    ],
)
def test_invalid_groups_are_refused_by_name(groups, message, model, table):
    with pytest.raises(InvalidRequestError) as refused:
        model.explain(table, groups=groups)
    assert message in str(refused.value).replace('"', "'")


def test_groups_and_interactions_are_refused_together(model, table):
    with pytest.raises(ConfigError, match="leave out interactions, or background and groups"):
        model.explain(table, groups=GROUPS, interactions=True)
