"""Groups of features as players of the explained game: a group is known as a whole, or not at all."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from mlrf.core.errors import InvalidRequestError
from mlrf.core.value_text import shown, shown_name
from mlrf.model.game_model import GameModel


class FeatureGroups(msgspec.Struct, frozen=True):
    """The players of a game: the groups in their order, then every feature that is in none, in schema order."""

    members: Mapping[str, Sequence[str]]
    """The features of each player, by the player's name."""
    group_of: array[int]
    """[F] the index of the player of each feature, as u32."""
    named: Mapping[str, Sequence[str]]
    """The groups as they were given."""

    def values(self, instance: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a row has for each player: its feature's value, or those of all members as one text."""
        return {
            name: instance[name]
            if tuple(members) == (name,)
            else ", ".join(f"{member}={instance[member]}" for member in members)
            for name, members in self.members.items()
        }


def players_of(model: GameModel, groups: Any) -> FeatureGroups:
    """Return the players of a model's groups, {name: [feature, …]}.

    Every feature that is in no group is a player by itself. InvalidRequestError names the group and the feature that is
    unknown, is in two groups, or belongs to a combination of categories, features that the model looks up as one, and which
    are in several groups.
    """
    names = model.features
    player_of: dict[str, str] = {}
    for group, features in _checked(groups).items():
        for feature in features:
            if feature not in names:
                raise InvalidRequestError(
                    f"groups: {_shown(feature)} in the group {shown_name(group)} is not a feature of {model.name}",
                    field="groups",
                )
            if feature in player_of:
                raise InvalidRequestError(
                    f"groups: {_shown(feature)} is in {shown_name(player_of[feature])} and {shown_name(group)}; a feature has "
                    "one group",
                    field="groups",
                )
            player_of[feature] = group
    alone = [name for name in names if name not in player_of]
    if clash := [name for name in alone if name in groups]:
        raise InvalidRequestError(
            f"groups: {shown_name(clash[0])} is a group, and a feature that is in no group; give the group another name",
            field="groups",
        )
    members = {group: list(features) for group, features in groups.items()} | {name: [name] for name in alone}
    index = {name: number for number, name in enumerate(members)}
    group_of = array("I", (index[player_of.get(name, name)] for name in names))
    for combination in model.combinations:
        if len({group_of[feature] for feature in combination}) > 1:
            listed = ", ".join(shown_name(names[feature]) for feature in combination)
            raise InvalidRequestError(
                f"groups: {model.name} looks up {listed} as one combination, which is one player; put all of them in one group",
                field="groups",
            )
    return FeatureGroups(members, group_of, groups)


def _checked(groups: Any) -> Mapping[str, Sequence[str]]:
    """Return groups after checking their form."""
    if not isinstance(groups, Mapping) or not groups:
        raise InvalidRequestError(f'groups must be {{"group": ["feature", …]}}, not {shown(groups)}', field="groups")
    for group, features in groups.items():
        is_list = isinstance(features, Sequence) and not isinstance(features, str | bytes)
        if not isinstance(group, str) or not group or not is_list or not features:
            raise InvalidRequestError(
                f"groups: the group {_shown(group)} must be a name and an array of features, not {shown(features)}",
                field="groups",
            )
    return groups


def _shown(name: object) -> str:
    return shown_name(name) if isinstance(name, str) else shown(name)
