"""The arguments that choose the game of explanations, for the types of functions that pass them on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, TypedDict


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
