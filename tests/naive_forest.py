"""A slow reference implementation of the tree IR for the kernel's tests, and random forests."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations

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


def goes_left(forest: Forest, node: int, x: float) -> bool:
    """Apply one node's rule to one value."""
    if forest.inputs == "float32":
        with np.errstate(over="ignore"):
            x = float(np.float32(x))
    default_left = bool(forest.default_left[node])
    if forest.category_set[node] != NUMERIC:
        if math.isnan(x):
            return default_left
        if not forest.no_code_up_to < x < 2.0**31:
            return False
        return math.trunc(x) in forest.category_codes(int(forest.category_set[node])).tolist()
    missing = Missing(int(forest.missing[node]))
    if math.isnan(x):
        if missing is not Missing.NONE:
            return default_left
        x = 0.0
    if missing is Missing.ZERO and abs(x) <= ZERO_BAND:
        return default_left
    return bool(x <= forest.threshold[node])


def inputs(forest: Forest, row: np.ndarray) -> list[float]:
    """Return the values that nodes test for one row: its own, then those from tables."""
    found = [float(x) for x in row]
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
    row = np.array(inputs(forest, row))
    numbers = [np.float32 if single else np.float64 for single in forest.sums_in_float32]
    first = forest.base_order == "first"
    sums = [number(b if first else 0.0) for b, number in zip(forest.base, numbers, strict=True)]
    for tree in range(forest.n_trees):
        node = int(forest.tree_offsets[tree])
        while forest.feature[node] != LEAF:
            side = forest.left if goes_left(forest, node, float(row[forest.feature[node]])) else forest.right
            node = int(side[node])
        output = int(forest.tree_output[tree])
        with np.errstate(invalid="ignore", over="ignore"):  # linear functions of infinities
            number = numbers[output]
            sums[output] = number(sums[output] + number(leaf_value(forest, node, row)))
    margins = [t / number(forest.divisor) * number(forest.scale) for t, number in zip(sums, numbers, strict=True)]
    ends = zip(margins, forest.base, numbers, strict=True)
    return [float(m if first else number(float(m) + b)) for m, b, number in ends]


def leaf_value(forest: Forest, node: int, row: np.ndarray) -> float:
    """Return what a leaf adds for a row: its value, or its linear function where it has one and reads no NaN."""
    if forest.linear is None:
        return float(forest.value[node])
    total = float(forest.linear.constants[node])
    for term in range(int(forest.linear.offsets[node]), int(forest.linear.offsets[node + 1])):
        x = float(row[forest.linear.features[term]])
        if math.isnan(x):
            return float(forest.value[node])
        total += float(forest.linear.coefficients[term]) * (0.0 if abs(x) <= ZERO_BAND else x)
    return total


def share_left(forest: Forest, node: int) -> float:
    """Return the share of a node's cover that goes left."""
    low, high = forest.cover[forest.left[node]], forest.cover[forest.right[node]]
    return float(low / (low + high)) if low + high > 0 else 0.5


def contributions(forest: Forest, row: np.ndarray) -> np.ndarray:
    """Return path-dependent SHAP values [F, K], leaf by leaf: on a path each feature is a factor R or Z, and Shapley's value of a
    product has a closed form in the coefficients of the product of (R + Z y)."""
    row = np.array(inputs(forest, row))
    owner = forest.owner.tolist()
    result = np.zeros((max(owner) + 1, forest.n_outputs))
    for tree in range(forest.n_trees):
        stack: list[tuple[int, dict[int, tuple[float, float]]]] = [(int(forest.tree_offsets[tree]), {})]
        while stack:
            node, factors = stack.pop()
            if forest.feature[node] == LEAF:
                for feature, phi in shapley_of_product(factors).items():
                    result[feature, forest.tree_output[tree]] += phi * forest.value[node]
                continue
            share, left = share_left(forest, node), goes_left(forest, node, float(row[forest.feature[node]]))
            feature = owner[int(forest.feature[node])]
            z, r = factors.get(feature, (1.0, 1.0))
            stack.append((int(forest.left[node]), {**factors, feature: (z * left, r * share)}))
            stack.append((int(forest.right[node]), {**factors, feature: (z * (not left), r * (1.0 - share))}))
    return share_groups(forest, result) / forest.divisor * forest.scale


def shapley_of_product(factors: dict[int, tuple[float, float]]) -> dict[int, float]:
    """Return Shapley's values of the game S -> product of Z over S and R over the rest."""
    n = len(factors)
    result = {}
    for feature, (z, r) in factors.items():
        if z == r:
            continue
        coefficients = np.ones(1)
        for other, (other_z, other_r) in factors.items():
            if other != feature:
                coefficients = np.convolve(coefficients, [other_r, other_z])
        weights = [1.0 / (n * math.comb(n - 1, size)) for size in range(n)]
        result[feature] = (z - r) * float(np.dot(coefficients, weights))
    return result


def brute_force(forest: Forest, row: np.ndarray) -> np.ndarray:
    """Return SHAP values [F, K] by Shapley's definition over every subset of features; for few features."""

    row = np.array(inputs(forest, row))
    owner = forest.owner.tolist()

    def expect(node: int, known: frozenset[int]) -> float:
        if forest.feature[node] == LEAF:
            return float(forest.value[node])
        low, high = int(forest.left[node]), int(forest.right[node])
        feature = int(forest.feature[node])
        if owner[feature] in known:
            return expect(low if goes_left(forest, node, float(row[feature])) else high, known)
        share = share_left(forest, node)
        return share * expect(low, known) + (1.0 - share) * expect(high, known)

    n = max(owner) + 1
    result = np.zeros((n, forest.n_outputs))
    for tree in range(forest.n_trees):
        root = int(forest.tree_offsets[tree])
        worth = {
            frozenset(s): expect(root, frozenset(s)) for size in range(n + 1) for s in combinations(range(n), size)
        }
        for feature in range(n):
            for known, value in worth.items():
                if feature not in known:
                    weight = 1.0 / (n * math.comb(n - 1, len(known)))
                    result[feature, forest.tree_output[tree]] += weight * (worth[known | {feature}] - value)
    return share_groups(forest, result) / forest.divisor * forest.scale


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
    codes = CODES if n_codes == 0 else list(range(n_codes))
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


def with_tables(forest: Forest, rng: np.random.Generator, n_tables: int = 4, n_codes: int = 6) -> Forest:
    """Return a forest of which half of the numeric nodes test columns of random tables."""
    hashed = {
        int(f): rng.integers(2**32, size=n_codes, dtype=np.uint32) for f in rng.choice(forest.n_features, 2, False)
    }
    tables = []
    for _ in range(n_tables):
        kinds = rng.choice(list(PartKind), int(rng.integers(1, 4)))
        parts = []
        for kind in map(PartKind, kinds):
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
    chosen = numeric[rng.random(len(numeric)) < 0.5]
    feature[chosen] = forest.n_features + rng.integers(columns.n_columns, size=len(chosen))
    threshold[chosen] = rng.normal(size=len(chosen)).astype(np.float32)
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
            pool = np.array(
                [*range(-1, len(hashes) + 1), *(HASHED_CODE + hashes.astype(float)), HASHED_CODE, 2 * HASHED_CODE]
            )
            chosen = rng.random(n_rows) < 0.7
            rows[chosen, feature] = rng.choice(pool, int(chosen.sum()))
    return np.ascontiguousarray(rows)
