"""The prediction that a CatBoost loss computes from the raw value, as CatBoost's own estimators return it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from mlrf.builder.importers.imported_model import ClassLabel
from mlrf.core.errors import ModelUnreadableError, UnsupportedModelError
from mlrf.core.link import Link
from mlrf.core.manifest import Task

_PLAIN = ("RMSE", "MAE", "Quantile", "Huber", "MAPE", "Expectile", "LogCosh", "Lq", "LogLinQuantile", "GroupQuantile",
          "Cox", "SurvivalAft", "SMAPE", "MedianAbsoluteError", "FairLoss")  # fmt: skip
_LOGARITHMIC = ("Poisson", "Tweedie")
_BINARY = ("Logloss", "CrossEntropy", "Focal")
_RANKING = ("YetiRank", "YetiRankPairwise", "PairLogit", "PairLogitPairwise", "QueryRMSE", "QuerySoftMax",
            "QueryCrossEntropy", "StochasticRank", "StochasticFilter", "LambdaMart", "Combination", "UserPerObjMetric",
            "UserQuerywiseMetric")  # fmt: skip
_TARGETS = ("MultiRMSE", "MultiRMSEWithMissingValues", "MultiQuantile")
_LABELS = ("MultiLogloss", "MultiCrossEntropy")
_CUSTOM = ("PythonUserDefinedPerObject", "PythonUserDefinedMultiTarget", "Custom", "UserDefined", "")


@dataclass(frozen=True, slots=True)
class Objective:
    """The loss's name, the task, the link, and a classifier's labels."""

    name: str
    task: Task
    link: Link
    classes: tuple[ClassLabel, ...] | None = None
    notes: tuple[str, ...] = ()
    """The meaning of the outputs, if there are more than for one prediction."""


def read_objective(info: dict[str, Any], n_outputs: int) -> Objective:
    """Return the objective in a model's stored parameters; UnsupportedModelError names a loss that mlrf does not serve."""
    name = _loss(info)
    return _of_several(name, n_outputs) or _of_classes(info, name, n_outputs) or _of_one(name, n_outputs)


def _of_several(name: str, n_outputs: int) -> Objective | None:
    """Return the objective of a loss with several outputs."""
    if name in _TARGETS:
        what = "a quantile each, in the order of the loss" if name == "MultiQuantile" else "a target each"
        return Objective(name, "regression", Link(), notes=(f"the {n_outputs} outputs are {what}",))
    if name == "RMSEWithUncertainty":
        # CatBoost's own regressor makes a variance of the second; both are served as they are.
        what = "the two outputs are the mean and half the logarithm of the variance: exp(2 x) is the variance"
        return Objective(name, "raw", Link(), notes=(what,))
    if name in _LABELS:
        link = Link("sigmoid_each" if n_outputs > 1 else "sigmoid")
        return Objective(name, "raw", link, notes=(f"the {n_outputs} outputs are the probability of a label each",))
    return None


def _of_classes(info: dict[str, Any], name: str, n_outputs: int) -> Objective | None:
    """Return the objective of a classifier's loss."""
    if name in ("MultiClass", "MultiClassOneVsAll"):
        link = Link("softmax" if name == "MultiClass" else "sigmoid_each")
        return Objective(name, "multiclass", link, _labels(info, n_outputs))
    if name in _BINARY and n_outputs == 1:
        return Objective(name, "binary", Link("sigmoid"), _labels(info, 2))
    return None


def _of_one(name: str, n_outputs: int) -> Objective:
    """Return the objective of a loss with one output; UnsupportedModelError for an unknown loss, or for one with several."""
    if n_outputs > 1:
        raise UnsupportedModelError(
            f"the model's loss {name or 'unknown'} has {n_outputs} outputs, which mlrf does not support"
        )
    if name in _LOGARITHMIC:
        return Objective(name, "regression", Link("exp"))
    if name in _PLAIN:
        return Objective(name, "regression", Link())
    if name in _RANKING:
        return Objective(name, "ranking", Link())
    if name in _CUSTOM:
        return Objective(name or "none", "raw", Link())
    raise UnsupportedModelError(f"the model's loss {name!r} is not one that mlrf supports", objective=name)


def _loss(info: dict[str, Any]) -> str:
    params = _section(info, "params")
    loss = params.get("loss_function", {})
    name = loss.get("type", "") if isinstance(loss, dict) else loss
    if not isinstance(name, str):
        raise ModelUnreadableError("the model's loss has no name")
    return name.split(":")[0]


def _labels(info: dict[str, Any], count: int) -> tuple[ClassLabel, ...]:
    said = _section(info, "class_params") or _section(info, "multiclass_params")
    for key in ("class_names", "class_to_label"):
        found = said.get(key)
        if isinstance(found, list) and len(found) == count and all(map(_is_label, found)):
            return tuple(int(label) if isinstance(label, float) and label.is_integer() else label for label in found)
    return tuple(range(count))


def _is_label(label: Any) -> bool:
    return isinstance(label, str | int) or (isinstance(label, float) and math.isfinite(label))


def _section(info: dict[str, Any], key: str) -> dict[str, Any]:
    found = info.get(key)
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except (ValueError, RecursionError):
            return {}
    return found if isinstance(found, dict) else {}
