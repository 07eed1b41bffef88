"""The kinds of explanations: the table of the options that choose another game than the path-dependent one of features.

A new option is a line of GAME_OPTIONS, its arguments in the TypedDicts, and a module of this package such as
`feature_groups.py`. From the line follow the member of `explain` in JSON, the parameter of the Open Inference Protocol,
their checks and errors, what responses say of the game, the OpenAPI document, the predicted time, the keys of cached
answers, the file of the bundle that `mlrf.build` writes and servers pin, the arguments of `Model.explain` and of the
clients, and the options of `mlrf build` and `mlrf explain`.

What does not follow from it is an algorithm of its own: a file in kernel/src/games/, which registers itself by its name, and
which the option's `explainer` plays by `other_game`, as `background.py` does.

Explanations of pairs of features, `interactions`, are numbers of another shape. They are not an option of a game: their request
is `Interactions` in `serving/native/requests.py`, and their output `shap_interactions` in `serving/oip/output_tensors.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from mlrf.engines.interface import BackgroundExplainer, Rows
from mlrf.model.game_model import GameModel

if TYPE_CHECKING:
    from mlrf.model.feature_groups import FeatureGroups

ExplanationKind = str
"""Explanations that take another time than path-dependent contributions: INTERACTIONS, or a game by `kind_name`."""
INTERACTIONS: ExplanationKind = "interactions"
Chosen = tuple[str, ...]
"""The options of a game, by name, in the order of the table; empty for the path-dependent one of features."""


class DocumentForm(NamedTuple):
    """The form of a JSON document."""

    type: Any
    """Its type, as msgspec has types."""
    example: str
    """An example, in messages."""


class GameOption(NamedTuple):
    """An option of a game: how it is requested, what it needs, what explains it, and what responses say of it."""

    name: str
    """In requests: the member of `explain`, the parameter, the argument, the flag."""
    is_plural: bool
    """Whether the name is a plural, in messages."""
    holds: str
    """What the file holds, in messages."""
    description: str
    """What the member of a request means, in OpenAPI."""
    build_help: str
    """Help of the option of `mlrf build` that gives a file."""
    given_help: str
    """Help of the option of `mlrf explain` that gives a file."""
    stored_help: str
    """Help of the option of `mlrf explain` that chooses the file of the bundle."""
    given_title: str
    """Names the game of a given file in titles; `{path}` is the file, `{rows}` the number of its rows."""
    stored_title: str
    """Names the game of the bundle's file in titles."""
    file: str
    """The file of the bundle that it needs."""
    document: DocumentForm | None
    """The JSON document that the file and callers give; None if they give rows of features."""
    is_large: bool
    """Whether the content is large: it is read when a game is prepared and then dropped, and a row's time is measured."""
    content: Callable[[Any, GameModel], Any]
    """Returns the content from what is given: rows [n, F] as a buffer, or a document; InvalidRequestError."""
    explainer: Callable[[Any, Any], BackgroundExplainer]
    """Returns what explains a model with this option, from what explains it without, and the content; InvalidRequestError."""
    players: Callable[[Any], FeatureGroups] | None
    """Returns the players, from the content; None if the option leaves the players as they are."""
    member: str
    """The member of an explanation, and the parameter of a response, that says that it was chosen."""
    value: Callable[[Any], Any]
    """Returns that member's value, from the content, or from None if it is large."""
    schema: dict[str, Any]
    """That member in OpenAPI."""


class BuildGames(TypedDict, total=False):
    """The arguments of `mlrf.build` for the files of games."""

    background: Any
    groups: str | PathLike[str] | Mapping[str, Sequence[str]] | None


class ExplainGames(TypedDict, total=False):
    """The arguments of `Model.explain` that choose a game; True is the file of the bundle."""

    background: Any
    groups: Mapping[str, Sequence[str]] | bool | None


class StoredGameChoice(TypedDict, total=False):
    """The arguments of `Client.explain` that choose a game of the served bundle."""

    background: bool
    groups: bool


def _against(explainer: Any, rows: Rows) -> BackgroundExplainer:
    from mlrf.model.background import explainer_against  # noqa: PLC0415  few servers have one

    return explainer_against(explainer, rows)


def _players(document: Any, model: GameModel) -> FeatureGroups:
    from mlrf.model.feature_groups import players_of  # noqa: PLC0415  as above

    return players_of(model, document)


GAME_OPTIONS: tuple[GameOption, ...] = (
    GameOption(
        name="background",
        is_plural=False,
        holds="rows",
        description="Whether to explain against the rows of the bundle's background",
        build_help="Rows to explain predictions against on request: .parquet, .csv or .json (interventional SHAP values).",
        given_help="Rows to explain against (interventional SHAP values): .json, .csv or .parquet.",
        stored_help="Explain against the rows that the bundle was built with.",
        given_title="against a background of {rows} rows",
        stored_title="against the bundle's background",
        file="background.bin",
        document=None,
        is_large=True,
        content=lambda rows, _: rows,
        explainer=_against,
        players=None,
        member="game",
        value=lambda _: "interventional",
        schema={
            "type": "string",
            "enum": ["interventional"],
            "description": "That contributions are against a background, whose mean margin is the base; absent: path-dependent",
        },
    ),
    GameOption(
        name="groups",
        is_plural=True,
        holds="groups",
        description="Whether the bundle's groups of features contribute as one each",
        build_help='JSON {"group": ["feature", "feature"]}: features to explain as one on request.',
        given_help='JSON {"group": ["feature", "feature"]}: features that contribute as one.',
        stored_help="Explain the groups of features that the bundle was built with.",
        given_title="groups of {path}",
        stored_title="groups of the bundle",
        file="groups.json",
        document=DocumentForm(dict[str, list[str]], '{"group": ["feature", …]}'),
        is_large=False,
        content=_players,
        explainer=lambda explainer, groups: explainer.grouped(groups.group_of, len(groups.members)),
        players=lambda groups: groups,
        member="groups",
        value=lambda groups: groups.named,
        schema={
            "type": "object",
            "additionalProperties": {"type": "array", "items": {"type": "string"}, "minItems": 1},
            "description": "The groups of features, by name, that contribute as one each; absent: every feature by itself",
        },
    ),
)
"""In the order of messages. What explains a game is made from the last option to the first: a background stands for features
that are not known, whether features or groups are the players."""


def check_arguments(function: str, names: Iterable[str]) -> None:
    """Raise TypeError, as Python does, for an argument of a function that is the name of no option."""
    known = {option.name for option in GAME_OPTIONS}
    for name in names:
        if name not in known:
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")


def given_options(function: str, arguments: Mapping[str, Any]) -> list[tuple[GameOption, Any]]:
    """Return each option with its argument, if that is neither None nor False; errors as of `check_arguments`."""
    check_arguments(function, arguments)
    given = [(option, arguments.get(option.name)) for option in GAME_OPTIONS]
    return [(option, value) for option, value in given if value is not None and value is not False]


def all_games() -> list[Chosen]:
    """Return every choice of options, but for none."""
    names = [option.name for option in GAME_OPTIONS]
    return [chosen for n_chosen in range(1, len(names) + 1) for chosen in combinations(names, n_chosen)]


def kind_name(chosen: Chosen) -> ExplanationKind | None:
    """Return the kind of explanations of a game; None for the path-dependent one of features."""
    return " and ".join(chosen) if chosen else None
