"""Estimators that combine trees of `sklearn.tree` differently from forests: bagging, AdaBoost, isolation forests.

Each is a sum of its trees' leaves in their order, divided once, in the same operations as scikit-learn's own:

- bagging adds predictions or class probabilities and divides by the number of trees; a tree may use only some columns;
- AdaBoost adds the weight of each tree to the class that it predicts and a share of it, negative, to the others;
- an isolation forest adds the depth of a leaf and the depth that its rows would still need.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mlrf.core.errors import UnsupportedModelError
from mlrf.core.forest import F64

_TREES = ("DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor")


def check_members(name: str, estimator: Any) -> None:
    """Raise UnsupportedModelError unless every member of a fitted combination is one tree."""
    for member in estimator.estimators_:
        kind = type(member)
        if kind.__name__ not in _TREES or not kind.__module__.startswith("sklearn.tree"):
            raise UnsupportedModelError(
                f"the {name} combines models of {kind.__name__}, but mlrf supports such sums only for single trees: train it "
                "on decision trees, or export it to ONNX with skl2onnx and build from that"
            )
    if name == "AdaBoostClassifier" and getattr(estimator, "algorithm", "SAMME") == "SAMME.R":
        raise UnsupportedModelError(
            "the AdaBoostClassifier adds logarithms of probabilities (algorithm='SAMME.R'), which scikit-learn has removed; "
            "train it again with algorithm='SAMME'"
        )


def votes(member: Any, weight: float, classes: Any) -> F64:
    """Return what a tree of AdaBoost adds to each class in its leaves, [N, C]."""
    predicted = np.asarray(member.classes_).take(np.argmax(member.tree_.value[:, 0, :], axis=1), axis=0)
    return np.where(predicted[:, None] == np.asarray(classes)[None, :], weight, -1 / (len(classes) - 1) * weight)


def leaf_depths(estimator: Any, index: int) -> F64:
    """Return what a tree of an isolation forest adds in its leaves, [N, 1]."""
    depths = estimator._decision_path_lengths[index]  # noqa: SLF001  scikit-learn shows it nowhere else
    depths = depths + estimator._average_path_length_per_tree[index] - 1.0  # noqa: SLF001
    return np.asarray(depths, np.float64)[:, None]


def expected_depth(estimator: Any) -> float:
    """Return what the sum of an isolation forest's depths is divided by."""
    from sklearn.ensemble._iforest import _average_path_length  # noqa: PLC0415  the estimator is of that module

    expected = float((len(estimator.estimators_) * _average_path_length([estimator._max_samples]))[0])  # noqa: SLF001
    if not expected > 0.0:
        raise UnsupportedModelError(
            "the IsolationForest was trained on one row per tree, so that its trees have no splits; raise max_samples"
        )
    return expected
