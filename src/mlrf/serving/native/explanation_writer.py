"""Writes explanations as JSON documents: contributions by feature name, and the sum of those left out."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

from mlrf.core.feature import Category

_PATH_DEPENDENT: Mapping[str, Any] = MappingProxyType({})
"""An explanation that says nothing of its game has path-dependent values."""
Source = Literal["live", "precomputed"]
"""Whether contributions were computed for this request, or when the bundle was built."""


class ExplanationWriter:
    """Writes explanations of one model with the features `names`; `classes` if it has an output for each class.

    `game` are members that say which game the contributions are Shapley values of; none for the path-dependent one.
    """

    def __init__(
        self,
        names: Sequence[str],
        base: Sequence[float],
        classes: Sequence[Category] | None,
        game: Mapping[str, Any] = _PATH_DEPENDENT,
    ) -> None:
        self._game = game
        self._names = names
        self._base = base
        self._class_names = [c if isinstance(c, str) else str(c) for c in classes or range(len(base))]

    def write(
        self,
        margins: Sequence[float],
        contributions: Sequence[float],
        explain: bool | int,
        source: Source = "live",
        base: Sequence[float] | None = None,
    ) -> dict[str, Any]:
        """Return an explanation.

        `margins` [K]; `contributions` [F, K] row-major; `explain` True for all features in schema order, or k for the
        k largest by magnitude, in descending order (for K > 1: largest in the class of the largest margin); `base` [K] for a
        row whose base is not the model's.
        """
        base = self._base if base is None else base
        k_outputs = len(base)
        ranked = max(range(k_outputs), key=margins.__getitem__)
        shown = self._chosen(contributions[ranked::k_outputs], explain)
        each = [self._named(contributions[output::k_outputs], shown) for output in range(k_outputs)]
        if k_outputs == 1:
            named, other = each[0]
            return _explanation(margins[0], base[0], named, other, source) | dict(self._game)
        by_class = dict(zip(self._class_names, (named for named, _ in each), strict=True))
        others = dict(zip(self._class_names, (other for _, other in each), strict=True))
        return _explanation(list(margins), list(base), by_class, others, source) | dict(self._game)

    def _chosen(self, weights: Sequence[float], explain: bool | int) -> Sequence[int]:
        if explain is True or explain >= len(weights):
            return range(len(weights))
        return heapq.nlargest(explain, range(len(weights)), key=lambda f: abs(weights[f]))

    def _named(self, values: Sequence[float], shown: Sequence[int]) -> tuple[dict[str, float], float]:
        named = {self._names[f]: values[f] for f in shown}
        if len(shown) == len(values):
            return named, 0.0
        kept = set(shown)
        return named, sum(value for f, value in enumerate(values) if f not in kept)


def _explanation(margin: Any, base: Any, contributions: Any, other: Any, source: Source) -> dict[str, Any]:
    return {
        "space": "margin",
        "margin": margin,
        "base": base,
        "contributions": contributions,
        "other": other,
        "source": source,
    }
