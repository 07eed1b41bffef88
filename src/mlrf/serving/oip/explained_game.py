"""The game of the explanations in a request: path-dependent, or against the bundle's background if a parameter says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlrf.core.errors import InvalidRequestError, InvalidTensorError
from mlrf.core.value_text import shown
from mlrf.engines.interface import BackgroundExplainer
from mlrf.model.row_predictor import RowPredictor
from mlrf.serving.oip.output_tensors import SHAP_INTERACTIONS, RequestedOutputs, requested_outputs

PARAMETER = "background"
"""The parameter of a request; only explanations depend on it."""
GAME: Mapping[str, str] = {"game": "interventional"}
"""The parameter of a response with explanations against a background."""


def in_game(requested: RequestedOutputs, parameters: Mapping[str, Any], model: RowPredictor) -> RequestedOutputs:
    """Return outputs that include explanations, of the game that the parameters of the request choose.

    InvalidRequestError for a parameter that is no boolean, InvalidTensorError for interactions against a background,
    NotExplainableError for a bundle without one.
    """
    chosen = parameters.get(PARAMETER, False)
    if not isinstance(chosen, bool):
        raise InvalidRequestError(
            f"the parameter {PARAMETER} must be true or false, not {shown(chosen)}", field=PARAMETER
        )
    if not chosen:
        return requested
    if requested.kind == "interactions":
        raise InvalidTensorError(
            f"output {SHAP_INTERACTIONS} is path-dependent; leave out the parameter {PARAMETER}, or the output",
            output=SHAP_INTERACTIONS,
        )
    model.background()
    return requested_outputs(requested.outputs, against_background=True)


def explainer_of(requested: RequestedOutputs, model: RowPredictor) -> BackgroundExplainer:
    """Return what explains the rows of a request with these outputs."""
    return model.background() if requested.kind == "background" else model.explainer()
