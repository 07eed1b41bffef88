"""The games that a bundle's files allow, by the options of `explanation_kinds.GAME_OPTIONS`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any, NamedTuple

from mlrf.core.bundle import Bundle
from mlrf.engines.interface import BackgroundExplainer, Explainer
from mlrf.model.explanation_kinds import GAME_OPTIONS, Chosen, GameOption


class StoredGame(NamedTuple):
    """A game: what explains it, its players, and the members by which an explanation in JSON names it."""

    explainer: BackgroundExplainer
    players: Sequence[str]
    members: Mapping[str, Any]


class StoredGames:
    """The games of one model, each prepared once: a background's table takes a tenth of a second and megabytes."""

    def __init__(self, bundle: Bundle, explainer: Explainer) -> None:
        self._bundle = bundle
        self._explainer = explainer
        self._lock = Lock()
        self._contents: dict[str, Any] = {}
        self._known: dict[Chosen, StoredGame] = {}

    def check(self, chosen: Chosen) -> None:
        """Raise NotExplainableError for a game that the bundle does not have, without preparing it."""
        for option in _options(chosen):
            if not option.is_large:
                self._content(option)
            elif option.file not in self._bundle.manifest.files:
                option.read(self._bundle, self._explainer)  # raises, with the remedy

    def game(self, chosen: Chosen) -> StoredGame:
        """Return a game, from any thread; errors as of `check`, and of the options."""
        with self._lock:
            if (found := self._known.get(chosen)) is None:
                found = self._known[chosen] = self._prepared(chosen)
        return found

    def players(self, chosen: Chosen) -> Sequence[str]:
        """Return the names of what contributes in a game, without preparing it."""
        players: Sequence[str] = self._bundle.schema.names
        for option in reversed(_options(chosen)):
            if option.players is not None:
                players = option.players(self._content(option))
        return players

    def members(self, chosen: Chosen) -> Mapping[str, Any]:
        """Return the members by which an explanation names its game, without preparing it."""
        return {
            option.member: option.value(None if option.is_large else self._content(option))
            for option in _options(chosen)
        }

    def content(self, name: str) -> Any:
        """Return what the bundle's file for an option holds; errors as of its `read`."""
        (option,) = _options((name,))
        return self._content(option)

    def _prepared(self, chosen: Chosen) -> StoredGame:
        explainer: Any = self._explainer
        for option in reversed(_options(chosen)):
            explainer = option.explainer(self._bundle, explainer, self._content(option))
        return StoredGame(explainer, self.players(chosen), self.members(chosen))

    def _content(self, option: GameOption) -> Any:
        # Without the lock, so that the event loop does not wait for a game that a thread prepares.
        if (found := self._contents.get(option.name)) is None:
            found = option.read(self._bundle, self._explainer)
            if not option.is_large:
                self._contents[option.name] = found
        return found


def _options(chosen: Chosen) -> list[GameOption]:
    return [option for option in GAME_OPTIONS if option.name in chosen]
