"""Combinations of models that cannot be served are refused with the member and the reason."""

from __future__ import annotations

import numpy as np
import pytest
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor, VotingClassifier, VotingRegressor

from mlrf.builder.importers.detect import import_model
from mlrf.core.errors import UnsupportedModelError

ROWS = np.random.default_rng(0).normal(size=(90, 4))
NUMBER = ROWS[:, 0] + ROWS[:, 1] ** 2
TWO = NUMBER > 0.5
THREE = np.digitize(NUMBER, [0.0, 1.0])


def forest(target=TWO, rows=ROWS):
    return RandomForestClassifier(2, max_depth=2, random_state=0).fit(rows, target)


def regressor(rows=ROWS):
    return RandomForestRegressor(2, max_depth=2, random_state=0).fit(rows, NUMBER)


def calibrated(method, target=TWO):
    return CalibratedClassifierCV(RandomForestClassifier(2, max_depth=2), method=method, cv=2).fit(ROWS, target)


def voting(member):
    """A vote that was trained with a forest, with another member in its place."""
    if hasattr(member, "classes_"):
        whole = VotingClassifier([("m", RandomForestClassifier(2))], voting="soft").fit(ROWS, TWO)
    else:
        whole = VotingRegressor([("m", RandomForestRegressor(2))]).fit(ROWS, NUMBER)
    whole.estimators_ = [member]
    return whole


def refused(estimator, message):
    with pytest.raises(UnsupportedModelError, match=message):
        import_model(estimator)


def test_calibrated_folds_and_votes_of_forests_are_read():
    for estimator in (calibrated("isotonic"), calibrated("sigmoid"), voting(forest()), voting(regressor())):
        assert import_model(estimator).combination is not None


def test_a_fold_that_saw_fewer_classes_is_refused():
    whole = calibrated("sigmoid", THREE)
    whole.calibrated_classifiers_[1].estimator = forest(TWO)
    refused(whole, r"a fold .* did not see all classes")


def test_another_method_of_calibration_is_refused():
    whole = calibrated("sigmoid")
    whole.calibrated_classifiers_[0].method = "temperature"
    refused(whole, "not 'temperature'")


@pytest.mark.parametrize(
    ("x", "y"), [([], []), ([0.5, 0.5], [0.1, 0.2]), ([0.1, np.inf], [0.1, 0.2]), ([0.1, 0.2], [0.1, np.nan])]
)
def test_isotonic_points_that_do_not_ascend_are_refused(x, y):
    whole = calibrated("isotonic")
    calibrator = whole.calibrated_classifiers_[0].calibrators[0]
    calibrator.X_thresholds_, calibrator.y_thresholds_ = np.array(x), np.array(y)
    refused(whole, "no ascending finite points")


class Mean:
    """A model of no library."""

    n_features_in_ = 4

    def predict(self, rows):
        return np.mean(rows, axis=1)


def test_a_member_that_is_no_tree_model_is_refused():
    refused(voting(Mean()), r"member 0 of the VotingRegressor is a .*Mean, and mlrf combines tree models")


def test_a_member_of_other_columns_is_refused():
    whole = voting(regressor())
    whole.estimators_ = [regressor(), regressor(ROWS[:, :2])]
    refused(whole, "takes 2 columns of 4")


def test_labels_are_not_averaged():
    whole = voting(regressor())
    whole.estimators_ = [forest()]
    refused(whole, "it gives labels to be combined")


def test_a_vote_of_probabilities_needs_classifiers():
    whole = voting(forest())
    whole.estimators_ = [regressor()]
    refused(whole, "it is not a classifier")


def test_a_classifier_without_probabilities_is_refused():
    # It answers 0 or 1.
    hinge = xgboost.XGBClassifier(n_estimators=2, objective="binary:hinge").fit(ROWS, TWO)
    refused(voting(hinge), "gives no probabilities")
