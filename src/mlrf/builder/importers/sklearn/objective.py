"""Which scikit-learn estimators mlrf reads, what their raw margins are, and why the others are refused.

The margin is what the trees add up to, before any link:

- a decision tree or a forest: its prediction, or the share of each class in the leaves (a mean over the trees); a
  classifier of two classes has the share of the second alone, one of several targets those of all classes of all targets.
  There is no link;
- bagging of trees: as a forest's; AdaBoost's: `decision_function`;
- an isolation forest: the mean depth of the leaves over its expectation; its prediction is `decision_function`,
  which is below 0 for outliers;
- gradient boosting: `decision_function`, or `predict` of a regressor before its inverse link.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mlrf.builder.class_labels import fitted_labels
from mlrf.builder.importers.imported_model import ClassLabel
from mlrf.builder.importers.sklearn.combinations import check_members
from mlrf.core.errors import ModelUnreadableError, UnsupportedModelError
from mlrf.core.link import Link
from mlrf.core.manifest import Task

Family = Literal["tree", "forest", "bagging", "adaboost", "isolation", "boosting", "histogram"]
_FAMILIES: dict[str, Family] = {
    "DecisionTreeClassifier": "tree",
    "DecisionTreeRegressor": "tree",
    "ExtraTreeClassifier": "tree",
    "ExtraTreeRegressor": "tree",
    "RandomForestClassifier": "forest",
    "RandomForestRegressor": "forest",
    "ExtraTreesClassifier": "forest",
    "ExtraTreesRegressor": "forest",
    "BaggingClassifier": "bagging",
    "BaggingRegressor": "bagging",
    "AdaBoostClassifier": "adaboost",
    "IsolationForest": "isolation",
    "GradientBoostingClassifier": "boosting",
    "GradientBoostingRegressor": "boosting",
    "HistGradientBoostingClassifier": "histogram",
    "HistGradientBoostingRegressor": "histogram",
}
_WRAPPERS = ("GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV")
_AROUND_ONE = {
    "TunedThresholdClassifierCV": ", and compare its probabilities with best_threshold_",
    "FixedThresholdClassifier": ", and compare its probabilities with threshold",
    "SelfTrainingClassifier": "",
    "RFE": ", which takes the columns of support_",
    "RFECV": ", which takes the columns of support_",
}
"""Meta-estimators around one fitted model, and what its answers or rows take besides."""
_LINKS_OF_LOSSES = {"IdentityLink": Link(), "LogLink": Link("exp"), "LogitLink": Link("sigmoid"),
                    "HalfLogitLink": Link("sigmoid", 2.0), "MultinomialLogit": Link("softmax")}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kind:
    """What a fitted estimator is."""

    family: Family
    name: str
    """Of its class."""
    objective: str
    task: Task
    link: Link
    classes: tuple[ClassLabel, ...] | None
    n_outputs: int
    targets: tuple[tuple[ClassLabel, ...], ...] = ()
    """Classes of each target of a classifier of several."""


def read_kind(estimator: Any) -> Kind:
    """Return what a fitted estimator is; UnsupportedModelError names what mlrf does not serve, and what to do instead."""
    kind = type(estimator)
    name = kind.__name__
    if name not in _FAMILIES or not kind.__module__.startswith("sklearn."):
        raise UnsupportedModelError(_why_not(name, estimator), estimator=name)
    family = _FAMILIES[name]
    fitted = {"tree": "tree_", "histogram": "_predictors"}.get(family, "estimators_")
    if not hasattr(estimator, fitted):
        raise ModelUnreadableError(f"the {name} is not fitted; call its fit first")
    if family == "histogram" and not hasattr(estimator, "_preprocessor"):
        raise UnsupportedModelError(
            f"the {name} was made by scikit-learn 1.3 or older, which current versions cannot run; train it again"
        )
    n_targets = int(getattr(estimator, "n_outputs_", 1))
    if n_targets != 1 and name.endswith("Classifier"):
        targets = tuple(fitted_labels(labels) or () for labels in estimator.classes_)
        n_outputs = sum(map(len, targets))
        return Kind(
            family, name, _objective(estimator, name, family), "raw", Link(), None, n_outputs=n_outputs, targets=targets
        )
    if family in ("bagging", "adaboost"):
        check_members(name, estimator)
    labels = fitted_labels(getattr(estimator, "classes_", None)) if name.endswith("Classifier") else None
    if labels is not None and len(labels) == 1:
        raise UnsupportedModelError(
            f"the {name} was trained on the single class {labels[0]!r}; train it with two or more"
        )
    task: Task = "regression" if labels is None else "binary" if len(labels) == 2 else "multiclass"  # noqa: PLR2004
    return Kind(
        family,
        name,
        _objective(estimator, name, family),
        task,
        _link(estimator, name, family, 0 if labels is None else len(labels)),
        labels,
        n_targets if labels is None else len(labels) if len(labels) > 2 else 1,  # noqa: PLR2004
    )


def initial_margin(estimator: Any, kind: Kind) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return where the sum of the trees starts, [K]; UnsupportedModelError when that depends on the row."""
    if kind.family == "histogram":
        base = np.asarray(estimator._baseline_prediction)  # noqa: SLF001  scikit-learn shows it nowhere else
        if base.dtype != np.float64:
            raise UnsupportedModelError(
                f"the {kind.name} adds its trees in {base.dtype}, not in float64; train it again"
            )
        return np.broadcast_to(base.reshape(-1), (kind.n_outputs,)).copy()
    if kind.family != "boosting":
        return np.zeros(kind.n_outputs)
    start = estimator.init_
    is_constant = isinstance(start, str) or (
        type(start).__name__ in ("DummyClassifier", "DummyRegressor")
        and type(start).__module__ == "sklearn.dummy"
        and start.strategy not in ("stratified", "uniform")
    )
    if not is_constant:
        shown = f"{type(start).__name__}" + (f"({start.strategy!r})" if hasattr(start, "strategy") else "")
        raise UnsupportedModelError(
            f"the {kind.name} starts from another model, init={shown}, whose prediction differs from row to row; "
            "train it with init=None or init='zero'"
        )
    first = estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_), np.float32))  # noqa: SLF001
    return np.asarray(first, np.float64).reshape(-1)


def takes_missing(estimator: Any, kind: Kind) -> bool:
    """Whether the estimator answers rows with missing values at all."""
    if kind.family in ("boosting", "adaboost"):  # their trees would, they refuse them before
        return False
    # A forest follows its first tree; bagging leaves it to each member.
    member = estimator.estimators_[0] if kind.family in ("forest", "bagging") else estimator
    if hasattr(member, "_support_missing_values"):
        # What predict checks; up to 1.6 a tree with monotonic constraints says no here, though its tags say yes.
        return bool(member._support_missing_values(None))  # noqa: SLF001
    return bool(member.__sklearn_tags__().input_tags.allow_nan)


def _objective(estimator: Any, name: str, family: Family) -> str:
    if family in ("boosting", "histogram"):
        return f"{name} {estimator.loss}"
    if family in ("bagging", "adaboost"):
        return f"{name} of {type(estimator.estimators_[0]).__name__}"
    return name if family == "isolation" else f"{name} {estimator.criterion}"


def _link(estimator: Any, name: str, family: Family, n_classes: int) -> Link:
    if family in ("tree", "forest", "bagging"):
        return Link()
    if family == "isolation":
        return Link("isolation", float(estimator.offset_))
    if family == "adaboost":
        return Link("sigmoid") if n_classes == 2 else Link("softmax", 1.0 / (n_classes - 1))  # noqa: PLR2004
    if family == "boosting" and name.endswith("Regressor"):
        return Link()  # scikit-learn returns the raw value whatever the loss
    link = type(estimator._loss.link).__name__  # noqa: SLF001
    if link not in _LINKS_OF_LOSSES:
        raise UnsupportedModelError(
            f"the {name}'s loss {estimator.loss!r} has the link {link}, which mlrf does not support"
        )
    return _LINKS_OF_LOSSES[link]


def _why_not(name: str, estimator: Any) -> str:
    if name in _WRAPPERS:
        remedy = "" if hasattr(estimator, "best_estimator_") else ", which it has if it is fitted with refit=True"
        return f"mlrf does not serve a {name}: build from its best_estimator_{remedy}"
    if name in _AROUND_ONE:
        return f"mlrf does not serve a {name}: build from its estimator_{_AROUND_ONE[name]}"
    if hasattr(estimator, "estimators_") or hasattr(estimator, "estimator"):
        return (
            f"mlrf does not serve a {name}: it combines models in a way that is not a sum of trees; export it to ONNX with "
            f"skl2onnx and build from that, without explanations, or build from one of its models"
        )
    known = ", ".join(_FAMILIES)
    return (
        f"mlrf does not serve a {name} as a tree model; export it, or the whole pipeline that it ends, to ONNX "
        f"(skl2onnx.to_onnx(model, X[:1])) and build from that, without explanations; of scikit-learn it serves {known}"
    )
