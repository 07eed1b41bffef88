"""The game of the explanations in a request: path-dependent and of features, unless its parameters choose another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from mlrf.core.errors import InvalidRequestError, InvalidTensorError
from mlrf.core.value_text import shown
from mlrf.engines.interface import BackgroundExplainer
from mlrf.model.explanation_kinds import GAME_OPTIONS
from mlrf.model.row_predictor import RowPredictor
from mlrf.serving.oip.messages import Parameter
from mlrf.serving.oip.output_tensors import SHAP_INTERACTIONS, OutputGame, RequestedOutputs, requested_outputs


def in_game(requested: RequestedOutputs, parameters: Mapping[str, Any], model: RowPredictor) -> RequestedOutputs:
    """Return outputs that include explanations, of the game that the parameters of the request choose.

    InvalidRequestError for a parameter that is no boolean, InvalidTensorError for interactions in another game than the
    path-dependent one of features, NotExplainableError for a bundle without the file of an option.
    """
    chosen = tuple(option.name for option in GAME_OPTIONS if _is_chosen(parameters, option.name))
    if not chosen:
        return requested
    if requested.kind == "interactions":
        raise InvalidTensorError(
            f"output {SHAP_INTERACTIONS} is path-dependent, of features; leave out the parameter {chosen[0]}, or the output",
            output=SHAP_INTERACTIONS,
        )
    model.games().check(chosen)
    return requested_outputs(requested.outputs, OutputGame(chosen, len(model.games().players(chosen))))


def explainer_of(requested: RequestedOutputs, model: RowPredictor) -> BackgroundExplainer:
    """Return what explains the rows of a request with these outputs."""
    if (game := requested.game) is None:
        return model.explainer()
    return model.games().game(game.chosen).explainer


def game_parameters(game: OutputGame, model: RowPredictor) -> dict[str, Parameter]:
    """Return the parameters of a response that name the game of its explanations; one that is no text is JSON."""
    members = model.games().members(game.chosen)
    return {
        name: value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for name, value in members.items()
    }


def _is_chosen(parameters: Mapping[str, Any], name: str) -> bool:
    chosen = parameters.get(name, False)
    if isinstance(chosen, bool):
        return chosen
    raise InvalidRequestError(f"the parameter {name} must be true or false, not {shown(chosen)}", field=name)
