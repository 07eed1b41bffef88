"""Recipes of calibrated classifiers: `CalibratedClassifierCV` with sigmoid or isotonic calibration, one or several folds.

With one fold and sigmoid calibration the calibrated margin is linear in the member's margin, and so can be explained. The mean
of the probabilities of several folds cannot.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mlrf.builder.importers.combination.recipe import MemberRecipe, Recipe, Response, classes_of, fitted
from mlrf.builder.model_source import unfrozen
from mlrf.core.errors import UnsupportedModelError
from mlrf.core.link import Link
from mlrf.core.manifest import CalibratorEntry

_TWO = 2


def calibrated(estimator: Any) -> Recipe:
    """Return the recipe of a CalibratedClassifierCV."""
    classes = classes_of(estimator)
    folds = list(fitted(estimator, "calibrated_classifiers_"))
    members = tuple(_member(fold, classes) for fold in folds)
    if len(folds) == 1 and folds[0].method == "sigmoid" and members[0].response == "decision_function":
        # The margins of each class, calibrated: probabilities are their sigmoids, and of three or more classes the shares.
        calibrators = members[0].calibrators
        n = len(calibrators)
        return Recipe(
            name="CalibratedClassifierCV",
            kind="linear",
            members=(MemberRecipe(members[0].estimator, "decision_function"),),
            classes=classes,
            link=Link("sigmoid" if n == 1 else "sigmoid_shares"),
            coefficients=tuple(
                tuple(-each.slope if i == j else 0.0 for j in range(n)) for i, each in enumerate(calibrators)
            ),
            intercepts=tuple(-each.intercept for each in calibrators),
        )
    return Recipe(name="CalibratedClassifierCV", kind="mean", members=members, classes=classes, is_probabilities=True)


def _member(fold: Any, classes: tuple[Any, ...]) -> MemberRecipe:
    estimator = unfrozen(fold.estimator)
    if len(classes_of(estimator)) != len(classes):
        raise UnsupportedModelError(
            "a fold of the CalibratedClassifierCV did not see all classes, and mlrf does not serve that; calibrate with "
            "stratified folds"
        )
    if fold.method not in ("sigmoid", "isotonic"):
        raise UnsupportedModelError(
            f"mlrf serves calibration by method='sigmoid' or 'isotonic', not {fold.method!r}; calibrate with one of them"
        )
    response: Response = "decision_function" if hasattr(estimator, "decision_function") else "predict_proba"
    return MemberRecipe(estimator, response, calibrators=tuple(_calibrator(each) for each in fold.calibrators))


def _calibrator(calibrator: Any) -> CalibratorEntry:
    if hasattr(calibrator, "a_"):
        return CalibratorEntry(slope=float(calibrator.a_), intercept=float(calibrator.b_))
    x = np.asarray(calibrator.X_thresholds_, np.float64)
    y = np.asarray(calibrator.y_thresholds_, np.float64)
    if not len(x) or np.any(np.diff(x) <= 0) or not np.all(np.isfinite(x)) or not np.all(np.isfinite(y)):
        raise UnsupportedModelError("the isotonic calibration has no ascending finite points; calibrate again")
    return CalibratorEntry(x=x.tolist(), y=y.tolist())
