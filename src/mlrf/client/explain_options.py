"""Explanations of a server: what a request asks for, and the `Explanation` of a table from the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from mlrf.client.errors import not_of_mlrf
from mlrf.client.served_model import ServedModel
from mlrf.client.tensors import Array, InferResponse
from mlrf.core.errors import InvalidRequestError
from mlrf.model.explanation import PATH_DEPENDENT, Explanation
from mlrf.model.explanation_kinds import GAME_OPTIONS, GameOption, check_arguments
from mlrf.model.game_model import GameModel

_MOST_PAIRS = 1000
"""Most interactions that the explanation of a record may name."""


class ExplainOptions(NamedTuple):
    """The options of `Client.explain`."""

    top: int | None
    interactions: bool | int
    game: Mapping[str, object]
    """The options of the game, by name, as the caller gave them."""

    def check(self) -> None:
        """Raise InvalidRequestError for options that no request can have, TypeError for one that is not in the table."""
        check_arguments("explain", self.game)
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
        chosen = [option for option in GAME_OPTIONS if self.game.get(option.name)]
        players = None
        for option in reversed(chosen):
            if option.players is not None:
                players = option.players(_content(served, found.parameters, option))
        if players is not None and len(players.members) != values.shape[1]:
            raise not_of_mlrf(msgspec.json.encode(found.parameters))
        return Explanation(
            values,
            float(base[0]) if is_one_base and len(base) == 1 else base,
            table,
            list(served.schema.names if players is None else players.members),
            served.schema,
            served.classes if values.ndim == 3 else None,  # noqa: PLR2004
            found.outputs.get("shap_interactions"),
            game=found.parameters.get("game", PATH_DEPENDENT),
            groups=players,
        )


def _content(served: ServedModel, parameters: Mapping[str, Any], option: GameOption) -> Any:
    """Return the content of an option from the parameter of an answer; MlrfError if it has none that fits the model."""
    # The server has checked the combinations of categories.
    model = GameModel(served.name, served.schema.names, ())
    try:
        return option.content(msgspec.json.decode(parameters[option.member]), model)
    except (KeyError, TypeError, msgspec.DecodeError, InvalidRequestError) as error:
        raise not_of_mlrf(msgspec.json.encode(parameters)) from error
