"""Models of YDF on one frame with numbers, booleans, categories and missing values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import ydf

SOURCES = (
    "GradientBoostedTrees regression", "GradientBoostedTrees binary", "GradientBoostedTrees classes",
    "GradientBoostedTrees ranking", "RandomForest regression", "RandomForest binary", "RandomForest classes",
    "RandomForest shares",
)  # fmt: skip


def frame(seed: int = 0, n: int = 500) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows, and a number that they explain."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "price": rng.normal(size=n).round(2),
            "size": rng.normal(size=n).round(1),
            "shop": rng.choice(["north", "south", "east", "süd"], n),
            "open": rng.random(n) < 0.3,
        }
    )
    signal = table.price * table["size"] + (table.shop == "south") + table.open * 1.0
    table.loc[rng.random(n) < 0.1, "price"] = np.nan
    table.loc[rng.random(n) < 0.1, "shop"] = ""
    return table, signal.to_numpy()


def train(name: str, seed: int = 0, trees: int = 8, **options: Any) -> ydf.GenericModel:
    """The model of a source."""
    import ydf  # noqa: PLC0415  the matrix names its models without it

    ydf.verbose(0)
    learner, what = name.split(" ", 1)
    table, signal = frame(seed)
    task = {"regression": ydf.Task.REGRESSION, "ranking": ydf.Task.RANKING}.get(what, ydf.Task.CLASSIFICATION)
    table["y"] = {
        "regression": signal,
        "ranking": np.digitize(signal, [0.0, 1.0, 2.0]).astype(np.float32),
        "binary": np.where(signal > 0.5, "yes", "no"),
    }.get(what, np.array(["low", "middle", "high"])[np.digitize(signal, [0.0, 1.0])])
    if what == "ranking":
        table["group"] = (np.arange(len(table)) // 20).astype(str)
        options["ranking_group"] = "group"
    if what == "shares":
        options["winner_take_all"] = False
    kind = getattr(ydf, f"{learner}Learner")
    options = {"max_depth": 5, "min_examples": 3} | options
    return kind(label="y", task=task, num_trees=trees, random_seed=seed % 1000, **options).train(table)
