"""The game whose Shapley values `mlrf explain` shows, as its options choose it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from mlrf.cli.game_options import stored_parameter
from mlrf.cli.rows_memory import check_rows_fit
from mlrf.core.errors import ConfigError, InvalidRequestError, MlrfError
from mlrf.core.leniency import Leniency
from mlrf.model import Model
from mlrf.model.explanation_kinds import GAME_OPTIONS, GameOption
from mlrf.model.given_game import given_game
from mlrf.model.prepared_game import PreparedGame
from mlrf.model.row_files import read_bytes, read_file
from mlrf.model.row_predictor import RowPredictor
from mlrf.model.table_input import read_rows


class ExplanationGame(NamedTuple):
    """The game whose Shapley values a command shows."""

    game: PreparedGame
    title: str
    """Describes the game in a title."""


def explanation_game(model: Model, chosen: Mapping[str, Any], leniency: Leniency) -> ExplanationGame:
    """Return the game that the options of `game_options.explain_options` choose; their errors name the option."""
    given = [(option, value) for option in GAME_OPTIONS if (value := _given(option, chosen))]
    n_rows: dict[str, int] = {}

    def read(option: GameOption, path: Path) -> Any:
        if option.document is not None:
            return _document(option, path)
        check_rows_fit(path, model.schema, "give fewer rows")
        table = read_rows(model.schema, read_file(path, model.schema), leniency)
        n_rows[option.name] = len(table)
        return table.data

    def refused(option: GameOption, error: InvalidRequestError) -> MlrfError:
        path = chosen[option.name]
        source = f"--stored-{option.name}" if path is None else f"--{option.name}: {path}"
        return type(error)(f"{source}: {error}", **error.details)

    game = given_game(RowPredictor(model.bundle, model.engine), given, read, refused)
    titles = [
        option.stored_title if path is True else option.given_title.format(path=path, rows=n_rows.get(option.name))
        for option, path in reversed(given)
    ]
    return ExplanationGame(game, "".join(f", {title}" for title in titles))


def _given(option: GameOption, chosen: Mapping[str, Any]) -> Path | bool | None:
    """Return the file that is given for an option, or whether the bundle's is chosen."""
    path: Path | None = chosen[option.name]
    is_stored: bool = chosen[stored_parameter(option.name)]
    if path is None:
        return is_stored
    if is_stored:
        raise ConfigError(
            f"--stored-{option.name}: --{option.name} gives other {option.holds}; leave one of the two out"
        )
    return path


def _document(option: GameOption, path: Path) -> Any:
    try:
        return msgspec.json.decode(read_bytes(path))
    except msgspec.DecodeError as error:
        raise ConfigError(f"--{option.name}: {path} is not JSON: {error}") from error
