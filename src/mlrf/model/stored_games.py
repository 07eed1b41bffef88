"""The games that a bundle's files allow, by the options of `explanation_kinds.GAME_OPTIONS`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec

from mlrf.core.bundle import Bundle
from mlrf.core.errors import BundleError, InvalidRequestError, MlrfError, NotExplainableError
from mlrf.core.game_rows import read_game_rows
from mlrf.engines.interface import Explainer
from mlrf.model.explanation_kinds import GAME_OPTIONS, Chosen, GameOption
from mlrf.model.game_model import GameModel
from mlrf.model.prepared_game import PreparedGame, prepared_game


class StoredGames:
    """The games of one model, each prepared once: a background's table takes a tenth of a second and megabytes."""

    def __init__(self, bundle: Bundle, explainer: Explainer) -> None:
        self._bundle = bundle
        self._explainer = explainer
        self._lock = Lock()
        self._contents: dict[str, Any] = {}
        self._known: dict[Chosen, PreparedGame] = {}

    def check(self, chosen: Chosen) -> None:
        """Raise NotExplainableError for a game that the bundle does not have, without preparing it."""
        for option in _options(chosen):
            if not option.is_large:
                self._content(option)
            else:
                self._check_file(option)

    def game(self, chosen: Chosen) -> PreparedGame:
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
                players = list(option.players(self._content(option)).members)
        return players

    def members(self, chosen: Chosen) -> Mapping[str, Any]:
        """Return the members by which an explanation names its game, without preparing it."""
        return {
            option.member: option.value(None if option.is_large else self._content(option))
            for option in _options(chosen)
        }

    def content(self, name: str) -> Any:
        """Return the content of an option's file; NotExplainableError for a bundle without it, BundleError if damaged."""
        (option,) = _options((name,))
        return self._content(option)

    def _prepared(self, chosen: Chosen) -> PreparedGame:
        contents = [(option, self._content(option)) for option in _options(chosen)]
        return prepared_game(self._bundle.schema.names, self._explainer, contents, self._refused)

    def _refused(self, option: GameOption, error: InvalidRequestError) -> MlrfError:
        return BundleError(f"{self._bundle.path}: {option.file}: {error}", file=option.file)

    def _content(self, option: GameOption) -> Any:
        # Without the lock, so that the event loop does not wait for a game that a thread prepares.
        if (found := self._contents.get(option.name)) is None:
            found = self._read(option)
            if not option.is_large:
                self._contents[option.name] = found
        return found

    def _read(self, option: GameOption) -> Any:
        self._check_file(option)
        names = self._bundle.schema.names
        path = self._bundle.file(option.file)
        is_rows = option.document is None
        given = read_game_rows(path, len(names), option.name).rows if is_rows else _document(path, option)
        try:
            return option.content(given, GameModel(self._bundle.name, names, self._explainer.combinations))
        except InvalidRequestError as error:
            raise _not_of_model(path, option) from error

    def _check_file(self, option: GameOption) -> None:
        if option.file not in self._bundle.manifest.files:
            raise NotExplainableError(
                f"the bundle of {self._bundle.name} has no {option.name}; build it again with --{option.name}, or explain "
                f"without {'them' if option.is_plural else 'one'}"
            )


def _document(path: Path, option: GameOption) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}", file=option.file) from error
    except msgspec.DecodeError as error:
        raise _not_of_model(path, option) from error


def _not_of_model(path: Path, option: GameOption) -> BundleError:
    verb = "do" if option.is_plural else "does"
    return BundleError(
        f"{path}: its {option.name} {verb} not match its model; build the bundle again", file=option.file
    )


def _options(chosen: Chosen) -> list[GameOption]:
    return [option for option in GAME_OPTIONS if option.name in chosen]
