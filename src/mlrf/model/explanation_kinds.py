"""The kinds of explanations: the table of the options that choose another game than the path-dependent one of features.

A new option is a line of GAME_OPTIONS, and a module of this package such as `feature_groups.py`. From the line follow the
member of `explain` in JSON, the parameter of the Open Inference Protocol and of the client, their checks and errors, what
responses say of the game, the OpenAPI document, the predicted time, the keys of cached answers, and that servers pin the file.

What does not follow from it:

1. the algorithm: a file such as kernel/src/grouped_game.cpp (with bindings.cpp, CMakeLists.txt and `_kernel.pyi`), and the
   method of engines: `engines/interface.py`, `tree_kernel.py`, `combined.py`;
2. the file of the bundle: `core/manifest.py`, a module of `builder/bundle/`, `builder/build.py` and `cli/build.py`;
3. the argument by which a caller gives what the file would hold: `Model.explain` in `table_model.py`, with
   `given_game.py`, `cli/explain.py` and `cli/explanation_game.py`; and the flag of `Client.explain` in `client/client.py` and
   `async_client.py`.

Explanations of pairs of features, `interactions`, are numbers of another shape. They are not an option of a game: their request
is `Interactions` in `serving/native/requests.py`, and their output `shap_interactions` in `serving/oip/output_tensors.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

from mlrf.core.bundle import Bundle
from mlrf.core.manifest import BACKGROUND, GROUPS
from mlrf.engines.interface import BackgroundExplainer, Explainer, Rows

if TYPE_CHECKING:
    from mlrf.model.feature_groups import FeatureGroups

ExplanationKind = str
"""Explanations that take another time than path-dependent contributions: INTERACTIONS, or a game by `kind_name`."""
INTERACTIONS: ExplanationKind = "interactions"
Chosen = tuple[str, ...]
"""The options of a game, by name, in the order of the table; empty for the path-dependent one of features."""


class GameOption(NamedTuple):
    """An option of a game: how it is requested, what it needs, what explains it, and what responses say of it."""

    name: str
    """In requests: the member of `explain`, the parameter, the argument."""
    file: str
    """The file of the bundle that it needs."""
    holds: str
    """What the file holds, in messages."""
    description: str
    """What the member of a request means, in OpenAPI."""
    read: Callable[[Bundle, Explainer], Any]
    """Returns the content of the file; NotExplainableError for a bundle without it, BundleError if it is damaged."""
    is_large: bool
    """Whether the content is large: it is read when a game is prepared and then dropped, and a row's time is measured."""
    explainer: Callable[[Bundle, Any, Any], Any]
    """Returns what explains a bundle with this option, from what explains it without, and the content."""
    players: Callable[[Any], Sequence[str]] | None
    """Returns the names of the players, from the content; None if the option leaves the players as they are."""
    member: str
    """The member of an explanation, and the parameter of a response, that says that it was chosen."""
    value: Callable[[Any], Any]
    """Returns that member's value, from the content, or from None if it is large."""
    schema: dict[str, Any]
    """That member in OpenAPI."""


def _stored_rows(bundle: Bundle, _explainer: Explainer) -> bytes:
    from mlrf.model.background import stored_rows  # noqa: PLC0415  few servers have one

    return stored_rows(bundle)


def _against(bundle: Bundle, explainer: Any, rows: Rows) -> BackgroundExplainer:
    from mlrf.model.background import against_stored  # noqa: PLC0415  as above

    return against_stored(bundle, explainer, rows)


def _stored_groups(bundle: Bundle, explainer: Explainer) -> FeatureGroups:
    from mlrf.model.feature_groups import stored_groups  # noqa: PLC0415  as above

    return stored_groups(bundle, explainer)


def _of_groups(_bundle: Bundle, explainer: Any, groups: FeatureGroups) -> BackgroundExplainer:
    from mlrf.model.feature_groups import group_explainer  # noqa: PLC0415  as above

    return group_explainer(explainer, groups)


GAME_OPTIONS: tuple[GameOption, ...] = (
    GameOption(
        name="background",
        file=BACKGROUND,
        holds="rows",
        description="Whether to explain against the rows of the bundle's background",
        read=_stored_rows,
        is_large=True,
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
        file=GROUPS,
        holds="groups",
        description="Whether the bundle's groups of features contribute as one each",
        read=_stored_groups,
        is_large=False,
        explainer=_of_groups,
        players=lambda groups: list(groups.members),
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


def all_games() -> list[Chosen]:
    """Return every choice of options, but for none."""
    names = [option.name for option in GAME_OPTIONS]
    return [chosen for n_chosen in range(1, len(names) + 1) for chosen in combinations(names, n_chosen)]


def kind_name(chosen: Chosen) -> ExplanationKind | None:
    """Return the kind of explanations of a game; None for the path-dependent one of features."""
    return " and ".join(chosen) if chosen else None
