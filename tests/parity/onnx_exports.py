"""Models of every library as its usual exporter writes them to ONNX.

No exporter writes how many training rows took each branch. Sending the training rows through the file's trees finds the
counts again; where the library counts rows too, contributions must be those of the model that the file was made of.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import catboost as cb
import lightgbm as lgb
import numpy as np
import onnx
import onnxmltools
import skl2onnx
import xgboost as xgb
from onnxmltools.convert.common.data_types import FloatTensorType
from sklearn.base import is_classifier

from mlrf.builder.exporters.onnx.export import export_onnx
from mlrf.builder.importers.detect import import_model

if TYPE_CHECKING:
    from zoo import Cell

_OPSET = 15
_OWN = 5
_ESTIMATORS = ("DecisionTree", "ExtraTree", "RandomForest", "ExtraTrees", "GradientBoosting")
_OBJECTIVES = {
    "lightgbm": ("regression", "poisson", "quantile", "binary", "multiclass", "lambdarank"),
    "xgboost": ("reg:squarederror", "binary:logistic", "multi:softprob"),
    "catboost": ("RMSE", "Logloss", "MultiClass"),
    "sklearn": tuple(name + task for name in _ESTIMATORS for task in ("Classifier", "Regressor")),
}
"""What the exporters can write and we can read. skl2onnx 1.20 fails at histograms with onnx 1.23."""
_KINDS = ("gbdt", "gbtree", "SymmetricTree", "2 classes", "4 classes", "regressor")


def writers(source: Cell) -> list[tuple[str, int]]:
    """Who writes the model of a cell, and the versions of ai.onnx.ml that the files declare."""
    if source.kind not in _KINDS or source.objective not in _OBJECTIVES[source.library]:
        return []
    if source.library == "lightgbm":
        is_own = source.splits == "numeric" and source.missing != "zero" and source.objective != "binary"
        return [("onnxmltools", 1), ("onnxmltools", 3), *([("mlrf", _OWN)] if is_own else [])]
    if source.splits != "numeric":
        return []
    return {
        "xgboost": [("onnxmltools", 1), ("onnxmltools", 3)],
        "catboost": [("catboost", 2)],
        "sklearn": [("skl2onnx", 1), ("skl2onnx", 3)],
    }[source.library]


def exported(model: Any, version: int) -> onnx.ModelProto:
    """A fitted model as an ONNX file that declares this version of ai.onnx.ml."""
    if version == _OWN:
        read = import_model(model)
        return onnx.load_model_from_string(export_onnx(read.forest, read.link))
    written = _written(model)
    for opset in written.opset_import:
        if opset.domain == "ai.onnx.ml":
            opset.version = version
    return written


def _written(model: Any) -> onnx.ModelProto:
    if isinstance(model, cb.CatBoost):
        with tempfile.TemporaryDirectory() as folder:
            model.save_model(str(Path(folder) / "m.onnx"), format="onnx")
            return onnx.load(Path(folder) / "m.onnx")
    if isinstance(model, lgb.Booster):
        inputs = [("x", FloatTensorType([None, model.num_feature()]))]
        return onnxmltools.convert_lightgbm(model, initial_types=inputs, target_opset=_OPSET, zipmap=False)
    if isinstance(model, xgb.Booster):
        inputs = [("x", FloatTensorType([None, model.num_features()]))]
        return onnxmltools.convert_xgboost(model, initial_types=inputs, target_opset=_OPSET)
    options = {"zipmap": False} if is_classifier(model) else None
    example = np.zeros((1, model.n_features_in_), np.float32)
    return skl2onnx.to_onnx(model, example, target_opset={"": _OPSET, "ai.onnx.ml": 1}, options=options)


def counts_rows(source: Cell, exporter: str) -> bool:
    """Whether the covers of the model's own explanations are numbers of training rows, which the file sends to the same leaves."""
    return (
        source.splits == "numeric"
        and not (source.library == "xgboost" and source.objective != "reg:squarederror")  # Hessians
        and not source.objective.startswith("RandomForest")  # rows as often as each tree drew them
        # What the exporters lose: the side of missing values, and thresholds that are not float32.
        and not (source.library == "sklearn" and source.missing == "NaN")
        and not (source.library == "lightgbm" and exporter.startswith("onnxmltools"))
    )
