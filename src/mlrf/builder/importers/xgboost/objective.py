"""The meaning of an XGBoost objective: the link of the raw margin, and the conversion of the base score in the file.

`base_score` is in the file as the user gives it, in the space of predictions; the margin starts at the result of the
objective's inverse link for it, in float32, as XGBoost computes it.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from mlrf.core.errors import ModelUnreadableError, UnsupportedModelError
from mlrf.core.link import Link
from mlrf.core.manifest import Task

Scores = npt.NDArray[np.float32]
_LEAST_PROBABILITY = np.float32(1e-6)
"""The bounds to which XGBoost's logistic objectives clamp a base score."""


@dataclass(frozen=True, slots=True)
class Objective:
    """The task, the link, and the conversion of a base score to a margin."""

    task: Task
    link: Link
    base: Literal["margin", "logit", "log"] = "margin"
    notes: tuple[str, ...] = ()
    """The meaning of several outputs."""

    def of_outputs(self, n_outputs: int) -> Objective:
        """Return the objective of a model with several outputs: several labels at once have no class, as in `predict`."""
        if self.task != "binary" or n_outputs == 1:
            return self
        link = Link("sigmoid_each") if self.link.kind == "sigmoid" else self.link
        what = "the probability of a label each" if self.link.kind == "sigmoid" else "a label each, 0 or 1"
        return replace(self, task="raw", link=link, notes=(f"the {n_outputs} outputs are {what}",))

    def margins_of(self, scores: Scores) -> Scores:
        """Return the margins that the sums start at; UnsupportedModelError for a score that has none."""
        if self.base == "margin":
            return scores
        if self.base == "log":
            if not np.all(scores > 0):
                raise UnsupportedModelError(
                    f"the model's base_score {scores.tolist()} must be above 0 for its objective, which starts its sums at the "
                    "logarithm: XGBoost itself answers 0, infinity or NaN to every row; train it with a base_score above 0"
                )
            return np.array([_log(float(score)) for score in scores], np.float32)
        if not np.all((scores >= 0) & (scores <= 1)):
            raise UnsupportedModelError(
                f"the model's base_score {scores.tolist()} must be a probability, 0 to 1, for its objective; XGBoost itself "
                "refuses this value; train it with one in that range"
            )
        # As XGBoost does, which estimates 0 or 1 if all labels are of one class.
        clamped = np.clip(scores, _LEAST_PROBABILITY, np.float32(1) - _LEAST_PROBABILITY)
        odds = np.float32(1) / clamped - np.float32(1)
        return np.array([-_log(float(ratio)) for ratio in odds], np.float32)


_IDENTITY = Objective("regression", Link())
_EXP = Objective("regression", Link("exp"), "log")
_RANKING = Objective("ranking", Link())

OBJECTIVES: dict[str, Objective] = {
    **dict.fromkeys(
        (
            "reg:squarederror",
            "reg:linear",
            "reg:squaredlogerror",
            "reg:pseudohubererror",
            "reg:absoluteerror",
            "reg:quantileerror",
            "reg:expectileerror",
        ),
        _IDENTITY,
    ),
    **dict.fromkeys(("count:poisson", "reg:gamma", "reg:tweedie", "survival:cox", "survival:aft"), _EXP),
    **dict.fromkeys(("rank:pairwise", "rank:ndcg", "rank:map"), _RANKING),
    **dict.fromkeys(("multi:softmax", "multi:softprob"), Objective("multiclass", Link("softmax"))),
    "reg:logistic": Objective("regression", Link("sigmoid"), "logit"),
    "binary:logistic": Objective("binary", Link("sigmoid"), "logit"),
    "binary:logitraw": Objective("raw", Link()),
    "binary:hinge": Objective("binary", Link("step")),
}


def read_objective(name: str) -> Objective:
    """Return the properties of an objective; UnsupportedModelError names one that mlrf does not support."""
    if name not in OBJECTIVES:
        raise UnsupportedModelError(
            f"the model's objective {name!r} is not one that mlrf supports ({', '.join(sorted(OBJECTIVES))})",
            objective=name,
        )
    return OBJECTIVES[name]


def read_base_score(text: str) -> Scores:
    """Return the base scores of a file: one number, or since XGBoost 3.1 a list of them."""
    try:
        return np.array([float(word) for word in text.strip("[]").split(",")], np.float32)
    except ValueError as error:
        raise ModelUnreadableError(f"the XGBoost model file is damaged: its base_score is {text[:40]!r}") from error


def _log(x: float) -> float:
    """Return the C library's own float32 logarithm, which is what XGBoost calls: its last bit is not always the nearest."""
    logf = getattr(ctypes.CDLL(None), "logf", None)
    if logf is None:
        return math.log(x)
    logf.argtypes, logf.restype = [ctypes.c_float], ctypes.c_float
    return float(logf(x))
