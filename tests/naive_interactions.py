"""A slow reference implementation of Shapley interaction values: their definition, over every subset of features."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np

import naive_forest as naive
from mlrf.core.forest import Forest


def interactions(forest: Forest, row: np.ndarray) -> np.ndarray:
    """Return the interactions [P, P, K] of P players; zeros on the diagonal. For few players."""
    n = max(forest.owner.tolist()) + 1
    result = np.zeros((n, n, forest.n_outputs))
    for tree in range(forest.n_trees):
        worth = naive.worths(forest, tree, row)
        for a, b in combinations(range(n), 2):
            total = 0.0
            for known, value in worth.items():
                if a not in known and b not in known:
                    weight = 1.0 / (2 * (n - 1) * math.comb(n - 2, len(known)))
                    total += weight * (worth[known | {a, b}] - worth[known | {a}] - worth[known | {b}] + value)
            result[a, b, forest.tree_output[tree]] += total
            result[b, a, forest.tree_output[tree]] += total
    return result / forest.divisor * forest.scale


def of_features(forest: Forest, by_player: np.ndarray) -> np.ndarray:
    """Return interactions [F, F, K] from those of players: a group's go to its features in equal parts. Zeros on the diagonal."""
    n = forest.n_features
    groups = [] if forest.tables is None else [list(group) for group in forest.tables.groups()]
    members = [[feature] for feature in range(n)] + groups
    result = np.zeros((n, n, forest.n_outputs))
    for a, of_a in enumerate(members[: len(by_player)]):
        for b, of_b in enumerate(members[: len(by_player)]):
            for feature in of_a:
                for other in of_b:
                    if feature != other and a != b:
                        result[feature, other] += by_player[a, b] / len(of_a) / len(of_b)
    return result
