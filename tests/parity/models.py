"""Real LightGBM models for the parity tests: small, odd, and quick to train."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np

QUIET = {"verbose": -1, "num_threads": 1, "deterministic": True, "force_row_wise": True, "seed": 7}


@dataclass(frozen=True)
class Data:
    rows: np.ndarray
    target: np.ndarray
    categorical: list[int]


def data(seed: int, *, n: int = 600, numeric: int = 4, levels: tuple[int, ...] = (7, 40), zeros: bool = True) -> Data:
    """Columns with ties, exact zeros, values near zero, missing values and categories; a target that uses them all."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, numeric + len(levels))).round(2)
    if zeros:
        rows[rng.random(rows.shape) < 0.15] = 0.0
        near = rng.random(rows.shape) < 0.03
        rows[near] = rng.choice([1e-36, -1e-36, 1e-35, -1e-35, 2e-35, -2e-35], int(near.sum()))
    for index, count in enumerate(levels):
        rows[:, numeric + index] = rng.integers(0, count, n)
    effects = [rng.normal(size=count) for count in levels]
    target = rows[:, 0] + np.sin(3 * rows[:, 1]) * (1 + (rows[:, 2] > 0))
    for index, effect in enumerate(effects):
        target = target + effect[rows[:, numeric + index].astype(int)]
    target = target + 0.1 * rng.normal(size=n)
    rows[rng.random(rows.shape) < 0.05] = np.nan
    return Data(rows, target, list(range(numeric, numeric + len(levels))))


def labels(objective: str, target: np.ndarray) -> np.ndarray:
    """The target as an objective can take it."""
    spread = (target - target.min()) / (np.ptp(target) or 1.0)
    match objective:
        case "poisson" | "gamma" | "tweedie" | "mape":
            return np.exp(2 * spread)
        case "binary":
            return (spread > 0.5).astype(float)
        case "multiclass" | "multiclassova":
            return np.floor(spread * 2.999)
        case "cross_entropy" | "cross_entropy_lambda":
            return spread
        case "lambdarank" | "rank_xendcg":
            return np.floor(spread * 3.999)
    return target


def train(objective: str, given: Data, *, rounds: int = 8, **options: Any) -> lgb.Booster:
    parameters = {**QUIET, "objective": objective, "num_leaves": 12, "min_data_in_leaf": 5, "min_data_per_group": 5,
                  "cat_smooth": 1.0, "max_cat_to_onehot": 4, **options}  # fmt: skip
    if objective.startswith("multiclass"):
        parameters["num_class"] = 3
    group = [len(given.rows) // 20] * 20 if "rank" in objective else None
    dataset = lgb.Dataset(
        given.rows,
        labels(objective, given.target),
        group=group,
        categorical_feature=given.categorical,
        params=parameters,
    )
    return lgb.train(parameters, dataset, rounds)
