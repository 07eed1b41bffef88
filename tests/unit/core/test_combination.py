"""The arithmetic that combines models, against scikit-learn's own functions, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import _SigmoidCalibration
from sklearn.isotonic import IsotonicRegression

from mlrf.core.combination import Combination
from mlrf.core.manifest import CalibratorEntry, CombinationEntry, LinkEntry, MemberEntry

IDENTITY = LinkEntry("identity")
NUMBER = MemberEntry(1, IDENTITY)


def margins(entry: CombinationEntry, outputs) -> list[float]:
    return Combination(entry).margins(list(map(float, outputs)))


def calibrated(calibrator: CalibratorEntry, precision="float64") -> CombinationEntry:
    member = MemberEntry(1, IDENTITY, precision=precision, calibrators=[calibrator])
    return CombinationEntry("mean", [member], second_class_only=True)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_isotonic_calibration_is_scikit_learns(dtype):
    rng = np.random.default_rng(1)
    x = rng.random(200).astype(dtype)
    isotonic = IsotonicRegression(out_of_bounds="clip").fit(x, (rng.random(200) < x).astype(dtype))
    entry = calibrated(
        CalibratorEntry(x=isotonic.X_thresholds_.tolist(), y=isotonic.y_thresholds_.tolist()), np.dtype(dtype).name
    )
    values = np.concatenate([x, rng.normal(size=500).astype(dtype), isotonic.X_thresholds_])
    assert [margins(entry, [each])[0] for each in values.tolist()] == isotonic.predict(values).tolist()


def test_an_isotonic_line_of_one_point_is_constant():
    entry = calibrated(CalibratorEntry(x=[0.5], y=[0.25]))
    assert [margins(entry, [x]) for x in (-1.0, 0.5, 9.0)] == [[0.25]] * 3


def test_sigmoid_calibration_is_scikit_learns():
    rng = np.random.default_rng(2)
    x = rng.normal(size=300)
    sigmoid = _SigmoidCalibration().fit(x, (rng.random(300) < 1 / (1 + np.exp(-x))).astype(float))
    entry = calibrated(CalibratorEntry(slope=float(sigmoid.a_), intercept=float(sigmoid.b_)))
    assert [margins(entry, [each])[0] for each in x.tolist()] == sigmoid.predict(x).tolist()


def test_calibrated_classes_that_are_all_zero_are_uniform():
    member = MemberEntry(3, IDENTITY, calibrators=[CalibratorEntry(x=[0.0, 1.0], y=[0.0, 1.0])] * 3)
    assert margins(CombinationEntry("mean", [member]), [0.0, 0.0, 0.0]) == [1 / 3] * 3


@pytest.mark.parametrize(("outputs", "expected"), [([3, 1, 2], 2.0), ([5, 5, 1], 5.0), ([-1, -7, 4], -1.0)])
def test_weighted_median(outputs, expected):
    entry = CombinationEntry("weighted_median", [NUMBER] * 3, weights=[1.0, 1.0, 1.0])
    assert margins(entry, outputs) == [expected]


def test_weighted_median_follows_its_weights():
    entry = CombinationEntry("weighted_median", [NUMBER] * 3, weights=[5.0, 1.0, 1.0])
    assert margins(entry, [9.0, 1.0, 2.0]) == [9.0]


def test_weighted_mean_is_numpys():
    rng = np.random.default_rng(3)
    for values, weights in zip(rng.normal(size=(50, 5)), rng.random((50, 5)), strict=True):
        entry = CombinationEntry("weighted_mean", [NUMBER] * 5, weights=weights.tolist())
        assert margins(entry, values) == [float(np.average(values[:, None], axis=0, weights=weights)[0])]


def test_member_margins_are_scaled_before_the_link():
    member = MemberEntry(2, LinkEntry("exp"), divisor=4.0, scale=2.0, offsets=[1.0, -1.0])
    combination = Combination(CombinationEntry("each", [member, NUMBER]))
    assert combination.member_margins_of_rows([8.0, 4.0, 7.0]).tolist() == [5.0, 1.0, 7.0]
    assert combination.margins([8.0, 4.0, 7.0]) == [np.exp(5.0), np.exp(1.0), 7.0]


def test_linear_combination_is_a_matrix():
    members = [MemberEntry(1, IDENTITY, divisor=4.0), NUMBER]
    entry = CombinationEntry("linear", members, coefficients=[[2.0, 3.0], [0.0, 1.0]], intercepts=[10.0, 20.0])
    found = Combination(entry).linear()
    assert (found.matrix, found.offsets) == ([[0.5, 3.0], [0.0, 1.0]], [10.0, 20.0])


def test_a_row_is_added_to_the_answers_from_left_to_right():
    entry = CombinationEntry(
        "linear",
        [NUMBER],
        coefficients=[[0.1], [2.0]],
        intercepts=[7.0, 8.0],
        row_coefficients=[[0.3, 0.7], [0.0, 1.0]],
    )
    combination = Combination(entry)
    assert combination.linear() is None
    assert combination.margins([3.0], [5.0, 11.0]) == [((3.0 * 0.1 + 5.0 * 0.3) + 11.0 * 0.7) + 7.0, 6.0 + 11.0 + 8.0]
    assert (
        combination.margins_of_rows([3.0, 3.0], [5.0, 11.0] * 2).tolist() == combination.margins([3.0], [5.0, 11.0]) * 2
    )


@pytest.mark.parametrize(
    "entry",
    [
        CombinationEntry("weighted_median", [NUMBER, NUMBER], weights=[1.0, 1.0]),
        CombinationEntry("mean", [MemberEntry(1, LinkEntry("sigmoid"), both_classes=True)], second_class_only=True),
        calibrated(CalibratorEntry(slope=1.0)),
    ],
    ids=["median", "sigmoid", "calibrated"],
)
def test_other_combinations_are_not_linear(entry):
    assert Combination(entry).linear() is None
