"""Rows that reach a node with a value exactly at its split.

For every inner node of the forest, a row that satisfies all splits above it and then, in the column that the node tests:
exactly the threshold, one ulp to each side, NaN, zero if it may differ from the threshold; or each category that may
still occur. A wrong child, threshold, category or missing rule in the export sends one of these rows elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from mlrf.builder.parity.feature_domain import Codes, Numbers, next_number
from mlrf.builder.parity.table_rows import hashed_codes
from mlrf.core.forest import F64, LEAF, NUMERIC, ZERO_BAND, Forest, Missing

ON_THRESHOLD, ON_MISSING, ON_ZERO, ON_CATEGORY = "threshold", "missing", "zero", "categories"
Domain = Numbers | Codes
Probe = tuple[str, float]


@dataclass(slots=True)
class Coverage:
    """Numbers of inner nodes that rows reached, and of nodes that no row can reach."""

    nodes: int = 0
    unreachable: int = 0
    both_sides: int = 0
    missing_rule: int = 0
    category_probes: int = 0
    category_probes_left_out: int = 0
    table_entries: int = 0
    """Entries of all look-up tables."""
    table_entries_found: int = 0
    """Entries that some row finds."""


@dataclass(frozen=True, slots=True, eq=False)
class NodeProbes:
    """The rows at one node's split: a background row, changed as the path to the node requires."""

    background: int
    path: dict[int, float]
    """Values of the columns that the node's ancestors test."""
    tested: int
    """The column that the node tests."""
    probes: list[Probe]
    """The kind of each row, and its value in the tested column."""


def category_codes(forest: Forest) -> dict[int, frozenset[float]]:
    """Return the codes to try for each categorical feature: all that are in a set, one beyond, one below 0.

    Includes features whose categories are hashed.
    """
    found: dict[int, set[float]] = {feature: set(codes) for feature, codes in hashed_codes(forest).items()}
    for node in np.flatnonzero(forest.category_set != NUMERIC):
        codes = forest.category_codes(int(forest.category_set[node]))
        found.setdefault(int(forest.feature[node]), set()).update(codes.tolist())
    return {f: frozenset({float(c) for c in codes} | {max(codes, default=0) + 1.0, -1.0}) for f, codes in found.items()}


def probe_nodes(
    forest: Forest, backgrounds: F64, coverage: Coverage, *, max_codes: int, rng: np.random.Generator
) -> Iterator[NodeProbes]:
    """Yield the probes of each reachable inner node in turn, and count in `coverage` all but the nodes themselves.

    Columns that the path does not test get the values of a random row of `backgrounds` [b, F]. At most `max_codes`
    categories are tried per node, spread over both sides.
    """
    walk = _Walk(forest, backgrounds, coverage, max_codes, rng)
    for root in forest.tree_offsets[:-1]:
        yield from walk.tree(int(root))


class _Walk:
    def __init__(
        self, forest: Forest, backgrounds: F64, coverage: Coverage, max_codes: int, rng: np.random.Generator
    ) -> None:
        self._forest = forest
        self._feature = forest.feature.tolist()
        self._threshold = forest.threshold.tolist()
        self._left, self._right = forest.left.tolist(), forest.right.tolist()
        self._missing, self._default_left = forest.missing.tolist(), forest.default_left.tolist()
        self._set = forest.category_set.tolist()
        self._backgrounds, self._coverage, self._max_codes, self._rng = backgrounds, coverage, max_codes, rng
        codes = category_codes(forest)
        numbers = Numbers(inputs=forest.inputs)
        self._start: list[Domain] = [numbers] * forest.n_features
        for feature, possible in codes.items():
            self._start[feature] = Codes(possible)
        self._sets: dict[int, frozenset[float]] = {}

    def tree(self, root: int) -> Iterator[NodeProbes]:
        domains: dict[int, Domain] = {}
        path: dict[int, float] = {}
        # An entry is a node with the feature, domain and value that lead to it, or (LEAF, …) to restore the earlier ones.
        waiting: list[tuple[int, int, Domain | None, float | None]] = [(root, LEAF, None, None)]
        while waiting:
            node, feature, domain, value = waiting.pop()
            if feature != LEAF:
                if node != LEAF:
                    waiting.append((LEAF, feature, domains.get(feature), path.get(feature)))
                _set_or_remove(domains, feature, domain)
                _set_or_remove(path, feature, value)
            if node == LEAF or self._feature[node] == LEAF:
                continue
            tested = self._feature[node]
            if tested >= self._forest.n_features:
                # `table_rows` covers table look-ups; here a row may go to either side.
                waiting += [(self._right[node], LEAF, None, None), (self._left[node], LEAF, None, None)]
                continue
            possible = domains.get(tested, self._start[tested])
            background = int(self._rng.integers(len(self._backgrounds)))
            yield NodeProbes(background, path, tested, self._probes(node, possible))
            reached = []
            for child, left in ((self._right[node], False), (self._left[node], True)):
                narrowed = self._split(node, possible, left=left)
                picked = narrowed.pick(path[tested] if tested in path else float(self._backgrounds[background, tested]))
                if picked is None:
                    self._coverage.unreachable += self._inner_nodes(child)
                else:
                    reached.append(left)
                    waiting.append((child, tested, narrowed, picked))
            self._coverage.both_sides += len(reached) == 2  # noqa: PLR2004  left and right
            self._coverage.missing_rule += possible.nan

    def _probes(self, node: int, domain: Domain) -> list[Probe]:
        if isinstance(domain, Codes):
            return self._category_probes(node, domain)
        threshold, inputs = self._threshold[node], self._forest.inputs
        probes = [
            (ON_THRESHOLD, x)
            for x in (threshold, next_number(threshold, -math.inf, inputs), next_number(threshold, math.inf, inputs))
            if domain.holds(x)
        ]
        if inputs == "float32" and domain.holds(threshold):
            # Rounds back to the threshold: an export that compares in float64 sends it right.
            probes.append((ON_THRESHOLD, math.nextafter(threshold, math.inf)))
        if not probes and (inside := domain.pick(0.0)) is not None:
            probes.append((ON_THRESHOLD, inside))  # all rows go to one side, which needs a row too
        if domain.nan:
            probes.append((ON_MISSING, math.nan))
        is_zero = self._missing[node] == Missing.ZERO
        if (is_zero or (threshold >= 0.0) != self._default_left[node]) and domain.holds(0.0):
            probes.append((ON_ZERO, 0.0))
        if is_zero:
            edges = (ZERO_BAND, -ZERO_BAND, next_number(ZERO_BAND, 1.0, inputs), next_number(-ZERO_BAND, -1.0, inputs))
            probes += [(ON_ZERO, x) for x in edges if domain.holds(x)]
        return probes

    def _category_probes(self, node: int, domain: Codes) -> list[Probe]:
        chosen = self._chosen(node)
        sides = (sorted(domain.codes & chosen), sorted(domain.codes - chosen))
        probes: list[Probe] = []
        for side in sides:
            # If there are too many, different nodes get different ones.
            start = int(self._rng.integers(len(side))) if len(side) > self._max_codes else 0
            taken = (side[start:] + side[:start])[: self._max_codes]
            self._coverage.category_probes += len(taken)
            self._coverage.category_probes_left_out += len(side) - len(taken)
            probes += [(ON_CATEGORY, x) for x in taken]
        if domain.nan:
            probes.append((ON_MISSING, math.nan))
        return probes

    def _split(self, node: int, domain: Domain, *, left: bool) -> Domain:
        default_left = self._default_left[node]
        if isinstance(domain, Codes):
            return domain.split(self._chosen(node), default_left=default_left, left=left)
        return domain.split(self._threshold[node], self._missing[node], default_left=default_left, left=left)

    def _chosen(self, node: int) -> frozenset[float]:
        number = self._set[node]
        if number == NUMERIC:
            # LightGBM does not split a column both by category and as a number; here its codes would be numbers.
            return frozenset(c for c in self._start[self._feature[node]].codes if c <= self._threshold[node])
        if number not in self._sets:
            self._sets[number] = frozenset(map(float, self._forest.category_codes(number).tolist()))
        return self._sets[number]

    def _inner_nodes(self, node: int) -> int:
        waiting, count = [node], 0
        while waiting:
            node = waiting.pop()
            if self._feature[node] != LEAF:
                count += 1
                waiting += [self._left[node], self._right[node]]
        return count


_Value = TypeVar("_Value")


def _set_or_remove(values: dict[int, _Value], key: int, value: _Value | None) -> None:
    if value is None:
        values.pop(key, None)
    else:
        values[key] = value
