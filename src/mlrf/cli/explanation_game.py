"""What contributions are explained against in `mlrf explain`: the training rows in the trees, or the rows of a background."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mlrf.core.errors import ConfigError, InvalidRequestError, NotExplainableError
from mlrf.core.leniency import Leniency
from mlrf.engines.interface import BackgroundExplainer
from mlrf.model import Model
from mlrf.model.background import background_explainer
from mlrf.model.row_files import read_file
from mlrf.model.row_predictor import RowPredictor
from mlrf.model.table_input import read_rows


class ExplanationGame(NamedTuple):
    """The game whose Shapley values a command shows."""

    background: BackgroundExplainer | None = None
    """What explains against a background; None for path-dependent values."""
    title: str = ""
    """What a title says of it."""
    members: Mapping[str, Any] = {}
    """What an explanation in JSON says of it, as a server's does."""


def explanation_game(model: Model, background: Path | None, leniency: Leniency, *, stored: bool) -> ExplanationGame:
    """Return the game that `--background` and `--stored-background` choose; their errors name the option."""
    if background is not None and stored:
        raise ConfigError("--stored-background: --background gives other rows; leave one of the two out")
    if not stored and background is None:
        return ExplanationGame()
    rows = RowPredictor(model.bundle, model.engine)
    if background is None:
        return _against(rows.background(), "the bundle's background")
    table = read_rows(model.schema, read_file(background, model.schema), leniency)
    try:
        explainer = background_explainer(rows, table.data)
    except (InvalidRequestError, NotExplainableError) as error:
        raise type(error)(f"--background: {background}: {error}", **error.details) from error
    return _against(explainer, f"a background of {len(table)} rows")


def _against(explainer: BackgroundExplainer, rows: str) -> ExplanationGame:
    return ExplanationGame(explainer, f", against {rows}", {"game": "interventional"})
