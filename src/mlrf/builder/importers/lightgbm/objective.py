"""The meaning of a LightGBM objective: how a prediction is computed from the raw margin.

The `objective=` line of a model file contains everything: a name, then `key:value` pairs and flags. A model trained with
a custom function has `custom` or no line at all, and LightGBM's predict returns its raw margin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mlrf.core.errors import ModelUnreadableError, UnsupportedModelError
from mlrf.core.link import Link
from mlrf.core.manifest import Task

_PLAIN = ("regression", "regression_l1", "huber", "fair", "quantile", "mape")
_LOGARITHMIC = ("poisson", "gamma", "tweedie")
_RANKING = ("lambdarank", "rank_xendcg")
_CUSTOM = ("custom", "none", "")
_SQUARED_BY_REG_SQRT = ("regression", "regression_l1", "fair", "quantile", "mape")  # other objectives ignore it


@dataclass(frozen=True, slots=True)
class Objective:
    """The task, the objective's name in the library, the link, and the classes K of a classifier."""

    name: str
    task: Task
    link: Link
    n_classes: int | None = None


def read_objective(line: str | None) -> Objective:
    """Read an `objective=` line; UnsupportedModelError names an objective that mlrf does not support."""
    name, *words = (line or "").split() or [""]
    settings = dict(word.split(":", 1) for word in words if ":" in word)
    if name in _PLAIN:
        squared = "sqrt" in words and name in _SQUARED_BY_REG_SQRT
        return Objective(name, "regression", Link("signed_square" if squared else "identity"))
    if name in _LOGARITHMIC:
        return Objective(name, "regression", Link("exp"))
    if name in _RANKING:
        return Objective(name, "ranking", Link())
    if name in _CUSTOM:
        return Objective(name or "none", "raw", Link())
    return _classifier(name, settings)


def _classifier(name: str, settings: dict[str, str]) -> Objective:
    match name:
        case "binary":
            return Objective(name, "binary", Link("sigmoid", _number(settings, "sigmoid")), 2)
        case "cross_entropy" | "xentropy":  # as LightGBM below 3 wrote it
            return Objective(name, "regression", Link("sigmoid"))
        case "cross_entropy_lambda" | "xentlambda":
            return Objective(name, "regression", Link("log1p_exp"))
        case "multiclass":
            return Objective(name, "multiclass", Link("softmax"), _classes(settings))
        case "multiclassova":
            link = Link("sigmoid_each", _number(settings, "sigmoid"))
            return Objective(name, "multiclass", link, _classes(settings))
    raise UnsupportedModelError(f"the model's objective {name!r} is not one that mlrf supports", objective=name)


def _number(settings: dict[str, str], key: str) -> float:
    try:
        number = float(settings[key])
    except (KeyError, ValueError) as error:
        raise ModelUnreadableError(f"the model's objective needs {key} as a number") from error
    if not (math.isfinite(number) and number > 0):
        raise ModelUnreadableError(f"the model's objective has {key}:{number}, which is not above 0")
    return number


def _classes(settings: dict[str, str]) -> int:
    number = _number(settings, "num_class")
    if not number.is_integer():
        raise ModelUnreadableError(f"the model's objective has num_class:{number}, which is not a number of classes")
    return int(number)
