"""Returns the recipe of each meta-estimator that mlrf serves, by the name of its class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlrf.builder.class_labels import targets_note
from mlrf.builder.importers.combination.calibration import calibrated
from mlrf.builder.importers.combination.recipe import MemberRecipe, Recipe, classes_of, fitted
from mlrf.builder.model_source import unfrozen
from mlrf.core.errors import UnsupportedModelError
from mlrf.core.link import Link

_TWO = 2
_INVERSES = {"exp": Link("exp"), "expm1": Link("expm1"), "square": Link("square")}
"""Inverse functions of a transformed target, by NumPy's names."""


def _voting_regressor(estimator: Any) -> Recipe:
    members = _members(fitted(estimator, "estimators_"), "predict")
    return _averaged("VotingRegressor", members, estimator._weights_not_none)  # noqa: SLF001  without dropped members


def _voting_classifier(estimator: Any) -> Recipe:
    weights = estimator._weights_not_none  # noqa: SLF001  without dropped members
    classes = classes_of(estimator)
    if estimator.voting == "soft":
        members = _members(fitted(estimator, "estimators_"), "predict_proba")
        return _averaged("VotingClassifier", members, weights, classes=classes)
    return Recipe(
        name="VotingClassifier",
        kind="votes",
        members=tuple(
            MemberRecipe(unfrozen(each), "predict_proba", votes=True) for each in fitted(estimator, "estimators_")
        ),
        weights=() if weights is None else tuple(map(float, weights)),
        classes=classes,
        is_probabilities=True,
        n_classes=len(classes),
        notes=("voting='hard' counts votes: the probabilities served are each class's share of the votes",),
    )


def _averaged(
    name: str, members: tuple[MemberRecipe, ...], weights: Sequence[float] | None, *, classes: Any = None
) -> Recipe:
    return Recipe(
        name=name,
        kind="mean" if weights is None else "weighted_mean",
        members=members,
        weights=() if weights is None else tuple(map(float, weights)),
        classes=classes,
        is_probabilities=classes is not None,
        in_members_precision=weights is None and name != "BaggingClassifier",
    )


def _bagging(estimator: Any) -> Recipe:
    name = type(estimator).__name__
    is_classifier = name == "BaggingClassifier"
    columns = estimator.estimators_features_
    every = np.arange(estimator.n_features_in_)
    members = tuple(
        MemberRecipe(
            member,
            "predict_proba" if is_classifier else "predict",
            columns=None if np.array_equal(chosen, every) else tuple(map(int, chosen)),
        )
        for member, chosen in zip(fitted(estimator, "estimators_"), columns, strict=True)
    )
    return _averaged(name, members, None, classes=classes_of(estimator) if is_classifier else None)


def _adaboost_regressor(estimator: Any) -> Recipe:
    members = _members(fitted(estimator, "estimators_"), "predict")
    weights = tuple(map(float, estimator.estimator_weights_[: len(members)]))
    return Recipe("AdaBoostRegressor", "weighted_median", members, weights=weights, takes_missing=False)


def _stacking(estimator: Any) -> Recipe:
    name = type(estimator).__name__
    final = fitted(estimator, "final_estimator_")
    classes = classes_of(estimator) if name == "StackingClassifier" else None
    is_served = type(final).__module__.startswith("sklearn.linear_model") and (
        type(final).__name__.startswith("LogisticRegression") if classes is not None else hasattr(final, "coef_")
    )
    members = tuple(
        MemberRecipe(
            unfrozen(member), method, second_class_only=method == "predict_proba" and len(classes or ()) == _TWO
        )
        for member, method in zip(estimator.estimators_, estimator.stack_method_, strict=True)
    )
    if not is_served:
        return Recipe(
            name,
            "each",
            members,
            classes=classes,
            final=unfrozen(final),
            passes_rows=estimator.passthrough,
        )
    coefficients = np.atleast_2d(np.asarray(final.coef_, np.float64))
    intercepts = np.broadcast_to(np.asarray(final.intercept_, np.float64).reshape(-1), (len(coefficients),))
    # The columns of the row come after the members' answers.
    n_answers = coefficients.shape[1] - (int(estimator.n_features_in_) if estimator.passthrough else 0)
    of_answers, of_rows = coefficients[:, :n_answers], coefficients[:, n_answers:]
    link = Link() if classes is None else Link("sigmoid") if len(classes) == _TWO else Link("softmax")
    return Recipe(
        name,
        "linear",
        members,
        classes=classes,
        link=link,
        coefficients=tuple(map(tuple, of_answers.tolist())),
        intercepts=tuple(intercepts.tolist()),
        row_coefficients=tuple(map(tuple, of_rows.tolist())) if estimator.passthrough else (),
        passes_rows=estimator.passthrough,
        takes_missing=not estimator.passthrough,
    )


def _one_against_the_rest(estimator: Any) -> Recipe:
    classes = classes_of(estimator)
    if getattr(estimator, "multilabel_", False):
        raise UnsupportedModelError(
            "the OneVsRestClassifier answers several labels a row, which mlrf does not serve; build a bundle of each of its "
            "estimators_"
        )
    members = tuple(
        MemberRecipe(unfrozen(member), "predict_proba", second_class_only=True)
        for member in fitted(estimator, "estimators_")
    )
    return Recipe("OneVsRestClassifier", "each", members, classes=classes, normalises=len(classes) > _TWO)


def _several_targets(estimator: Any) -> Recipe:
    return Recipe("MultiOutputRegressor", "each", _members(fitted(estimator, "estimators_"), "predict"))


def _several_labels(estimator: Any) -> Recipe:
    members = fitted(estimator, "estimators_")
    targets = tuple(classes_of(member) for member in members)
    if max(map(len, targets)) > _TWO:
        return Recipe(
            "MultiOutputClassifier",
            "each",
            _members(members, "predict_proba"),
            raw=True,
            targets=targets,
            notes=targets_note(targets),
        )
    labels = "; ".join(f"target {index}: {member.classes_[1]!s}" for index, member in enumerate(members))
    return Recipe(
        "MultiOutputClassifier",
        "each",
        tuple(MemberRecipe(unfrozen(member), "predict_proba", second_class_only=True) for member in members),
        raw=True,
        notes=(f"the {len(members)} outputs are the probability of the second class of each target ({labels})",),
    )


def _one_against_one(estimator: Any) -> Recipe:
    classes = classes_of(estimator)
    if len(classes) == _TWO:
        raise UnsupportedModelError(
            "the OneVsOneClassifier has two classes, and so one model; build from its estimators_[0]"
        )
    members = tuple(_decides(unfrozen(member)) for member in fitted(estimator, "estimators_"))
    return Recipe(
        "OneVsOneClassifier",
        "one_against_one",
        members,
        weights=tuple(0.0 if member.response == "decision_function" else 0.5 for member in members),
        n_classes=len(classes),
        raw=True,
        notes=(
            f"the outputs are the decision_function of the classes {', '.join(map(str, classes))}: the greatest is predicted",
        ),
    )


def _decides(estimator: Any) -> MemberRecipe:
    if hasattr(estimator, "decision_function"):
        return MemberRecipe(estimator, "decision_function")
    return MemberRecipe(estimator, "predict_proba", second_class_only=True)


def _transformed_target(estimator: Any) -> Recipe:
    member = MemberRecipe(unfrozen(fitted(estimator, "regressor_")), "predict")
    transformer = estimator.transformer_
    kind = type(transformer).__name__
    if kind == "FunctionTransformer":
        inverse = transformer.inverse_func
        if inverse is None and transformer.func is None:
            return Recipe("TransformedTargetRegressor", "each", (member,))
        link = _INVERSES.get(getattr(inverse, "__name__", "")) if isinstance(inverse, np.ufunc) else None
        if link is None:
            raise UnsupportedModelError(
                f"the TransformedTargetRegressor's inverse_func is {getattr(inverse, '__name__', inverse)!r}, and mlrf serves "
                "numpy's exp, expm1 and square; build from its regressor_ and apply the function yourself"
            )
        return Recipe("TransformedTargetRegressor", "each", (member,), link=link)
    if kind == "StandardScaler":
        scale = 1.0 if transformer.scale_ is None else float(transformer.scale_[0])
        mean = 0.0 if transformer.mean_ is None else float(transformer.mean_[0])
        return Recipe("TransformedTargetRegressor", "linear", (member,), coefficients=((scale,),), intercepts=(mean,))
    raise UnsupportedModelError(
        f"the TransformedTargetRegressor transforms its target by a {kind}, and mlrf serves functions of numpy and a "
        "StandardScaler; build from its regressor_ and transform its answers back yourself"
    )


def _members(estimators: Sequence[Any], response: Any) -> tuple[MemberRecipe, ...]:
    return tuple(MemberRecipe(unfrozen(each), response) for each in estimators)


RECIPES: dict[str, Callable[[Any], Recipe]] = {
    "CalibratedClassifierCV": calibrated,
    "VotingClassifier": _voting_classifier,
    "VotingRegressor": _voting_regressor,
    "BaggingClassifier": _bagging,
    "BaggingRegressor": _bagging,
    "AdaBoostRegressor": _adaboost_regressor,
    "StackingClassifier": _stacking,
    "StackingRegressor": _stacking,
    "OneVsRestClassifier": _one_against_the_rest,
    "OneVsOneClassifier": _one_against_one,
    "MultiOutputClassifier": _several_labels,
    "MultiOutputRegressor": _several_targets,
    "TransformedTargetRegressor": _transformed_target,
}
"""By class name. Bagging of single trees is one forest already, and read by the importer of scikit-learn's trees."""
