"""Random scikit-learn pipelines around tree models: steps and raw frames drawn by a seed, always the same for the same seed."""

from __future__ import annotations

import itertools
from typing import Any

import catboost as cb
import lightgbm as lgb
import numpy as np
import pandas as pd
import xgboost as xgb
from sklearn import ensemble, tree
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import VarianceThreshold
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

MODELS = (
    "LGBM",
    "XGB",
    "CatBoost",
    "RandomForest",
    "ExtraTrees",
    "DecisionTree",
    "GradientBoosting",
    "HistGradientBoosting",
)
KINDS = [
    (f"{model}{task}", matrix, splits, missing)
    for model, task, matrix, splits, missing in itertools.product(
        MODELS, ("Classifier", "Regressor"), ("dense", "sparse"), ("numeric", "mixed"), ("NaN", "imputed")
    )
    if (model, matrix) != ("HistGradientBoosting", "sparse")  # it takes none
    and not (model == "GradientBoosting" and missing == "NaN")
    and not (matrix == "sparse" and missing == "NaN" and model in ("RandomForest", "ExtraTrees", "DecisionTree"))
    and not (matrix == "sparse" and splits == "numeric")
]
"""Model, matrix that it sees, raw columns, and what becomes of missing numbers."""


def frame(seed: int, n: int = 400) -> pd.DataFrame:
    """Return a raw frame: numbers, whole numbers, strings, booleans, some missing."""
    rng = np.random.default_rng(seed)
    raw = pd.DataFrame(
        {
            "price": rng.exponential(20.0, n).round(2),
            "size": rng.normal(size=n) * 10.0 ** rng.integers(-3, 4),
            "visits": rng.integers(0, 30, n),
            "zeros": rng.normal(size=n) * (rng.random(n) < 0.6),
            "city": rng.choice(["Oslo", "Rome", "Bonn", "Nice", "Graz"], n, p=[0.4, 0.3, 0.2, 0.07, 0.03]),
            "grade": rng.choice([10, 20, 30, 40], n),
            "open": rng.random(n) < 0.4,
        }
    )
    raw.loc[rng.random(n) < 0.1, "size"] = np.nan
    raw["city"] = raw["city"].astype(object)
    raw.loc[rng.random(n) < 0.05, "city"] = np.nan
    return raw


def target(raw: pd.DataFrame, seed: int) -> np.ndarray:
    """Return numbers that depend on every column."""
    rng = np.random.default_rng(seed + 1)
    scaled = raw["size"].fillna(0.0) / raw["size"].std()
    return np.asarray(
        raw["price"] / 20 + scaled + raw["zeros"] + (raw["city"] == "Rome") * 2.0 + raw["grade"] / 20 + raw["open"]
        + (raw["visits"] > 11) + rng.normal(size=len(raw)) / 2,
        np.float64,
    )  # fmt: skip


def fitted(
    words: tuple[str, str, str, str], seed: int, trees: int, depth: int
) -> tuple[Pipeline, pd.DataFrame, np.ndarray]:
    """Return a fitted pipeline of a kind, a raw frame, and the pipeline's own predictions for it."""
    model, matrix, splits, missing = words
    rng = np.random.default_rng(seed)
    raw = frame(seed)
    numbers = target(raw, seed)
    if model.endswith("Classifier"):
        n_classes = int(rng.choice([2, 2, 3]))
        numbers = np.searchsorted(np.quantile(numbers, np.arange(1, n_classes) / n_classes), numbers)
    pipeline = Pipeline(
        [
            ("columns", _columns(rng, matrix, splits, missing, numbers)),
            *([("vary", VarianceThreshold())] if rng.random() < 0.2 else []),
            ("model", _model(model, seed, trees, depth)),
        ]
    )
    pipeline.fit(raw, numbers)
    if model.endswith("Classifier"):
        shares = pipeline.predict_proba(raw)
        return pipeline, raw, shares[:, 1] if shares.shape[1] == 2 else shares
    return pipeline, raw, np.asarray(pipeline.predict(raw), np.float64)


def _columns(
    rng: np.random.Generator, matrix: str, splits: str, missing: str, numbers: np.ndarray
) -> ColumnTransformer:
    parts: list[tuple[str, Any, list[str]]] = []
    for column in ("price", "size", "visits", "zeros"):
        steps: list[tuple[str, Any]] = []
        if missing == "imputed":
            strategy = str(rng.choice(["mean", "median", "most_frequent"]))
            steps.append(("fill", SimpleImputer(strategy=strategy, add_indicator=bool(rng.random() < 0.5))))
        steps += [
            (f"scale{number}", _scaler(rng, has_missing=missing == "NaN")) for number in range(int(rng.integers(0, 3)))
        ]
        if rng.random() < 0.3:
            steps.append(("function", _function(rng)))
        part: Any = Pipeline(steps) if steps else "passthrough"
        if rng.random() < 0.2 and missing == "imputed":
            part = FeatureUnion([("scaled", part), ("missing", MissingIndicator(error_on_new=False))])
        parts.append((column, part, [column]))
    if missing == "imputed" and rng.random() < 0.3:
        bins = KBinsDiscretizer(int(rng.integers(2, 5)), encode=str(rng.choice(["ordinal", "onehot", "onehot-dense"])))
        parts.append(("bins", bins, ["price"]))
    if splits == "mixed":
        parts += [
            ("city", _encoder(rng, numbers), ["city"]),
            ("grade", _encoder(rng, numbers, plain=True), ["grade", "open"]),
        ]
    rng.shuffle(parts)
    # The one-hot columns are few: whether the matrix is sparse is for the threshold to say.
    if matrix == "sparse":
        parts.append(("sparse", OneHotEncoder(handle_unknown="ignore"), ["city"]))
    return ColumnTransformer(parts, remainder="drop", sparse_threshold=1.0 if matrix == "sparse" else 0.0)


def _scaler(rng: np.random.Generator, *, has_missing: bool) -> Any:
    scalers = [StandardScaler(), MinMaxScaler(), MaxAbsScaler(), RobustScaler(), QuantileTransformer(n_quantiles=40)]
    if not has_missing:
        scalers.append(KBinsDiscretizer(5, encode="ordinal"))
    return scalers[int(rng.integers(len(scalers)))]


def _function(rng: np.random.Generator) -> Any:
    """Return a step whose results differ between processors, for any numbers or after moving them above zero."""
    functions = [
        FunctionTransformer(np.cbrt),
        FunctionTransformer(np.arcsinh),
        PowerTransformer(standardize=bool(rng.random() < 0.5)),
        QuantileTransformer(n_quantiles=40, output_distribution="normal"),
        *(
            Pipeline([("positive", MinMaxScaler((1, 3))), ("function", function)])
            for function in (
                *(FunctionTransformer(each) for each in (np.log, np.log1p, np.log10, np.sqrt, np.exp, np.expm1)),
                PowerTransformer(),  # Box-Cox cannot be fitted to a constant column
            )
        ),
    ]
    return functions[int(rng.integers(len(functions)))]


def _encoder(rng: np.random.Generator, numbers: np.ndarray, *, plain: bool = False) -> Any:
    encoders: list[Any] = [
        OneHotEncoder(handle_unknown="ignore"),
        OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=30),
        OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=30, drop="first"),
        OneHotEncoder(drop="if_binary", handle_unknown="ignore"),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2),
        OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=99, encoded_missing_value=-2, max_categories=3
        ),
        TargetEncoder(target_type="continuous" if numbers.dtype.kind == "f" else "auto"),
        OneHotEncoder(),
    ]
    encoder = encoders[int(rng.integers(len(encoders)))]
    if not plain and rng.random() < 0.4:
        return Pipeline([("fill", SimpleImputer(strategy="constant", fill_value="none")), ("encode", encoder)])
    return encoder


def _model(name: str, seed: int, trees: int, depth: int) -> Any:
    if name.startswith("LGBM"):
        return getattr(lgb, name)(n_estimators=trees, num_leaves=2**depth, min_child_samples=5, verbosity=-1, n_jobs=1)
    if name.startswith("XGB"):
        return getattr(xgb, name)(n_estimators=trees, max_depth=depth, n_jobs=1)
    if name.startswith("CatBoost"):
        return getattr(cb, name)(
            iterations=trees, depth=depth, verbose=False, thread_count=1, allow_writing_files=False
        )
    if name.startswith("HistGradientBoosting"):
        return getattr(ensemble, name)(max_iter=trees, max_depth=depth, min_samples_leaf=5, random_state=seed)
    if name.startswith("DecisionTree"):
        return getattr(tree, name)(max_depth=depth, random_state=seed)
    return getattr(ensemble, name)(n_estimators=trees, max_depth=depth, random_state=seed)
