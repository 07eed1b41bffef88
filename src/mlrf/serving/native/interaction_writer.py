"""Writes the interactions of a row as a JSON document: main effects by feature, and the largest pairs."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

from mlrf.core.feature import Category

MOST_INTERACTIONS = 1 << 22
"""Interaction values of the rows of one request, computed before the largest are named: 32 MB."""


def write_interactions(
    names: Sequence[str], classes: Sequence[Category] | None, margins: Sequence[float], values: Sequence[float], k: int
) -> dict[str, Any]:
    """Return the main effect of every feature, the k largest interactions in descending order, and the sum of the others.

    `values` [F, F, K] row-major; `margins` [K]. A pair's value is the sum of both its places in the matrix, so that base, main
    effects, pairs and others add up to the margin. For K > 1 they are by class, and ranked in the class of the largest margin.
    """
    n, n_outputs = len(names), len(margins)
    pairs = [(first, second) for first in range(n) for second in range(first + 1, n)]
    by_output = [
        [2.0 * values[(first * n + second) * n_outputs + output] for first, second in pairs]
        for output in range(n_outputs)
    ]
    ranked = by_output[max(range(n_outputs), key=margins.__getitem__)]
    shown = heapq.nlargest(k, range(len(pairs)), key=lambda pair: abs(ranked[pair]))
    main = [
        {name: values[(index * n + index) * n_outputs + output] for index, name in enumerate(names)}
        for output in range(n_outputs)
    ]
    kept = set(shown)
    others = [sum(value for pair, value in enumerate(each) if pair not in kept) for each in by_output]

    def features(pair: int) -> list[str]:
        return [names[index] for index in pairs[pair]]

    if n_outputs == 1:
        listed: list[dict[str, Any]] = [{"features": features(pair), "value": ranked[pair]} for pair in shown]
        return {"main": main[0], "pairs": listed, "other": others[0]}
    labels = [c if isinstance(c, str) else str(c) for c in classes or range(n_outputs)]
    listed = [
        {
            "features": features(pair),
            "value": {label: each[pair] for label, each in zip(labels, by_output, strict=True)},
        }
        for pair in shown
    ]
    return {
        "main": dict(zip(labels, main, strict=True)),
        "pairs": listed,
        "other": dict(zip(labels, others, strict=True)),
    }
