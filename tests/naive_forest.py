"""A slow reference implementation of the tree IR for the kernel's tests, and random forests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from ctypes import c_float
from dataclasses import replace
from functools import cache, lru_cache
from itertools import combinations
from operator import mul
from typing import NamedTuple

import numpy as np

from mlrf.core.category_hash import HASHED_CODE
from mlrf.core.forest import LEAF, NUMERIC, TRUNCATED, ZERO_BAND, Forest, Missing, floor32
from mlrf.core.linear_leaves import LinearLeaves
from mlrf.core.table_columns import KeyPart, LookupTable, PartKind, TableColumns

THRESHOLDS = [
    math.inf,
    -math.inf,
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    2.0,
    1e-36,
    -1e-36,
    ZERO_BAND,
    -ZERO_BAND,
    5e-324,
    1e300,
    -1e300,
    1.1754943508222875e-38,
]
MULTIPLIER = 0x4906BA494954CB65
"""CatBoost's, of two hashes."""
CODES = [0, 1, 2, 3, 5, 7, 31, 32, 63, 64, 200, 4095, 2**31 - 1]


class Nodes(NamedTuple):
    """The columns of a forest as lists: Python reads a number of a list ten times as fast as one of an array."""

    feature: list[int]
    threshold: list[float]
    left: list[int]
    right: list[int]
    missing: list[Missing]
    default_left: list[bool]
    codes: list[frozenset[int] | None]
    value: list[float]
    cover: list[float]
    terms: list[list[tuple[int, float]]]
    """The features and coefficients of linear leaves."""


@lru_cache(maxsize=4)
def nodes_of(forest: Forest) -> Nodes:
    """Return the columns of a forest, which is not altered afterwards."""
    sets = [frozenset(forest.category_codes(index).tolist()) for index in range(len(forest.set_offsets) - 1)]
    terms: list[list[tuple[int, float]]] = []
    if forest.linear is not None:
        pairs = list(zip(forest.linear.features.tolist(), forest.linear.coefficients.tolist(), strict=True))
        offsets = forest.linear.offsets.tolist()
        terms = [pairs[begin:end] for begin, end in zip(offsets[:-1], offsets[1:], strict=True)]
    return Nodes(
        forest.feature.tolist(),
        forest.threshold.tolist(),
        forest.left.tolist(),
        forest.right.tolist(),
        [Missing(rule) for rule in forest.missing.tolist()],
        forest.default_left.tolist(),
        [None if index == NUMERIC else sets[index] for index in forest.category_set.tolist()],
        forest.value.tolist(),
        forest.cover.tolist(),
        terms,
    )


def goes_left(forest: Forest, node: int, x: float) -> bool:
    """Apply one node's rule to one value."""
    nodes = nodes_of(forest)
    if forest.inputs == "float32":
        x = c_float(x).value
    default_left, codes = nodes.default_left[node], nodes.codes[node]
    if codes is not None:
        if math.isnan(x):
            return default_left
        if not forest.no_code_up_to < x < 2.0**31:
            return False
        return math.trunc(x) in codes
    missing = nodes.missing[node]
    if math.isnan(x):
        if missing is not Missing.NONE:
            return default_left
        x = 0.0
    if missing is Missing.ZERO and abs(x) <= ZERO_BAND:
        return default_left
    return x <= nodes.threshold[node]


def inputs(forest: Forest, row: np.ndarray) -> list[float]:
    """Return the values that nodes test for one row: its own, then those from tables."""
    found: list[float] = np.asarray(row, dtype=np.float64).tolist()
    for table in () if forest.tables is None else forest.tables.tables:
        key: int | None = 0
        for part in table.parts:
            bit = key_part(forest.tables.hashes, part, found[part.feature])
            key = None if key is None or bit is None else MULTIPLIER * (key + MULTIPLIER * bit) % 2**64
        keys = table.keys.tolist()
        entry = keys.index(key) if key in keys else len(keys)
        found += table.values[entry].astype(float).tolist()
    return found


def key_part(hashes: dict[int, np.ndarray], part: KeyPart, x: float) -> int | None:
    """Return what one part of a key is for one value; None for a category of which nothing is known."""
    if part.kind is PartKind.ABOVE:
        with np.errstate(over="ignore"):
            single = float(np.float32(x))
        return int(part.nan_is_above if math.isnan(single) else single > part.border)
    listed = hashes[part.feature].tolist()
    found = None
    if -1.0 < x < len(listed):
        found = listed[math.trunc(x)]
    elif HASHED_CODE <= x < 2 * HASHED_CODE:
        found = math.trunc(x - HASHED_CODE)
    if part.kind is PartKind.EQUALS:
        return int(found == part.hash)
    return None if found is None else (found - 2**32 if found >= 2**31 else found) % 2**64


def share_groups(forest: Forest, by_owner: np.ndarray) -> np.ndarray:
    """Return contributions of features [F, K] from those of features and groups: a group's goes to its features in equal parts."""
    result = by_owner[: forest.n_features].copy()
    groups = [] if forest.tables is None else forest.tables.groups()
    for index, group in enumerate(groups):
        for feature in group:
            result[feature] += by_owner[forest.n_features + index] / len(group)
    return result


def margins(forest: Forest, row: np.ndarray) -> list[float]:
    """Return the raw margins of one row, each sum in the order of the trees."""
    values, nodes = inputs(forest, row), nodes_of(forest)
    numbers = [np.float32 if single else np.float64 for single in forest.sums_in_float32]
    first = forest.base_order == "first"
    sums = [number(b if first else 0.0) for b, number in zip(forest.base, numbers, strict=True)]
    with np.errstate(invalid="ignore", over="ignore"):  # linear functions of infinities
        for node, output in zip(forest.tree_offsets.tolist(), forest.tree_output.tolist(), strict=False):
            while (feature := nodes.feature[node]) != LEAF:
                node = (nodes.left if goes_left(forest, node, values[feature]) else nodes.right)[node]  # noqa: PLW2901
            number = numbers[output]
            sums[output] = number(sums[output] + number(leaf_value(forest, node, values)))
    margins = [t / number(forest.divisor) * number(forest.scale) for t, number in zip(sums, numbers, strict=True)]
    ends = zip(margins, forest.base, numbers, strict=True)
    return [float(m if first else number(float(m) + b)) for m, b, number in ends]


def leaf_value(forest: Forest, node: int, values: list[float]) -> float:
    """Return what a leaf adds for a row: its value, or its linear function where it has one and reads no NaN."""
    nodes = nodes_of(forest)
    if forest.linear is None:
        return nodes.value[node]
    total = float(forest.linear.constants[node])
    for feature, coefficient in nodes.terms[node]:
        x = values[feature]
        if math.isnan(x):
            return nodes.value[node]
        total += coefficient * (0.0 if abs(x) <= ZERO_BAND else x)
    return total


def share_left(forest: Forest, node: int) -> float:
    """Return the share of a node's cover that goes left."""
    nodes = nodes_of(forest)
    low, high = nodes.cover[nodes.left[node]], nodes.cover[nodes.right[node]]
    return low / (low + high) if low + high > 0 else 0.5


def contributions(forest: Forest, row: np.ndarray) -> np.ndarray:
    """Return path-dependent SHAP values [F, K], leaf by leaf: on a path each feature is a factor R or Z, and Shapley's value of a
    product has a closed form in the coefficients of the product of (R + Z y)."""
    values, nodes, owner = inputs(forest, row), nodes_of(forest), forest.owner.tolist()
    result = np.zeros((max(owner) + 1, forest.n_outputs))
    for root, output in zip(forest.tree_offsets.tolist(), forest.tree_output.tolist(), strict=False):
        stack: list[tuple[int, dict[int, tuple[float, float]]]] = [(root, {})]
        while stack:
            node, factors = stack.pop()
            tested = nodes.feature[node]
            if tested == LEAF:
                for feature, phi in shapley_of_product(factors).items():
                    result[feature, output] += phi * nodes.value[node]
                continue
            share, left = share_left(forest, node), goes_left(forest, node, values[tested])
            feature = owner[tested]
            z, r = factors.get(feature, (1.0, 1.0))
            stack.append((nodes.left[node], {**factors, feature: (z * left, r * share)}))
            stack.append((nodes.right[node], {**factors, feature: (z * (not left), r * (1.0 - share))}))
    return share_groups(forest, result) / forest.divisor * forest.scale


def shapley_of_product(factors: dict[int, tuple[float, float]]) -> dict[int, float]:
    """Return Shapley's values of the game S -> product of Z over S and R over the rest.

    Each Z is 1 or 0: a row goes the way of the path at a feature, or another way. One with a Z of 0 adds only its R.
    """
    here = {feature: r for feature, (z, r) in factors.items() if z}
    away = {feature: r for feature, (z, r) in factors.items() if not z}
    whole = worth_of_ratios(len(factors), list(here.values()))
    result = {}
    for feature, r in here.items():
        if r != 1.0:
            others = [each for other, each in here.items() if other != feature]
            result[feature] = (1.0 - r) * math.prod(away.values()) * worth_of_ratios(len(factors), others)
    for feature, r in away.items():
        if r != 0.0:
            result[feature] = -r * math.prod(each for other, each in away.items() if other != feature) * whole
    return result


def worth_of_ratios(n_players: int, ratios: list[float]) -> float:
    """Return what Shapley's weights make of the coefficients of the product of (R + y), the sum over sets of each size."""
    coefficients = [1.0]
    for r in ratios:
        lower = 0.0
        for size, same in enumerate(coefficients):
            coefficients[size] = same * r + lower
            lower = same
        coefficients.append(lower)
    return sum(map(mul, coefficients, weights_of_sizes(n_players)))


@cache
def weights_of_sizes(n_players: int) -> list[float]:
    """Return Shapley's weight of a set of the other players, by its size."""
    return [1.0 / (n_players * math.comb(n_players - 1, size)) for size in range(n_players)]


def brute_force(forest: Forest, row: np.ndarray) -> np.ndarray:
    """Return SHAP values [F, K] by Shapley's definition over every subset of features; for few features."""
    n = max(forest.owner.tolist()) + 1
    result = np.zeros((n, forest.n_outputs))
    for tree in range(forest.n_trees):
        result[:, forest.tree_output[tree]] += shapley_values(n, worths(forest, tree, row))
    return share_groups(forest, result) / forest.divisor * forest.scale


def subsets(n_players: int) -> list[frozenset[int]]:
    """Return every set of players."""
    return [frozenset(s) for size in range(n_players + 1) for s in combinations(range(n_players), size)]


def shapley_values(n_players: int, worth: dict[frozenset[int], float]) -> np.ndarray:
    """Return the Shapley values [n] of a game, whose worth is given for every set of players, by their definition."""
    values = np.zeros(n_players)
    for player in range(n_players):
        for known, value in worth.items():
            if player not in known:
                values[player] += weights_of_sizes(n_players)[len(known)] * (worth[known | {player}] - value)
    return values


def worths(forest: Forest, tree: int, row: np.ndarray) -> dict[frozenset[int], float]:
    """Return the expected value of one tree for every set of known players (features, or groups that share a column)."""
    values, owner, nodes = inputs(forest, row), forest.owner.tolist(), nodes_of(forest)

    def expect(node: int, known: frozenset[int]) -> float:
        feature = nodes.feature[node]
        if feature == LEAF:
            return nodes.value[node]
        low, high = nodes.left[node], nodes.right[node]
        if owner[feature] in known:
            return expect(low if goes_left(forest, node, values[feature]) else high, known)
        share = share_left(forest, node)
        return share * expect(low, known) + (1.0 - share) * expect(high, known)

    root = int(forest.tree_offsets[tree])
    return {known: expect(root, known) for known in subsets(max(owner) + 1)}


def make_forest(
    rng: np.random.Generator,
    *,
    n_features: int = 5,
    n_outputs: int = 1,
    n_trees: int = 6,
    max_leaves: int = 8,
    category_share: float = 0.3,
    zero_cover_share: float = 0.1,
    is_chain: bool = False,
    n_codes: int = 0,
    n_thresholds: int = 0,
    divisor: float = 1.0,
    rounding: str = "float64",
    inputs: str = "float64",
    base_order: str = "first",
    scale: float = 1.0,
    no_code_up_to: float = TRUNCATED,
    symmetric_share: float = 0.0,
) -> Forest:
    """Return a random valid forest: odd thresholds, every missing rule, sets of any size, covers of zero.

    In symmetric trees, as CatBoost grows them, all nodes of a level have the same split; `max_leaves` bounds their leaves too.
    """
    nodes: list[dict[str, float]] = []
    offsets, outputs = [0], []
    sets: list[list[int]] = []
    codes = np.array(CODES if n_codes == 0 else range(n_codes))
    pool = THRESHOLDS if n_thresholds == 0 else np.linspace(-3.0, 3.0, n_thresholds).tolist()
    is_category = rng.random(n_features) < category_share

    def random_split(feature: int) -> dict[str, float]:
        split: dict[str, float] = {"feature": feature, "default_left": bool(rng.integers(2))}
        if is_category[feature]:
            size = int(rng.integers(0, len(codes) + 1))
            sets.append(sorted(rng.choice(codes, size=size, replace=False).tolist()))
            split["category_set"] = len(sets) - 1
        else:
            split["threshold"] = pool[int(rng.integers(len(pool)))] if rng.random() < 0.8 else float(rng.normal())
            split["missing"] = int(rng.integers(3))
        return split

    def grow(node: int, split: dict[str, float]) -> list[int]:
        """Split a leaf; return its children."""
        children = [len(nodes), len(nodes) + 1]
        left, right = children if rng.random() < 0.5 else reversed(children)
        nodes[node] = split | {"left": left, "right": right}
        nodes.extend([{}, {}])
        return children

    for tree in range(n_trees):
        start = len(nodes)
        nodes.append({})
        leaves = [start]
        if rng.random() < symmetric_share:
            for _ in range(int(rng.integers(0, max_leaves.bit_length()))):
                split = random_split(int(rng.integers(n_features)))
                leaves = [child for leaf in leaves for child in grow(leaf, split)]
        else:
            for _ in range(int(rng.integers(0, max_leaves)) if not is_chain else max_leaves - 1):
                node = leaves.pop(-1 if is_chain else int(rng.integers(len(leaves))))
                # A chain takes its features in turn: as many different ones on a path as there are.
                feature = (len(nodes) - start) // 2 % n_features if is_chain else int(rng.integers(n_features))
                leaves += grow(node, random_split(feature))
        for leaf in leaves:
            nodes[leaf] = {
                "value": float(rng.normal()),
                "cover": 0.0 if rng.random() < zero_cover_share else float(rng.integers(1, 100)),
            }
        offsets.append(len(nodes))
        outputs.append(tree % n_outputs)
    for node in reversed(nodes):
        if "feature" in node:
            node["cover"] = nodes[int(node["left"])]["cover"] + nodes[int(node["right"])]["cover"]

    def column(name: str, default: float, dtype: str) -> np.ndarray:
        return np.array([node.get(name, default) for node in nodes], dtype=dtype)

    threshold, value = column("threshold", 0.0, "f8"), column("value", 0.0, "f8")
    forest = Forest(
        n_features=n_features,
        n_outputs=n_outputs,
        tree_offsets=np.array(offsets, dtype=np.int64),
        tree_output=np.array(outputs, dtype=np.int32),
        feature=column("feature", LEAF, "i4"),
        threshold=floor32(threshold) if inputs == "float32" else threshold,
        left=column("left", LEAF, "i4"),
        right=column("right", LEAF, "i4"),
        missing=column("missing", 0, "u1"),
        default_left=column("default_left", False, "?"),
        category_set=column("category_set", NUMERIC, "i4"),
        value=value if rounding == "float64" else value.astype(np.float32).astype(np.float64),
        cover=column("cover", 0.0, "f8"),
        set_offsets=np.concatenate([[0], np.cumsum([len(s) for s in sets])]).astype(np.int64),
        set_codes=np.array([code for s in sets for code in s], dtype=np.int32),
        base=rng.normal(size=n_outputs),
        divisor=divisor,
        rounding="float32" if rounding == "float32" else "float64",
        float32_outputs=np.arange(n_outputs) % 2 == 1 if rounding == "by output" else None,
        inputs="float32" if inputs == "float32" else "float64",
        base_order="last" if base_order == "last" else "first",
        scale=scale,
        no_code_up_to=no_code_up_to,
    )
    forest.validate()
    return forest


def with_linear_leaves(forest: Forest, rng: np.random.Generator) -> Forest:
    """Return a forest whose leaves are random linear functions of up to four values, some of none."""
    is_leaf = forest.feature == LEAF
    counts = np.where(is_leaf, rng.integers(0, 5, size=forest.n_nodes), 0)
    linear = LinearLeaves(
        constants=np.where(is_leaf, rng.normal(size=forest.n_nodes), 0.0),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        features=rng.integers(forest.n_features, size=int(counts.sum())).astype(np.int32),
        coefficients=rng.normal(size=int(counts.sum())),
    )
    made = replace(forest, linear=linear)
    made.validate()
    return made


def with_tables(
    forest: Forest,
    rng: np.random.Generator,
    n_tables: int = 4,
    n_codes: int = 6,
    kinds: Sequence[PartKind] = tuple(PartKind),
) -> Forest:
    """Return a forest of which half of the numeric splits test columns of random tables, with keys of parts of these kinds."""
    hashed = {
        int(f): rng.integers(2**32, size=n_codes, dtype=np.uint32) for f in rng.choice(forest.n_features, 2, False)
    }
    tables = []
    for _ in range(n_tables):
        chosen_kinds = rng.choice(list(kinds), int(rng.integers(1, 4)))
        parts = []
        for kind in map(PartKind, chosen_kinds):
            feature = int(rng.choice(list(hashed) if kind is not PartKind.ABOVE else forest.n_features))
            border = float(np.float32(rng.normal()))
            of_hash = int(hashed[feature][0]) if kind is PartKind.EQUALS else 0
            parts.append(KeyPart(kind, feature, border, bool(rng.integers(2)), of_hash))
        found = set()
        for _ in range(60):
            bits = [key_part(hashed, part, float(rng.choice([*range(n_codes), -0.5, 0.5, math.nan]))) for part in parts]
            key = 0
            for bit in bits:
                key = MULTIPLIER * (key + MULTIPLIER * (bit or 0)) % 2**64
            found.add(key)
        keys = np.array(sorted(found), np.uint64)
        values = rng.normal(size=(len(keys) + 1, int(rng.integers(1, 4)))).astype(np.float32)
        tables.append(LookupTable(tuple(parts), keys, values))
    columns = TableColumns(hashed, tuple(tables))
    feature, threshold = forest.feature.copy(), forest.threshold.copy()
    numeric = np.flatnonzero((feature != LEAF) & (forest.category_set == NUMERIC))
    # Nodes of the same split stay alike, so that symmetric trees stay symmetric.
    splits = np.array([feature[numeric], threshold[numeric], forest.default_left[numeric]]).T
    split = np.unique(splits, axis=0, return_inverse=True)[1].reshape(-1)
    is_chosen = rng.random(len(numeric)) < 0.5
    chosen, split = numeric[is_chosen[split]], split[is_chosen[split]]
    feature[chosen] = forest.n_features + rng.integers(columns.n_columns, size=len(numeric))[split]
    threshold[chosen] = rng.normal(size=len(numeric)).astype(np.float32)[split]
    made = replace(forest, feature=feature, threshold=threshold, tables=columns)
    made.validate()
    return made


def make_rows(rng: np.random.Generator, forest: Forest, n_rows: int) -> np.ndarray:
    """Return rows [n, F] on and next to thresholds, on and next to codes, and of NaN only."""
    thresholds = forest.threshold[(forest.feature != LEAF) & (forest.category_set == NUMERIC)]
    numbers = np.concatenate(
        [thresholds, np.nextafter(thresholds, np.inf), np.nextafter(thresholds, -np.inf), THRESHOLDS]
    )
    if forest.inputs == "float32":
        with np.errstate(over="ignore"):
            single = thresholds.astype(np.float32)
            above = np.nextafter(single, np.float32(np.inf)).astype(np.float64)
        # A quarter of the way to the next float32 rounds back, three quarters round up.
        near = thresholds[np.isfinite(above)], above[np.isfinite(above)]
        numbers = np.concatenate([numbers, above, 0.75 * near[0] + 0.25 * near[1], 0.25 * near[0] + 0.75 * near[1]])
    codes = np.concatenate([forest.set_codes, CODES, [-1, -0.5, 0.9, 1.5, 2.0**31, 2.0**31 - 0.5, 1e300, -1e300, 6.0]])
    odd = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0])
    which = rng.random((n_rows, forest.n_features))
    rows = rng.normal(size=(n_rows, forest.n_features))
    for low, high, pool in ((0.0, 0.3, numbers), (0.3, 0.6, codes), (0.6, 0.75, odd)):
        rows = np.where((which >= low) & (which < high), rng.choice(pool, size=rows.shape), rows)
    if forest.tables is not None:
        for feature, hashes in forest.tables.hashes.items():
            by_code = [*range(-1, len(hashes) + 1)] * 8
            pool = np.array([*by_code, *(HASHED_CODE + hashes.astype(float)), HASHED_CODE, 2 * HASHED_CODE])
            chosen = rng.random(n_rows) < 0.7
            rows[chosen, feature] = rng.choice(pool, int(chosen.sum()))
    return np.ascontiguousarray(rows)
