"""Explains rows in a game whose contents a caller gives, instead of the files of the bundle or besides them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlrf.model.array_rows import Table
from mlrf.model.explanation import PATH_DEPENDENT, Explanation
from mlrf.model.explanation_kinds import GameOption
from mlrf.model.game_model import GameModel
from mlrf.model.prepared_game import PreparedGame, Refusal, prepared_game, refusing
from mlrf.model.row_predictor import RowPredictor


def given_game(
    model: RowPredictor,
    given: Sequence[tuple[GameOption, Any]],
    read: Callable[[GameOption, Any], Any],
    refused: Refusal | None = None,
) -> PreparedGame:
    """Return the game of what a caller gives for options: True for the file of the bundle, else what `read` reads.

    NotExplainableError for a model without explanations; other errors are those of `prepared_game` and `StoredGames`.
    """
    explainer = model.explainer()
    if given and all(value is True for _, value in given):
        return model.games().game(tuple(option.name for option, _ in given))
    of_model = GameModel(model.name, model.schema.names, explainer.combinations)
    contents = []
    for option, value in given:
        if value is True:
            content = model.games().content(option.name)
        else:
            read_value = read(option, value)
            with refusing(option, refused):
                content = option.content(read_value, of_model)
        contents.append((option, content))
    return prepared_game(model.schema.names, explainer, contents, refused)


def explain_rows(model: RowPredictor, game: PreparedGame, table: Table, threads: int = 1) -> Explanation:
    """Return the explanation of rows [n, F] in a game."""
    explainer, k = game.explainer, model.engine.n_outputs
    values = np.frombuffer(explainer.contributions_many(table.data, threads), dtype=np.float64)
    return Explanation(
        values.reshape(len(table), len(game.players), *([k] if k > 1 else [])),
        np.array(explainer.base) if k > 1 else explainer.base[0],
        table,
        list(game.players),
        model.schema,
        model.classes if k > 1 else None,
        game=game.members.get("game", PATH_DEPENDENT),
        groups=game.groups,
    )
