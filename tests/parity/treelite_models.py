"""Models of several libraries as treelite checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier, RandomForestRegressor

import models
import xgboost_models

if TYPE_CHECKING:
    import treelite

SOURCES = (
    "xgboost reg:squarederror", "xgboost binary:logistic", "xgboost multi:softprob", "xgboost count:poisson",
    "xgboost categories", "xgboost targets", "lightgbm regression", "lightgbm binary", "lightgbm multiclass",
    "lightgbm multiclassova", "lightgbm rf", "lightgbm cross_entropy_lambda", "sklearn forest", "sklearn classes",
    "sklearn targets", "sklearn boosting",
)  # fmt: skip


def checkpoint(name: str, seed: int = 0, rounds: int = 6) -> treelite.Model:
    """The treelite model of a source, trained for it."""
    import treelite  # noqa: PLC0415  the matrix names its models without it

    library, what = name.split(" ", 1)
    if library == "xgboost":
        return treelite.frontend.from_xgboost(_xgboost(what, seed, rounds))
    if library == "lightgbm":
        return treelite.frontend.from_lightgbm(_lightgbm(what, seed, rounds))
    return treelite.sklearn.import_model(_sklearn(what, seed, rounds))


def _xgboost(what: str, seed: int, rounds: int) -> Any:
    options: dict[str, Any] = {"types": ["float"] * 5}
    if what == "categories":
        options, what = {"max_cat_to_onehot": 1}, "reg:squarederror"
    if what == "targets":
        options, what = options | {"targets": 2}, "reg:squarederror"
    return xgboost_models.train(what, seed, rounds=rounds, **options)


def _lightgbm(what: str, seed: int, rounds: int) -> Any:
    options = {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.7} if what == "rf" else {}
    objective = "regression" if what == "rf" else what
    return models.train(objective, models.data(seed), rounds=rounds, **options)


def _sklearn(what: str, seed: int, rounds: int) -> Any:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(300, 4)).round(2)
    target = rows[:, 0] * rows[:, 1] + rng.normal(size=300) * 0.1
    options = {"n_estimators": rounds, "max_depth": 4, "random_state": seed % 1000}
    estimator, labels = {
        "forest": (RandomForestRegressor(**options), target),
        "classes": (RandomForestClassifier(**options), np.digitize(target, [-0.3, 0.3])),
        "targets": (RandomForestRegressor(**options), np.stack([target, -target], axis=1)),
        "boosting": (GradientBoostingRegressor(**options), target),
    }[what]
    return estimator.fit(rows, labels)
