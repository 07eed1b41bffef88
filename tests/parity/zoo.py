"""Small models of every library and kind, the same for the same cell and seed, for the parity matrix and the random tests."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import catboost as cb
import lightgbm as lgb
import numpy as np
import pandas as pd
import xgboost as xgb
from sklearn import ensemble, tree

import combination_models
import models as lightgbm_models
import onnx_exports
import onnx_pipelines
import pipelines
import treelite_models
import xgboost_models
import ydf_models
from mlrf.builder.importers.catboost import reference as catboost_answers
from mlrf.builder.importers.detect import import_model
from mlrf.builder.importers.imported_model import ImportOptions
from mlrf.builder.importers.xgboost import reference as xgboost_answers
from mlrf.core.leniency import STRICT
from mlrf.core.schema import Schema
from mlrf.model.table_input import read_rows

Rows = np.ndarray
Contributions = Callable[[Rows], Rows | None]
"""Of rows [n, F], the library's own contributions and base [n, F + 1, K]; None where they do not add up to its own answer."""


@dataclass(frozen=True, order=True)
class Cell:
    """One kind of model."""

    library: str
    objective: str
    kind: str
    splits: str
    missing: str
    source: Cell | None = None
    """The model that an ONNX file was made of."""


@dataclass(frozen=True)
class Grown:
    """A fitted model, and a function for its own contributions; None if it has none that add up."""

    model: Any
    contributions: Contributions | None
    rows: Rows
    """What it was trained on."""
    has_covers: bool = True
    """Whether the model tells how many training rows took each branch."""
    categories: dict[str, list[Any]] = field(default_factory=dict)
    """Names of categories that the model keeps hashes of."""
    whole: tuple[Any, np.ndarray] | None = None
    """A raw table, and the model's own predictions for it."""


LIGHTGBM = (
    "regression", "regression_l1", "huber", "fair", "poisson", "quantile", "mape", "gamma", "tweedie", "binary", "multiclass",
    "multiclassova", "cross_entropy", "cross_entropy_lambda", "lambdarank", "rank_xendcg",
)  # fmt: skip
LINEAR = ("regression", "binary", "multiclass", "poisson")
"""Objectives of LightGBM's linear trees."""
SEVERAL_OUTPUTS = {
    "vector leaves": ("reg:squarederror", "reg:logistic", "multi:softprob", "binary:logistic"),
    "several targets": ("reg:squarederror", "binary:logistic", "binary:hinge"),
}
"""Kinds of XGBoost models of several outputs: with a vector a leaf, or a tree for each output; and their objectives."""
CATBOOST = {
    "RMSE": 0, "MAE": 0, "Quantile": 0, "LogCosh": 0, "Poisson": 0, "Logloss": 2, "CrossEntropy": 1, "MultiClass": 3,
    "MultiClassOneVsAll": 3, "YetiRank": 3, "MultiRMSE": 0, "MultiQuantile:alpha=0.1,0.9": 0, "RMSEWithUncertainty": 0,
    "MultiLogloss": 2,
}  # fmt: skip
"""Losses, and the classes of their targets: 0 a number, 1 a share."""
CTR_TYPES = {
    "CTR": None,
    "CTR, all types": [
        "Borders:TargetBorderCount=3",
        "Buckets:TargetBorderCount=2",
        "BinarizedTargetMeanValue",
        "Counter",
    ],
}
"""Types of CTR features by the name of a cell's splits; None: CatBoost's own choice."""
CTR_CATEGORIES = {"c": list(range(5)), "d": list(range(12))}
SKLEARN = {
    f"{name}{task}": getattr(module, f"{name}{task}")
    for module, names in (
        (tree, ("DecisionTree", "ExtraTree")),
        (ensemble, ("RandomForest", "ExtraTrees", "GradientBoosting", "HistGradientBoosting")),
    )
    for name in names
    for task in ("Classifier", "Regressor")
}
COMBINED = {
    "BaggingClassifier": ("2 classes", "4 classes"),
    "BaggingRegressor": ("regressor",),
    "AdaBoostClassifier": ("2 classes", "4 classes"),
    "IsolationForest": ("outliers",),
}
"""Combinations of single trees, and what they predict."""
SEVERAL_TARGETS = tuple(
    name + task for name in ("DecisionTree", "RandomForest", "ExtraTrees") for task in ("Classifier", "Regressor")
)
"""Trees and forests that answer several targets at once."""


def cells() -> list[Cell]:
    """Every cell of the matrix."""
    found = [
        Cell("lightgbm", objective, kind, splits, missing)
        for objective in LIGHTGBM
        for kind, splits, missing in [
            *itertools.product(["gbdt"], ["numeric", "categorical"], ["NaN", "none", "zero"]),
            *itertools.product(["dart", "rf", "goss"], ["categorical"], ["NaN"]),
            *(
                [("linear trees", "numeric", "NaN"), ("linear trees", "categorical", "none")]
                if objective in LINEAR
                else []
            ),
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
        if kind != "forest" or xgboost_models.boosts_forests(objective)
    ]
    found += [
        Cell("xgboost", objective, kind, "numeric", "NaN")
        for kind, objectives in SEVERAL_OUTPUTS.items()
        for objective in objectives
    ]
    found += [
        Cell("catboost", loss, kind, splits, missing)
        for loss in CATBOOST
        for kind, splits, missing in [
            *itertools.product(["SymmetricTree"], ["numeric"], ["Min", "Max", "none"]),
            ("SymmetricTree", "one-hot", "Min"),
            *itertools.product(["Depthwise", "Lossguide"], ["numeric"], ["Min"]),
            *itertools.product(["SymmetricTree", "Lossguide"], CTR_TYPES, ["Min"]),
        ]
        if kind == "SymmetricTree" or loss != "YetiRank"
        # CatBoost takes borders of the target for losses of numbers and of classes alone.
        if splits != "CTR, all types" or loss in ("RMSE", "MAE", "MultiClass", "MultiRMSE")
    ]
    for name in SKLEARN:
        kinds = ["2 classes", "4 classes"] if name.endswith("Classifier") else ["regressor"]
        holes = ["none"] if name.startswith("GradientBoosting") else ["none", "NaN"]
        splits = ["numeric", "categorical"] if name.startswith("Hist") else ["numeric"]
        found += [Cell("sklearn", name, *rest) for rest in itertools.product(kinds, splits, holes)]
    found += [
        Cell("sklearn", name, kind, "numeric", missing)
        for name, kinds in COMBINED.items()
        for kind in kinds
        for missing in (("none",) if name.startswith("Ada") else ("none", "NaN"))
    ]
    found += [
        Cell("sklearn", name, "several targets", "numeric", missing)
        for name in SEVERAL_TARGETS
        for missing in ("none", "NaN")
    ]
    found += [Cell("combination", *words, "numeric", "none") for words in combination_models.COMBINATIONS]
    found += [
        Cell("treelite", *source.split(" ", 1), "categorical" if "categories" in source else "numeric", "NaN")
        for source in treelite_models.SOURCES
    ]
    found += [Cell("ydf", *source.split(" ", 1), "categorical", "NaN") for source in ydf_models.SOURCES]
    folded = [Cell("pipeline", *words) for words in pipelines.KINDS]
    exported = [Cell("onnx", *words) for words in onnx_pipelines.KINDS]
    return found + folded + [cell for source in found for cell in _in_onnx(source)] + exported


def _in_onnx(source: Cell) -> Iterator[Cell]:
    """Yield the cells of a source's ONNX files: who wrote them, and in which version of ai.onnx.ml."""
    words = f"{source.library} {source.objective}" + f", {source.kind}" * (source.library == "sklearn")
    for exporter, version in onnx_exports.writers(source):
        yield Cell("onnx", words, f"{exporter}, ai.onnx.ml {version}", source.splits, source.missing, source)


def grow(cell: Cell, seed: int = 0, *, trees: int = 12, depth: int = 4) -> Grown:
    """Train the model of a cell."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return GROWERS[cell.library](cell, seed, trees, depth)


def _lightgbm(cell: Cell, seed: int, trees: int, depth: int) -> Grown:
    options: dict[str, Any] = {"boosting": cell.kind, "num_leaves": 2**depth}
    if cell.kind == "rf":
        options |= {"bagging_freq": 1, "bagging_fraction": 0.7}
    if cell.kind == "linear trees":
        options |= {"boosting": "gbdt", "linear_tree": True}
    if cell.kind == "goss":
        options |= {"boosting": "gbdt", "data_sample_strategy": "goss"}
    options |= {"none": {"use_missing": False}, "zero": {"zero_as_missing": True}, "NaN": {}}[cell.missing]
    given = lightgbm_models.data(seed, levels=(7, 40) if cell.splits == "categorical" else (), n=400)
    booster = lightgbm_models.train(cell.objective, given, rounds=trees, **options)
    n_outputs = booster.num_model_per_iteration()

    def contributions(rows: Rows) -> Rows:
        values = np.asarray(booster.predict(rows, pred_contrib=True)).reshape(len(rows), n_outputs, -1)
        # Of a random forest they are sums over the trees; the margin is the mean.
        return values.transpose(0, 2, 1) / (booster.num_trees() / n_outputs if cell.kind == "rf" else 1.0)

    return Grown(booster, contributions if cell.kind != "linear trees" else None, given.rows)


def _xgboost(cell: Cell, seed: int, trees: int, depth: int) -> Grown:
    options: dict[str, Any] = {
        "gbtree": {}, "dart": {"booster": "dart", "rate_drop": 0.3}, "forest": {"num_parallel_tree": 3, "subsample": 0.7},
        "vector leaves": {**xgboost_models.VECTOR_LEAVES, "targets": 3}, "several targets": {"targets": 3},
    }[cell.kind]  # fmt: skip
    options = {**options, "max_depth": depth, "max_cat_to_onehot": 100 if cell.splits == "one-hot" else 1}
    booster = xgboost_models.train(
        cell.objective, seed, rounds=trees, types=["float"] * 5 if cell.splits == "numeric" else None,
        missing=cell.missing == "NaN", **options,
    )  # fmt: skip

    def contributions(rows: Rows) -> Rows:
        values = booster.predict(xgboost_answers.matrix(booster, rows), pred_contribs=True)
        return values.reshape(len(rows), -1, rows.shape[1] + 1).transpose(0, 2, 1)

    # XGBoost explains vector leaves since 3.4.
    explains = cell.kind != "vector leaves" or tuple(map(int, xgb.__version__.split(".")[:2])) >= (3, 4)
    rows = xgboost_models.data(seed, missing=cell.missing == "NaN")[0]
    return Grown(booster, contributions if explains else None, rows)


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
    if cell.objective in ("MultiRMSE", "MultiLogloss"):
        target = np.column_stack([target, target[::-1]])
    table: Any = rows
    named: list[str] = []
    if cell.splits != "numeric":
        named = ["d"] if cell.splits == "one-hot" else ["c", "d"]
        if "c" in named:
            rows[:, 2] = np.digitize(np.nan_to_num(rows[:, 2]), [-1.0, 0.0, 0.7, 1.2])
        table = pd.DataFrame(rows, columns=list("abcd"))
        table[named] = table[named].astype(int)
    group = np.arange(len(rows)) // 10 if cell.objective == "YetiRank" else None
    pool = cb.Pool(table, target, cat_features=named or None, group_id=group)
    options = {
        "loss_function": cell.objective, "iterations": trees, "depth": depth, "grow_policy": cell.kind, "verbose": 0,
        "allow_writing_files": False, "thread_count": 1, "random_seed": seed % 1000,
        # Of a CTR cell, five categories are split one by one and twelve by statistics, alone and combined.
        "one_hot_max_size": 5 if cell.splits in CTR_TYPES else 50,
    }  # fmt: skip
    if (types := CTR_TYPES.get(cell.splits)) is not None:
        options |= {"simple_ctr": types, "combinations_ctr": types, "one_hot_max_size": 2}
    if cell.missing != "none":
        options["nan_mode"] = cell.missing
    model = cb.CatBoost(options).fit(pool)

    def contributions(inputs: Rows) -> Rows:
        categories = model.get_cat_feature_indices()
        table: Any = inputs
        if categories:
            settings = import_model(model, ImportOptions(categories_of(cell))).settings
            table = catboost_answers._table(inputs, model, settings["categories"])
        given = cb.Pool(table, cat_features=categories)
        values = np.asarray(model.get_feature_importance(given, type="ShapValues", thread_count=1))
        return values.reshape(len(inputs), -1, inputs.shape[1] + 1).transpose(0, 2, 1)

    # CatBoost's contributions of trees that are not oblivious, and of a variance, do not add up to its own prediction.
    adds_up = cell.kind == "SymmetricTree" and cell.objective != "RMSEWithUncertainty"
    values = contributions if adds_up else None
    return Grown(model, values, rows, categories=categories_of(cell))


def categories_of(cell: Cell) -> dict[str, list[Any]]:
    """Return the names of a cell's categories, where its model keeps only hashes that integers do not tell."""
    return CTR_CATEGORIES if cell.splits in CTR_TYPES else {}


def _sklearn(cell: Cell, seed: int, trees: int, depth: int) -> Grown:
    rows, signal = _rows(seed, missing=cell.missing == "NaN")
    if cell.kind == "several targets":
        options = {"random_state": seed % 1000, "max_depth": depth, "n_estimators": trees}
        return _several_targets(cell, rows, signal, options)
    target = _classes(signal, int(cell.kind[0])) if cell.objective.endswith("Classifier") else signal
    if cell.objective in COMBINED:
        options = (
            {} if cell.kind == "outliers" else {"estimator": SKLEARN[f"DecisionTree{_task(cell)}"](max_depth=depth)}
        )
        model = getattr(ensemble, cell.objective)(n_estimators=trees, random_state=seed % 1000, **options)
        return Grown(model.fit(rows, target), None, rows)
    options: dict[str, Any] = {"random_state": seed % 1000, "max_depth": depth}
    if cell.objective.startswith("Hist"):
        options |= {"max_iter": trees, "categorical_features": [3] if cell.splits == "categorical" else None}
    elif not cell.objective.startswith(("Decision", "ExtraTreeC", "ExtraTreeR")):
        options["n_estimators"] = trees
    model = SKLEARN[cell.objective](**options).fit(rows, target)

    def contributions(inputs: Rows) -> Rows | None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import shap  # noqa: PLC0415  draws its colours when it is imported, with warnings

            explainer = shap.TreeExplainer(model)
        values = np.asarray(explainer.shap_values(inputs, check_additivity=False)).reshape(*inputs.shape, -1)
        base = np.broadcast_to(np.reshape(explainer.expected_value, -1), (len(inputs), 1, values.shape[2]))
        whole = np.concatenate([values, base], axis=1)
        ask = [getattr(model, name, None) for name in ("decision_function", "predict_proba", "predict")]
        answers = next(each for each in ask if each is not None)(inputs).reshape(len(inputs), -1)
        # It takes a category of a histogram for a number.
        if not np.allclose(whole.sum(axis=1), answers, rtol=1e-6, atol=1e-6):
            return None
        return whole[:, :, -1:] if cell.kind == "2 classes" else whole

    # shap knows no gradient boosting of several classes; 0.47 sends missing values elsewhere than scikit-learn does.
    known = (cell.objective, cell.kind) != ("GradientBoostingClassifier", "4 classes")
    known &= tuple(int(part) for part in metadata.version("shap").split(".")[:2]) >= (0, 51)
    return Grown(model, contributions if known else None, rows)


def _several_targets(cell: Cell, rows: Rows, signal: Rows, options: dict[str, Any]) -> Grown:
    """Return a model of a target of three classes and one of two, or of two numbers."""
    if cell.objective.startswith("DecisionTree"):
        del options["n_estimators"]
    is_classifier = cell.objective.endswith("Classifier")
    targets = [_classes(signal, 3), _classes(-signal, 2)] if is_classifier else [signal, signal**2]
    model = SKLEARN[cell.objective](**options).fit(rows, np.column_stack(targets))
    answers = np.hstack(model.predict_proba(rows)) if is_classifier else model.predict(rows)
    return Grown(model, None, rows, whole=(rows, answers))


def _combination(cell: Cell, seed: int, trees: int, depth: int) -> Grown:
    rows, signal = _rows(seed, missing=False)
    model, answers = combination_models.fitted((cell.objective, cell.kind), rows, signal, seed, trees, depth)
    return Grown(model, None, rows, whole=(rows, answers))


def _task(cell: Cell) -> str:
    return "Classifier" if cell.objective.endswith("Classifier") else "Regressor"


def _onnx(cell: Cell, seed: int, trees: int, depth: int) -> Grown:
    if cell.source is None:
        words = (cell.objective, cell.kind, cell.splits, cell.missing)
        pipeline, raw, answers = onnx_pipelines.exported(words, seed, trees, depth)
        schema = Schema(import_model(pipeline).features)
        rows = read_rows(schema, raw[list(schema.names)], STRICT)
        return Grown(pipeline, None, rows, has_covers=False, whole=(raw[list(schema.names)], answers))
    source = grow(cell.source, seed, trees=trees, depth=depth)
    contributions = source.contributions if onnx_exports.counts_rows(cell.source, cell.kind) else None
    proto = onnx_exports.exported(source.model, int(cell.kind[-1]))
    return Grown(proto, contributions, source.rows, has_covers=False)


def _pipeline(cell: Cell, seed: int, trees: int, depth: int) -> Grown:
    words = (cell.objective, cell.kind, cell.splits, cell.missing)
    fitted, raw, answers = pipelines.fitted(words, seed, trees, depth)
    return Grown(fitted, None, np.empty((0, 0)), whole=(raw, answers))


def _treelite(cell: Cell, seed: int, trees: int, depth: int) -> Grown:
    return Grown(treelite_models.checkpoint(f"{cell.objective} {cell.kind}", seed, trees), None, np.empty((0, 0)))


def _ydf(cell: Cell, seed: int, trees: int, depth: int) -> Grown:
    return Grown(ydf_models.train(f"{cell.objective} {cell.kind}", seed, trees), None, np.empty((0, 0)))


GROWERS = {
    "lightgbm": _lightgbm,
    "xgboost": _xgboost,
    "catboost": _catboost,
    "sklearn": _sklearn,
    "combination": _combination,
    "pipeline": _pipeline,
    "treelite": _treelite,
    "ydf": _ydf,
    "onnx": _onnx,
}


lgb.register_logger(type("Silent", (), {"info": lambda *_: None, "warning": lambda *_: None})())
