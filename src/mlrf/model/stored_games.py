"""The games that a bundle's files allow: against its background, with its groups of features as players, or both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from threading import Lock
from types import MappingProxyType
from typing import Any, NamedTuple

from mlrf.core.bundle import Bundle
from mlrf.core.manifest import BACKGROUND
from mlrf.engines.interface import BackgroundExplainer, Explainer
from mlrf.model.background import explainer_against, stored_background, stored_rows
from mlrf.model.feature_groups import FeatureGroups, group_explainer, stored_groups

_PATH_DEPENDENT: Mapping[str, Any] = MappingProxyType({})
_INTERVENTIONAL: Mapping[str, Any] = MappingProxyType({"game": "interventional"})


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
        self._known: dict[tuple[bool, bool], StoredGame] = {}

    @cached_property
    def groups(self) -> FeatureGroups:
        """The bundle's groups; errors as of `stored_groups`."""
        return stored_groups(self._bundle, self._explainer)

    def check(self, *, background: bool, groups: bool) -> None:
        """Raise NotExplainableError for a game that the bundle does not have, without preparing it."""
        if background and BACKGROUND not in self._bundle.manifest.files:
            stored_rows(self._bundle)  # raises, with the remedy
        if groups:
            self.groups  # noqa: B018  read once, and refused if the bundle has none

    def game(self, *, background: bool, groups: bool) -> StoredGame:
        """Return a game, from any thread; errors as of `check`, and of `stored_background`."""
        with self._lock:
            if (found := self._known.get((background, groups))) is None:
                found = self._known[background, groups] = self._prepared(background=background, groups=groups)
        return found

    def _prepared(self, *, background: bool, groups: bool) -> StoredGame:
        members = _INTERVENTIONAL if background else _PATH_DEPENDENT
        if not groups:
            explainer = stored_background(self._bundle, self._explainer) if background else self._explainer
            return StoredGame(explainer, self._bundle.schema.names, members)
        players = group_explainer(self._explainer, self.groups)
        against = explainer_against(players, stored_rows(self._bundle)) if background else players
        return StoredGame(against, list(self.groups.members), {**members, "groups": self.groups.named})
