"""Random forests of the IR with every rule on every column, and what their nodes see of rows."""

from __future__ import annotations

import math

import numpy as np

import naive_forest as naive
from mlrf.core.forest import LEAF, NUMERIC, ZERO_BAND, Forest, Missing


def random_forest(seed: int, *, trees: int = 5, depth: int = 4, outputs: int = 1, categorical: int = 2) -> Forest:
    """Every rule of the IR on every column: mixed missing rules, sets with NaN left, infinite thresholds, bare leaves."""
    rng = np.random.default_rng(seed)
    n_features = 3 + categorical
    rows: list[list] = []
    offsets, sets = [0], []

    def grow(level: int) -> int:
        node = len(rows)
        rows.append([LEAF, 0.0, LEAF, LEAF, 0, False, NUMERIC, float(rng.normal()), 1.0])
        if level == 0 or rng.random() < 0.1:
            return node
        feature = int(rng.integers(n_features))
        rows[node][0] = feature
        rows[node][5] = bool(rng.integers(2))
        if feature >= 3:
            codes = sorted(rng.choice(90, rng.integers(0, 30), replace=False).tolist())
            sets.append(codes)
            rows[node][4], rows[node][6] = int(Missing.NAN), len(sets) - 1
        else:
            pool = [0.0, -0.0, ZERO_BAND, -ZERO_BAND, math.inf, 1e-40, -1e-40, *rng.normal(size=6)]
            rows[node][1], rows[node][4] = float(rng.choice(pool)), int(rng.integers(3))
        rows[node][2] = grow(level - 1)
        rows[node][3] = grow(level - 1)
        return node

    for number in range(trees):
        grow(0 if number == 1 else depth)
        offsets.append(len(rows))
    columns = list(zip(*rows, strict=True))
    kinds = (np.int32, np.float64, np.int32, np.int32, np.uint8, np.bool_, np.int32, np.float64, np.float64)
    feature, threshold, left, right, missing, default_left, category_set, value, cover = (
        np.array(column, kind) for column, kind in zip(columns, kinds, strict=True)
    )
    forest = Forest(
        n_features=n_features, n_outputs=outputs, tree_offsets=np.array(offsets),
        tree_output=np.arange(trees, dtype=np.int32) % np.int32(outputs), feature=feature, threshold=threshold, left=left,
        right=right, missing=missing, default_left=default_left, category_set=category_set, value=value, cover=cover,
        set_offsets=np.cumsum([0, *map(len, sets)]), set_codes=np.array([c for s in sets for c in s], np.int32),
        base=rng.normal(size=outputs) * rng.integers(2), divisor=float(rng.choice([1.0, 3.0])),
    )  # fmt: skip
    forest.validate()
    return forest


def margins(forest: Forest, rows: np.ndarray) -> np.ndarray:
    return np.array([naive.margins(forest, row) for row in rows])


def odd_rows(forest: Forest, seed: int, count: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    inner = (forest.feature != LEAF) & (forest.category_set == NUMERIC)
    edges = forest.threshold[inner] if np.any(inner) else np.zeros(1)
    pool = np.concatenate(
        [edges, np.nextafter(edges, np.inf), np.nextafter(edges, -np.inf), rng.normal(size=20),
         [np.nan, 0.0, -0.0, ZERO_BAND, -ZERO_BAND, 5e-324, np.inf, -np.inf, 1e308]]
    )  # fmt: skip
    rows = rng.choice(pool, (count, forest.n_features))
    codes = [*range(-2, 95), np.nan, 1e300, -1e300, np.inf, -np.inf, 2.0**31, 2.0**53, 0.5, -0.5, -0.999, 33.9]
    for feature in range(3, forest.n_features):
        rows[:, feature] = rng.choice(codes, count)
    return rows


def visits(forest, rows):
    """For each inner node the values that reached it in the column that it tests."""
    nodes = naive.nodes_of(forest)
    seen: dict[int, set[float]] = {}
    for row in rows.tolist():
        for root in forest.tree_offsets[:-1].tolist():
            node = root
            while (feature := nodes.feature[node]) != LEAF:
                x = row[feature]
                seen.setdefault(node, set()).add(x if not math.isnan(x) else None)  # type: ignore[arg-type]
                node = (nodes.left if naive.goes_left(forest, node, x) else nodes.right)[node]
    return seen
