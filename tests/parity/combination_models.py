"""Combinations whose members come from several libraries: always the same for the same seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import catboost as cb
import lightgbm as lgb
import numpy as np
import xgboost as xgb
from sklearn import ensemble
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LinearRegression
from sklearn.multioutput import MultiOutputClassifier

Rows = np.ndarray


def _members(task: str, names: str, seed: int, trees: int, depth: int) -> list[tuple[str, Any]]:
    made: dict[str, Callable[[], Any]] = {
        "XGBoost": lambda: getattr(xgb, f"XGB{task}")(n_estimators=trees, max_depth=depth, n_jobs=1),
        "LightGBM": lambda: getattr(lgb, f"LGBM{task}")(
            n_estimators=trees, num_leaves=2**depth, min_child_samples=5, verbosity=-1, n_jobs=1
        ),
        "CatBoost": lambda: getattr(cb, f"CatBoost{task}")(
            iterations=trees, depth=depth, verbose=False, thread_count=1, allow_writing_files=False
        ),
        "forest": lambda: getattr(ensemble, f"RandomForest{task}")(trees, max_depth=depth, random_state=seed % 1000),
        "histogram": lambda: getattr(ensemble, f"HistGradientBoosting{task}")(
            max_iter=trees, max_depth=depth, min_samples_leaf=5, random_state=seed % 1000
        ),
    }
    return [(name, made[name]()) for name in names.split(", ")]


COMBINATIONS: dict[tuple[str, str], Callable[..., Any]] = {
    ("VotingRegressor", "XGBoost, LightGBM, forest"): lambda members: ensemble.VotingRegressor(members, weights=[1, 2, 3]),
    ("VotingRegressor", "XGBoost, CatBoost, histogram"): ensemble.VotingRegressor,
    ("VotingClassifier", "XGBoost, LightGBM, forest"): lambda members: ensemble.VotingClassifier(members, voting="soft"),
    ("VotingClassifier", "XGBoost, CatBoost, histogram"): lambda members: ensemble.VotingClassifier(members, voting="soft"),
    ("StackingRegressor", "XGBoost, LightGBM, forest"): lambda members: ensemble.StackingRegressor(members, LinearRegression(), cv=2),
    ("StackingRegressor, rows passed through", "LightGBM, forest"): lambda members: ensemble.StackingRegressor(
        members, LinearRegression(), cv=2, passthrough=True
    ),
    ("StackingRegressor on a forest, rows passed through", "XGBoost, histogram"): lambda members: ensemble.StackingRegressor(
        members, ensemble.RandomForestRegressor(5, max_depth=4, random_state=1), cv=2, passthrough=True
    ),
    ("StackingClassifier on LightGBM", "CatBoost, forest"): lambda members: ensemble.StackingClassifier(
        members, lgb.LGBMClassifier(n_estimators=4, num_leaves=7, verbosity=-1, n_jobs=1), cv=2
    ),
    ("StackingClassifier", "XGBoost, LightGBM, forest"): lambda members: ensemble.StackingClassifier(members, cv=2),
    ("CalibratedClassifierCV", "XGBoost, LightGBM, forest"): lambda members: CalibratedClassifierCV(
        ensemble.VotingClassifier(members, voting="soft"), method="sigmoid", cv=2
    ),
    ("MultiOutputClassifier", "XGBoost"): lambda members: MultiOutputClassifier(members[0][1]),
    ("MultiOutputClassifier", "LightGBM"): lambda members: MultiOutputClassifier(members[0][1]),
}  # fmt: skip
"""By estimator and the libraries of its members."""


def fitted(words: tuple[str, str], rows: Rows, signal: Rows, seed: int, trees: int, depth: int) -> tuple[Any, Rows]:
    """Return a fitted combination, and its own answers to its training rows."""
    name, members = words
    is_classifier = "Classifier" in name
    made = _members("Classifier" if is_classifier else "Regressor", members, seed, trees, depth)
    model = COMBINATIONS[words](made)
    if not is_classifier:
        return model.fit(rows, signal), np.asarray(model.predict(rows), np.float64)
    target = np.digitize(signal, np.quantile(signal, [0.3, 0.7]))
    if name == "MultiOutputClassifier":
        model.fit(rows, np.column_stack([target, (signal > np.median(signal)).astype(int)]))
        return model, np.hstack(model.predict_proba(rows))
    model.fit(rows, target)
    return model, np.asarray(model.predict_proba(rows), np.float64)
