"""Real XGBoost models for the tests: small, odd, and quick to train."""

from __future__ import annotations

from typing import Any

import numpy as np
import xgboost as xgb

TYPES = ["float", "float", "float", "c", "c"]
OBJECTIVES = (
    "reg:squarederror", "reg:squaredlogerror", "reg:pseudohubererror", "reg:absoluteerror", "reg:quantileerror",
    "reg:logistic", "reg:gamma", "reg:tweedie", "binary:logistic", "binary:logitraw", "binary:hinge", "count:poisson",
    "multi:softmax", "multi:softprob", "rank:pairwise", "rank:ndcg", "rank:map", "survival:cox", "survival:aft",
)  # fmt: skip


def data(seed: int, n: int = 400, *, missing: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Rows with ties, zeros, missing values and two categorical columns; a target between 0 and 1 that uses them."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, 5)).round(2)
    rows[rng.random(rows.shape) < 0.1] = 0.0
    rows[:, 3], rows[:, 4] = rng.integers(0, 4, n), rng.integers(0, 40, n)
    target = rows[:, 0] + np.sin(rows[:, 3]) + rng.normal(size=40)[rows[:, 4].astype(int)] + rng.normal(size=n) * 0.1
    if missing:
        rows[rng.random(rows.shape) < 0.1] = np.nan
    return rows, (target - target.min()) / np.ptp(target)


def boosts_forests(objective: str) -> bool:
    """Whether this XGBoost grows several trees a round: 3.0 does not where it sets leaf values again after a round."""
    is_first = tuple(map(int, xgb.__version__.split(".")[:2])) == (3, 0)
    return not (is_first and objective in ("reg:absoluteerror", "reg:quantileerror"))


VECTOR_LEAVES = {"multi_strategy": "multi_output_tree"}


def train(
    objective: str,
    seed: int = 0,
    *,
    rounds: int = 8,
    types: list[str] | None = None,
    missing: bool = True,
    targets: int = 1,
    **options: Any,
) -> xgb.Booster:
    """A Booster of an objective, trained on a target that it can take, or on several."""
    xgb.set_config(verbosity=0)
    rows, target = data(seed, missing=missing)
    parameters = {"objective": objective, "max_depth": 5, "nthread": 1, "seed": seed, "max_cat_to_onehot": 5, **options}
    labels: dict[str, Any] = {"label": target}
    if targets > 1 and not objective.startswith("multi"):
        target = np.stack([target ** (power + 1) for power in range(targets)], axis=1)
        labels = {"label": target}
    if objective.startswith("binary"):
        labels = {"label": (target > 0.5).astype(int)}
    elif objective.startswith("multi"):
        parameters["num_class"] = 3
        labels = {"label": np.floor(target * 2.99)}
    elif objective.startswith("rank"):
        graded = np.floor(target * 2) if objective == "rank:map" else np.floor(target * 4)
        labels = {
            "label": np.minimum(graded, 1) if objective == "rank:map" else graded,
            "qid": np.repeat(np.arange(20), len(rows) // 20),
        }
    elif objective == "survival:aft":
        labels = {"label_lower_bound": target + 1, "label_upper_bound": target + 2}
    elif objective in ("survival:cox", "reg:gamma"):
        labels = {"label": target + 0.1}
    elif objective == "count:poisson":
        labels = {"label": np.floor(target * 10)}
    elif objective == "reg:quantileerror":
        parameters["quantile_alpha"] = [0.1, 0.5, 0.9]
    matrix = xgb.DMatrix(rows, feature_types=types or TYPES, enable_categorical=True, **labels)
    return xgb.train(parameters, matrix, rounds)
