"""Random scikit-learn pipelines around tree models as skl2onnx exports them: always the same for the same seed."""

from __future__ import annotations

import itertools
import warnings
from functools import cache
from typing import Any

import lightgbm as lgb
import numpy as np
import onnx
import onnxruntime as ort
import pandas as pd
import xgboost as xgb
from sklearn import ensemble, tree
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    Binarizer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import skl2onnx
    from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm
    from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost
    from skl2onnx.common.data_types import BooleanTensorType, FloatTensorType, Int64TensorType, StringTensorType
    from skl2onnx.common.shape_calculator import (
        calculate_linear_classifier_output_shapes,
        calculate_linear_regressor_output_shapes,
    )

MODELS = ("DecisionTree", "RandomForest", "ExtraTrees", "GradientBoosting", "LGBM", "XGB")
KINDS = [
    (f"{model}{task}", "skl2onnx pipeline", splits, missing)
    for model, task, splits, missing in itertools.product(
        MODELS, ("Classifier", "Regressor"), ("numeric", "mixed"), ("NaN", "imputed")
    )
    # Its trees know no missing values, or lose in ONNX the side that they take.
    if missing == "imputed" or model in ("LGBM", "XGB")
]
"""Model, exporter, raw columns, and what becomes of missing numbers."""
NUMBERS = ("price", "size", "zeros")
_TYPES = {"f": FloatTensorType, "i": Int64TensorType, "b": BooleanTensorType, "O": StringTensorType}
_OPSET = {"": 17, "ai.onnx.ml": 3}


def frame(seed: int, n: int = 300) -> pd.DataFrame:
    """Return a raw frame: numbers, some of them missing, whole numbers, strings and booleans."""
    rng = np.random.default_rng(seed)
    raw = pd.DataFrame(
        {
            "price": rng.exponential(20.0, n).round(2).astype(np.float32),
            "size": (rng.normal(size=n) * 10.0 ** rng.integers(-3, 4)).astype(np.float32),
            "zeros": (rng.normal(size=n) * (rng.random(n) < 0.6)).astype(np.float32),
            "visits": rng.integers(0, 30, n),
            "grade": rng.choice([10, 20, 30, 40], n),
            "city": rng.choice(["Oslo", "Rome", "Bonn", "Nice", "Graz"], n, p=[0.4, 0.3, 0.2, 0.07, 0.03]),
            "plan": rng.choice(["basic", "plus"], n),
        }
    )
    raw[["city", "plan"]] = raw[["city", "plan"]].astype(object)
    raw.loc[rng.random(n) < 0.1, "size"] = np.nan
    return raw


def exported(
    words: tuple[str, str, str, str], seed: int, trees: int, depth: int
) -> tuple[onnx.ModelProto, pd.DataFrame, np.ndarray]:
    """Return the ONNX file of a pipeline of a kind, its training frame, and ONNX Runtime's answers to that frame."""
    model, _, splits, missing = words
    rng = np.random.default_rng(seed)
    raw = frame(seed)
    numbers = _target(raw, seed)
    if model.endswith("Classifier"):
        n_classes = int(rng.choice([2, 2, 3]))
        numbers = np.searchsorted(np.quantile(numbers, np.arange(1, n_classes) / n_classes), numbers)
    pipeline = Pipeline(
        [
            ("columns", _columns(rng, splits, missing, numbers)),
            *([("vary", VarianceThreshold())] if rng.random() < 0.2 else []),
            ("model", _model(model, seed, trees, depth)),
        ]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.fit(raw, numbers)
        proto = to_onnx(pipeline, raw)
    return proto, raw, answers(proto, raw)


def to_onnx(pipeline: Any, raw: pd.DataFrame) -> onnx.ModelProto:
    """Return a pipeline as skl2onnx writes it, with an input for each column of its frame."""
    _register()
    types = [(name, _TYPES[raw[name].dtype.kind]([None, 1])) for name in raw]
    options = {id(pipeline): {"zipmap": False}} if hasattr(pipeline, "predict_proba") else None
    return skl2onnx.to_onnx(pipeline, initial_types=types, options=options, target_opset=_OPSET)


def answers(proto: onnx.ModelProto, raw: pd.DataFrame) -> np.ndarray:
    """Return ONNX Runtime's answers to a raw frame: numbers [n, K], or of two classes the share of the second [n, 1]."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feed = {each.name: raw[[each.name]].to_numpy() for each in session.get_inputs()}
    found = np.asarray(session.run([proto.graph.output[-1].name], feed)[0], np.float64).reshape(len(raw), -1)
    return found[:, 1:] if len(proto.graph.output) > 1 and found.shape[1] == 2 else found


@cache
def _register() -> None:
    for kind, outputs in (
        ("Classifier", calculate_linear_classifier_output_shapes),
        ("Regressor", calculate_linear_regressor_output_shapes),
    ):
        options = {"nocl": [True, False], "zipmap": [True, False]} if kind == "Classifier" else None
        for library, name, convert in ((lgb, "LGBM", convert_lightgbm), (xgb, "XGB", convert_xgboost)):
            skl2onnx.update_registered_converter(
                getattr(library, name + kind), name + kind, outputs, convert, options=options
            )


def _target(raw: pd.DataFrame, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed + 1)
    scaled = raw["size"].fillna(0.0) / raw["size"].std()
    return np.asarray(
        raw["price"] / 20 + scaled + raw["zeros"] + (raw["city"] == "Rome") * 2.0 + raw["grade"] / 20
        + (raw["plan"] == "plus") + (raw["visits"] > 11) + rng.normal(size=len(raw)) / 2,
        np.float64,
    )  # fmt: skip


def _columns(rng: np.random.Generator, splits: str, missing: str, numbers: np.ndarray) -> ColumnTransformer:
    is_imputed = missing == "imputed"
    groups = [["price"], ["size", "zeros"]] if rng.random() < 0.5 else [["price", "size"], ["zeros"]]
    parts: list[tuple[str, Any, list[str]]] = []
    for index, columns in enumerate(groups):
        steps: list[tuple[str, Any]] = []
        if is_imputed:
            strategy = str(rng.choice(["mean", "median", "most_frequent"]))
            steps.append(("fill", SimpleImputer(strategy=strategy)))
        steps += [(f"scale{number}", _scaler(rng, is_imputed=is_imputed)) for number in range(int(rng.integers(0, 3)))]
        parts.append((f"n{index}", Pipeline(steps) if steps else "passthrough", columns))
    whole = [StandardScaler(), MinMaxScaler(), "passthrough"]
    parts.append(("visits", whole[int(rng.integers(3))], ["visits"]))
    if is_imputed and rng.random() < 0.3:
        bins = KBinsDiscretizer(int(rng.integers(2, 5)), encode=str(rng.choice(["ordinal", "onehot-dense"])))
        parts.append(("bins", Pipeline([("fill", SimpleImputer()), ("bins", bins)]), ["price", "size"]))
    if splits == "mixed":
        parts.append(("text", _encoder(rng, numbers), ["city", "plan"]))
        parts.append(("grade", _encoder(rng, numbers), ["grade"]))
    rng.shuffle(parts)
    return ColumnTransformer(parts, remainder="drop", sparse_threshold=0.0)


def _scaler(rng: np.random.Generator, *, is_imputed: bool) -> Any:
    scalers = [StandardScaler(), MinMaxScaler(), MaxAbsScaler(), RobustScaler(), MinMaxScaler(clip=True)]
    if is_imputed:
        scalers += [KBinsDiscretizer(5, encode="ordinal"), Binarizer(threshold=0.1)]
    return scalers[int(rng.integers(len(scalers)))]


def _encoder(rng: np.random.Generator, numbers: np.ndarray) -> Any:
    encoders: list[Any] = [
        OneHotEncoder(handle_unknown="ignore"),
        OneHotEncoder(drop="first"),
        OneHotEncoder(drop="if_binary", handle_unknown="ignore"),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
        OrdinalEncoder(),
        OneHotEncoder(),
    ]
    if numbers.dtype.kind == "f":
        encoders.append(TargetEncoder(target_type="continuous"))
    return encoders[int(rng.integers(len(encoders)))]


def _model(name: str, seed: int, trees: int, depth: int) -> Any:
    if name.startswith("LGBM"):
        return getattr(lgb, name)(n_estimators=trees, num_leaves=2**depth, min_child_samples=5, verbosity=-1, n_jobs=1)
    if name.startswith("XGB"):
        return getattr(xgb, name)(n_estimators=trees, max_depth=depth, n_jobs=1)
    if name.startswith("DecisionTree"):
        return getattr(tree, name)(max_depth=depth, random_state=seed)
    return getattr(ensemble, name)(n_estimators=trees, max_depth=depth, random_state=seed)
