"""The game whose Shapley values `mlrf explain` shows: path-dependent or against a background, of features or of groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from mlrf.cli.rows_memory import check_rows_fit
from mlrf.core.errors import ConfigError, InvalidRequestError, NotExplainableError
from mlrf.core.leniency import Leniency
from mlrf.model import Model
from mlrf.model.array_rows import Table
from mlrf.model.background import explainer_against
from mlrf.model.feature_groups import FeatureGroups, feature_groups
from mlrf.model.given_game import Background, explainer_of
from mlrf.model.row_files import read_bytes, read_file
from mlrf.model.row_predictor import RowPredictor
from mlrf.model.table_input import read_rows


class ExplanationGame(NamedTuple):
    """The game whose Shapley values a command shows."""

    background: Background = None
    """As of `Model.explain`."""
    groups: FeatureGroups | None = None
    """The players, if they are not the features."""
    title: str = ""
    """Describes the game in a title."""
    members: Mapping[str, Any] = {}
    """Members that describe the game in JSON, as in a server's explanations."""

    @property
    def options(self) -> Mapping[str, Any]:
        """The arguments of `Model.explain`."""
        return {"background": self.background, "groups": None if self.groups is None else self.groups.named}

    def players(self, model: Model) -> Sequence[str]:
        """Return the names of what contributes."""
        return model.schema.names if self.groups is None else list(self.groups.members)

    def base(self, model: Model) -> list[float]:
        """Return the base [K] of the contributions."""
        return explainer_of(RowPredictor(model.bundle, model.engine), self.background, self.groups).base


def explanation_game(
    model: Model,
    background: Path | None,
    groups: Path | None,
    leniency: Leniency,
    *,
    stored_background: bool,
    stored_groups: bool,
) -> ExplanationGame:
    """Return the game that `--[stored-]background` and `--[stored-]groups` choose; their errors name the option."""
    if background is not None and stored_background:
        raise ConfigError("--stored-background: --background gives other rows; leave one of the two out")
    if groups is not None and stored_groups:
        raise ConfigError("--stored-groups: --groups gives other groups; leave one of the two out")
    rows = RowPredictor(model.bundle, model.engine)
    players = (
        rows.games().content("groups") if stored_groups else None if groups is None else _read_groups(rows, groups)
    )
    game = ExplanationGame(groups=players)
    if players is not None:
        source = "the bundle" if groups is None else groups
        game = game._replace(title=f", groups of {source}", members={"groups": players.named})
    if stored_background:
        rows.games().game(("background",))
        game = _against(game, True, "the bundle's background")
    elif background is not None:
        check_rows_fit(background, model.schema, "give fewer rows")
        table = read_rows(model.schema, read_file(background, model.schema), leniency)
        explainer = _checked(rows, table, background)
        # The table of the features does for every row; that of groups is made for each call.
        game = _against(game, explainer if players is None else table.data, f"a background of {len(table)} rows")
    return game


def _checked(rows: RowPredictor, table: Table, path: Path) -> Background:
    try:
        return explainer_against(rows.explainer(), table.data)
    except (InvalidRequestError, NotExplainableError) as error:
        raise type(error)(f"--background: {path}: {error}", **error.details) from error


def _read_groups(rows: RowPredictor, path: Path) -> FeatureGroups:
    try:
        return feature_groups(rows.bundle, rows.explainer(), msgspec.json.decode(read_bytes(path)))
    except msgspec.DecodeError as error:
        raise ConfigError(f"--groups: {path} is not JSON: {error}") from error
    except InvalidRequestError as error:
        raise type(error)(f"--groups: {path}: {error}", **error.details) from error


def _against(game: ExplanationGame, background: Background, rows: str) -> ExplanationGame:
    members = {**game.members, "game": "interventional"}
    return game._replace(background=background, title=f"{game.title}, against {rows}", members=members)
