"""`GameModel`: what the options of a game must fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class GameModel(NamedTuple):
    """A model's name, its features, and the combinations of categories that are one player each."""

    name: str
    features: Sequence[str]
    combinations: Sequence[Sequence[int]]
    """As of `Explainer.combinations`."""
