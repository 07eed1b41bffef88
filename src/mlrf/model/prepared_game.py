"""`PreparedGame`: what explains rows in the game of some options, whose contents a bundle stores or a caller gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from mlrf.core.errors import InvalidRequestError, MlrfError
from mlrf.engines.interface import BackgroundExplainer, Explainer
from mlrf.model.explanation_kinds import GameOption

if TYPE_CHECKING:
    from mlrf.model.feature_groups import FeatureGroups

Refusal = Callable[[GameOption, InvalidRequestError], MlrfError]
"""Returns the error to raise for what an option's content is refused for."""


class PreparedGame(NamedTuple):
    """A game: what explains it, its players, and the members by which an explanation in JSON names it."""

    explainer: BackgroundExplainer
    players: Sequence[str]
    members: Mapping[str, Any]
    groups: FeatureGroups | None
    """The players with their features, if they are not the features."""


@contextmanager
def refusing(option: GameOption, refused: Refusal | None) -> Iterator[None]:
    """Raise what `refused` returns, if it is given, for an InvalidRequestError about an option."""
    try:
        yield
    except InvalidRequestError as error:
        if refused is None:
            raise
        raise refused(option, error) from error


def prepared_game(
    features: Sequence[str],
    explainer: Explainer,
    contents: Sequence[tuple[GameOption, Any]],
    refused: Refusal | None = None,
) -> PreparedGame:
    """Return the game of options with their contents, in the order of the table; errors of an option are those of `refused`."""
    playing: Any = explainer
    groups = None
    for option, content in reversed(contents):
        with refusing(option, refused):
            playing = option.explainer(playing, content)
        if option.players is not None:
            groups = option.players(content)
    members = {option.member: option.value(content) for option, content in contents}
    return PreparedGame(playing, features if groups is None else list(groups.members), members, groups)
