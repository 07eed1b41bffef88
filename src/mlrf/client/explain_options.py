"""Explanations of a server: what a request asks for, and the `Explanation` of a table from the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from mlrf.client.errors import not_of_mlrf
from mlrf.client.served_model import ServedModel
from mlrf.client.tensors import Array, InferResponse
from mlrf.core.errors import InvalidRequestError
from mlrf.model.explanation import Explanation
from mlrf.model.explanation_kinds import GAME_OPTIONS
from mlrf.model.feature_groups import FeatureGroups, players_of

_MOST_PAIRS = 1000
"""Most interactions that the explanation of a record may name."""


class ExplainOptions(NamedTuple):
    """The options of `Client.explain`."""

    top: int | None
    interactions: bool | int
    game: Mapping[str, bool]
    """The options of the game, by name, as the caller gave them."""

    def check(self) -> None:
        """Raise InvalidRequestError for options that no request can have."""
        for option in GAME_OPTIONS:
            if not isinstance(self.game.get(option.name, False), bool):
                raise InvalidRequestError(
                    f"`{option.name}` is True, for the {option.holds} in the server's bundle, or False; `Model.explain` takes "
                    f"{option.holds} of yours"
                )
        if self.interactions and (given := self.parameters()):
            raise InvalidRequestError(
                f"`interactions` are path-dependent, of features; leave out `{next(iter(given))}`, or `interactions`"
            )

    def parameters(self) -> dict[str, bool]:
        """Return the parameters of requests about a table, which choose the game; the same members choose it for a record."""
        return {option.name: True for option in GAME_OPTIONS if self.game.get(option.name)}

    def member(self) -> Any:
        """Return the member `explain` of a request about one record."""
        if game := self.parameters():
            return game if self.top is None else {**game, "top": self.top}
        if self.interactions is False:
            return True if self.top is None else self.top
        if self.top is not None:
            raise InvalidRequestError(
                "`top` and `interactions` cannot be combined; the explanation has every feature then"
            )
        return {"interactions": _MOST_PAIRS if self.interactions is True else self.interactions}

    def outputs(self) -> tuple[str, ...]:
        """Return the names of the outputs of requests about a table; InvalidRequestError with `top`."""
        if self.top is not None:
            raise InvalidRequestError(
                "`top` applies to a single record; the explanation of a table contains every feature"
            )
        return ("shap_values", "shap_base", *(("shap_interactions",) if self.interactions else ()))

    def explanation(self, served: ServedModel, table: Array, found: InferResponse, *, is_one_base: bool) -> Explanation:
        """Return the explanation of a table [n, F]; `is_one_base` if all its rows have one base."""
        values, base = found.outputs["shap_values"], found.outputs["shap_base"]
        players = _players(served, found.parameters, values.shape[1]) if self.game.get("groups") else None
        return Explanation(
            values,
            float(base[0]) if is_one_base and len(base) == 1 else base,
            table,
            list(served.schema.names if players is None else players.members),
            served.schema,
            served.classes if values.ndim == 3 else None,  # noqa: PLR2004
            found.outputs.get("shap_interactions"),
            game="interventional" if self.game.get("background") else "path-dependent",
            groups=players,
        )


def _players(served: ServedModel, parameters: Mapping[str, Any], n_players: int) -> FeatureGroups:
    """Return the players of an answer, from its parameter `groups`; MlrfError if it has none that match its values."""
    try:
        groups = msgspec.json.decode(parameters["groups"])
        # The server has checked the combinations of categories.
        players = players_of(list(served.schema.names), (), groups, served.name)
    except (KeyError, TypeError, msgspec.DecodeError, InvalidRequestError) as error:
        raise not_of_mlrf(msgspec.json.encode(parameters)) from error
    if len(players.members) != n_players:
        raise not_of_mlrf(msgspec.json.encode(parameters))
    return players
