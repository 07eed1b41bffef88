"""skops files of frozen estimators are read as what they hold."""

from __future__ import annotations

import numpy as np
import pytest
import skops.io
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import mlrf

RNG = np.random.default_rng(4)
ROWS = RNG.normal(size=(200, 3))
CLASSES = (ROWS[:, 0] + ROWS[:, 1] > 0).astype(int)


def forest():
    return RandomForestClassifier(3, max_depth=3, random_state=1)


@pytest.mark.parametrize(
    "estimator",
    [forest(), make_pipeline(StandardScaler(), forest()), CalibratedClassifierCV(forest(), cv=2)],
    ids=lambda each: type(each).__name__,
)
@pytest.mark.parametrize("times", [1, 2])
def test_a_frozen_estimator_is_what_it_holds(tmp_path, estimator, times):
    frozen = estimator.fit(ROWS, CLASSES)
    for _ in range(times):
        frozen = FrozenEstimator(frozen)
    skops.io.dump(frozen, tmp_path / "frozen.skops")
    model = mlrf.load(mlrf.build(tmp_path / "frozen.skops", tmp_path / "b", name="frozen"))
    np.testing.assert_allclose(model.predict(ROWS), estimator.predict_proba(ROWS)[:, 1], rtol=0, atol=1e-12)
