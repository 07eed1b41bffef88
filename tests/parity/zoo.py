"""Small models of every library and kind, always the same for the same cell and seed: what the parity matrix and the random models ask."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import catboost as cb
import lightgbm as lgb
import numpy as np
import pandas as pd
from sklearn import ensemble, tree

import models as lightgbm_models
import xgboost_models
from mlrf.builder.xgboost import answers as xgboost_answers

Rows = np.ndarray
Contributions = Callable[[Rows], Rows]
"""Of rows [n, F], the library's own contributions and base [n, F + 1, K]."""


@dataclass(frozen=True, order=True)
class Cell:
    """One kind of model."""

    library: str
    objective: str
    kind: str
    splits: str
    missing: str


@dataclass(frozen=True)
class Grown:
    """A fitted model, and how to ask it for its own contributions; None where it has none that add up."""

    model: Any
    contributions: Contributions | None


LIGHTGBM = (
    "regression", "regression_l1", "huber", "fair", "poisson", "quantile", "mape", "gamma", "tweedie", "binary", "multiclass",
    "multiclassova", "cross_entropy", "cross_entropy_lambda", "lambdarank", "rank_xendcg",
)  # fmt: skip
CATBOOST = {
    "RMSE": 0, "MAE": 0, "Quantile": 0, "LogCosh": 0, "Poisson": 0, "Logloss": 2, "CrossEntropy": 1, "MultiClass": 3,
    "MultiClassOneVsAll": 3, "YetiRank": 3,
}  # fmt: skip
"""Losses, and the classes of their targets: 0 a number, 1 a share."""
SKLEARN = {
    f"{name}{task}": getattr(module, f"{name}{task}")
    for module, names in (
        (tree, ("DecisionTree", "ExtraTree")),
        (ensemble, ("RandomForest", "ExtraTrees", "GradientBoosting", "HistGradientBoosting")),
    )
    for name in names
    for task in ("Classifier", "Regressor")
}


def cells() -> list[Cell]:
    """Every cell of the matrix."""
    found = [
        Cell("lightgbm", objective, kind, splits, missing)
        for objective in LIGHTGBM
        for kind, splits, missing in [
            *itertools.product(["gbdt"], ["numeric", "categorical"], ["NaN", "none", "zero"]),
            *itertools.product(["dart", "rf", "goss"], ["categorical"], ["NaN"]),
        ]
    ]
    found += [
        Cell("xgboost", objective, kind, splits, missing)
        for objective in xgboost_models.OBJECTIVES
        for kind, splits, missing in [
            *itertools.product(["gbtree"], ["numeric", "one-hot", "partition"], ["NaN"]),
            ("gbtree", "numeric", "none"),
            *itertools.product(["dart", "forest"], ["partition"], ["NaN"]),
        ]
    ]
    found += [
        Cell("catboost", loss, kind, splits, missing)
        for loss in CATBOOST
        for kind, splits, missing in [
            *itertools.product(["SymmetricTree"], ["numeric"], ["Min", "Max", "none"]),
            ("SymmetricTree", "one-hot", "Min"),
            *itertools.product(["Depthwise", "Lossguide"], ["numeric"], ["Min"]),
        ]
        if kind == "SymmetricTree" or loss != "YetiRank"
    ]
    for name in SKLEARN:
        kinds = ["2 classes", "4 classes"] if name.endswith("Classifier") else ["regressor"]
        holes = ["none"] if name.startswith("GradientBoosting") else ["none", "NaN"]
        splits = ["numeric", "categorical"] if name.startswith("Hist") else ["numeric"]
        found += [Cell("sklearn", name, *rest) for rest in itertools.product(kinds, splits, holes)]
    return found


def grow(cell: Cell, seed: int = 0, *, trees: int = 12, depth: int = 4) -> Grown:
    """Train the model of a cell."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {"lightgbm": _lightgbm, "xgboost": _xgboost, "catboost": _catboost, "sklearn": _sklearn}[cell.library](
            cell, seed, trees, depth
        )


def _lightgbm(cell: Cell, seed: int, trees: int, depth: int) -> Grown:
    options: dict[str, Any] = {"boosting": cell.kind, "num_leaves": 2**depth}
    if cell.kind == "rf":
        options |= {"bagging_freq": 1, "bagging_fraction": 0.7}
    if cell.kind == "goss":
        options |= {"boosting": "gbdt", "data_sample_strategy": "goss"}
    options |= {"none": {"use_missing": False}, "zero": {"zero_as_missing": True}, "NaN": {}}[cell.missing]
    given = lightgbm_models.data(seed, levels=(7, 40) if cell.splits == "categorical" else (), n=400)
    booster = lightgbm_models.train(cell.objective, given, rounds=trees, **options)
    n_outputs = booster.num_model_per_iteration()

    def contributions(rows: Rows) -> Rows:
        told = np.asarray(booster.predict(rows, pred_contrib=True)).reshape(len(rows), n_outputs, -1)
        # Of a random forest they are sums over the trees; the margin is the mean.
        return told.transpose(0, 2, 1) / (booster.num_trees() / n_outputs if cell.kind == "rf" else 1.0)

    return Grown(booster, contributions)


def _xgboost(cell: Cell, seed: int, trees: int, depth: int) -> Grown:
    options: dict[str, Any] = {
        "gbtree": {}, "dart": {"booster": "dart", "rate_drop": 0.3}, "forest": {"num_parallel_tree": 3, "subsample": 0.7},
    }[cell.kind]  # fmt: skip
    options = {**options, "max_depth": depth, "max_cat_to_onehot": 100 if cell.splits == "one-hot" else 1}
    booster = xgboost_models.train(
        cell.objective, seed, rounds=trees, types=["float"] * 5 if cell.splits == "numeric" else None,
        missing=cell.missing == "NaN", **options,
    )  # fmt: skip

    def contributions(rows: Rows) -> Rows:
        told = booster.predict(xgboost_answers.matrix(booster, rows), pred_contribs=True)
        return told.reshape(len(rows), -1, rows.shape[1] + 1).transpose(0, 2, 1)

    return Grown(booster, contributions)


def _rows(seed: int, *, missing: bool, n: int = 300) -> tuple[Rows, Rows]:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, 4)).round(2)
    rows[:, 3] = rng.integers(0, 12, n)
    signal = rows[:, 0] * rows[:, 1] + np.sin(3 * rows[:, 2]) + rng.normal(size=12)[rows[:, 3].astype(int)]
    if missing:
        rows[:, :3][rng.random((n, 3)) < 0.1] = np.nan
    return rows, signal + 0.1 * rng.normal(size=n)


def _classes(signal: Rows, count: int) -> Rows:
    return np.digitize(signal, np.quantile(signal, np.arange(1, count) / count))


def _catboost(cell: Cell, seed: int, trees: int, depth: int) -> Grown:
    rows, signal = _rows(seed, missing=cell.missing != "none")
    share = (signal - signal.min()) / np.ptp(signal)
    classes = CATBOOST[cell.objective]
    target = _classes(signal, classes) if classes > 1 else share
    table: Any = rows
    if cell.splits == "one-hot":
        table = pd.DataFrame(rows, columns=list("abcd"))
        table["d"] = table["d"].astype(int)
    group = np.arange(len(rows)) // 10 if cell.objective == "YetiRank" else None
    pool = cb.Pool(table, target, cat_features=["d"] if cell.splits == "one-hot" else None, group_id=group)
    options = {
        "loss_function": cell.objective, "iterations": trees, "depth": depth, "grow_policy": cell.kind, "verbose": 0,
        "allow_writing_files": False, "thread_count": 1, "random_seed": seed % 1000, "one_hot_max_size": 50,
    }  # fmt: skip
    if cell.missing != "none":
        options["nan_mode"] = cell.missing
    model = cb.CatBoost(options).fit(pool)

    def contributions(asked: Rows) -> Rows:
        told = np.asarray(model.get_feature_importance(cb.Pool(asked), type="ShapValues", thread_count=1))
        return told.reshape(len(asked), -1, asked.shape[1] + 1).transpose(0, 2, 1)

    # CatBoost's reasons of trees that are not oblivious do not add up to its own prediction.
    adds_up = cell.kind == "SymmetricTree" and cell.splits == "numeric"
    return Grown(model, contributions if adds_up else None)


def _sklearn(cell: Cell, seed: int, trees: int, depth: int) -> Grown:
    rows, signal = _rows(seed, missing=cell.missing == "NaN")
    target = _classes(signal, int(cell.kind[0])) if cell.objective.endswith("Classifier") else signal
    options: dict[str, Any] = {"random_state": seed % 1000, "max_depth": depth}
    if cell.objective.startswith("Hist"):
        options |= {"max_iter": trees, "categorical_features": [3] if cell.splits == "categorical" else None}
    elif not cell.objective.startswith(("Decision", "ExtraTreeC", "ExtraTreeR")):
        options["n_estimators"] = trees
    return Grown(SKLEARN[cell.objective](**options).fit(rows, target), None)


lgb.register_logger(type("Silent", (), {"info": lambda *_: None, "warning": lambda *_: None})())
