"""Forests with one thing wrong, and an exact decision whether that thing can be seen at all.

The decision walks both trees together over every equivalence class of every feature's values: all thresholds of both trees
and their neighbours, the edges of the zero band, zero, NaN, and every category. It shares no code with the gate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mlrf.core.forest import LEAF, NUMERIC, ZERO_BAND, Forest, Missing


def mutated(forest: Forest, rng: np.random.Generator, what: str) -> tuple[Forest, int]:
    """Return the forest with one random thing of the kind `what` changed, and the node."""
    numeric = np.flatnonzero(
        (forest.feature != LEAF) & (forest.category_set == NUMERIC) & np.isfinite(forest.threshold)
    )
    categorical = np.flatnonzero(forest.category_set != NUMERIC)
    inner = np.flatnonzero(forest.feature != LEAF)
    match what:
        case "threshold up" | "threshold down" | "threshold far":
            node = int(rng.choice(numeric))
            threshold = forest.threshold.copy()
            toward = math.inf if what == "threshold up" else -math.inf
            threshold[node] = (
                threshold[node] + rng.normal() if what == "threshold far" else math.nextafter(threshold[node], toward)
            )
            return replace(forest, threshold=threshold), node
        case "children":
            node = int(rng.choice(inner))
            left, right = forest.left.copy(), forest.right.copy()
            left[node], right[node] = right[node], left[node]
            return replace(forest, left=left, right=right), node
        case "default side":
            node = int(rng.choice(inner))
            default_left = forest.default_left.copy()
            default_left[node] = not default_left[node]
            return replace(forest, default_left=default_left), node
        case "missing rule":
            node = int(rng.choice(numeric))
            missing = forest.missing.copy()
            missing[node] = rng.choice([m for m in Missing if m != missing[node]])
            return replace(forest, missing=missing), node
        case "category":
            node = int(rng.choice(categorical))
            own = set(forest.category_codes(int(forest.category_set[node])).tolist())
            known = {int(c) for n in categorical if forest.feature[n] == forest.feature[node]
                     for c in forest.category_codes(int(forest.category_set[n]))}  # fmt: skip
            changed = np.array(sorted(own ^ {int(rng.choice(sorted(known)))}), np.int32)
            category_set = forest.category_set.copy()
            category_set[node] = len(forest.set_offsets) - 1
            return replace(
                forest,
                category_set=category_set,
                set_codes=np.concatenate([forest.set_codes, changed]).astype(np.int32),
                set_offsets=np.append(forest.set_offsets, len(forest.set_codes) + len(changed)),
            ), node
        case "leaf":
            node = int(rng.choice(np.flatnonzero(forest.feature == LEAF)))
            value = forest.value.copy()
            value[node] += 1e-9 * (abs(value[node]) + 1e-3)
            return replace(forest, value=value), node
    raise AssertionError(what)


def differs(true: Forest, other: Forest, node: int, limit: float) -> bool:
    """Whether any row at all moves the margin by more than `limit` when the tree of `node` is the other forest's."""
    tree = int(np.searchsorted(true.tree_offsets, node, side="right")) - 1
    root = int(true.tree_offsets[tree])
    domains = _domains((true, other), root, int(true.tree_offsets[tree + 1]))
    return any(abs(a - b) / true.divisor > limit for a, b in _pairs(true, other, root, root, domains))


def goes_left(forest: Forest, node: int, x: float) -> bool:
    """The IR's rules, word for word."""
    number = int(forest.category_set[node])
    default_left = bool(forest.default_left[node])
    if number != NUMERIC:
        if math.isnan(x):
            return default_left
        return not math.isinf(x) and int(x) >= 0 and int(x) in set(forest.category_codes(number).tolist())
    missing = Missing(int(forest.missing[node]))
    if math.isnan(x):
        return forest.threshold[node] >= 0.0 if missing is Missing.NONE else default_left
    if missing is Missing.ZERO and abs(x) <= ZERO_BAND:
        return default_left
    return bool(x <= forest.threshold[node])


def _domains(forests: tuple[Forest, Forest], first: int, last: int) -> dict[int, list[float]]:
    found: dict[int, set[float]] = {}
    for forest in forests:
        for node in range(first, last):
            feature = int(forest.feature[node])
            if feature == LEAF:
                continue
            values = found.setdefault(feature, {0.0, ZERO_BAND, -ZERO_BAND, *_around(ZERO_BAND), *_around(-ZERO_BAND)})
            if forest.category_set[node] == NUMERIC:
                t = float(forest.threshold[node])
                values |= {t, *_around(t), 1e308, -1e308}
            else:
                codes = forest.category_codes(int(forest.category_set[node])).tolist()
                values |= {float(c) for c in codes} | {-1.0, max(codes, default=0) + 1.0}
    return {feature: [*sorted(values), math.nan] for feature, values in found.items()}


def _around(x: float) -> tuple[float, float]:
    return math.nextafter(x, -math.inf), math.nextafter(x, math.inf)


def _pairs(
    true: Forest, other: Forest, a: int, b: int, domains: dict[int, list[float]]
) -> Iterator[tuple[float, float]]:
    for forest, node, first in ((true, a, True), (other, b, False)):
        feature = int(forest.feature[node])
        if feature == LEAF:
            continue
        for child, side in ((int(forest.left[node]), True), (int(forest.right[node]), False)):
            kept = [x for x in domains[feature] if goes_left(forest, node, x) is side]
            if kept:
                narrowed = {**domains, feature: kept}
                yield from _pairs(true, other, child if first else a, b if first else child, narrowed)
        return
    yield float(true.value[a]), float(other.value[b])
