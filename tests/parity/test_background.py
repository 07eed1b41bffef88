"""SHAP values against a background compared with shap's TreeExplainer(feature_perturbation="interventional")."""

from __future__ import annotations

import numpy as np
import pytest

import mlrf

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]  # shap's own business

RNG = np.random.default_rng(12)
ROWS = RNG.normal(size=(400, 6))
TARGET = ROWS[:, 0] * ROWS[:, 1] + np.sin(ROWS[:, 2]) + (ROWS[:, 3] > 0) * ROWS[:, 4]


def compare(model, tmp_path) -> None:
    import shap  # noqa: PLC0415

    found = mlrf.load(mlrf.build(model, tmp_path / "bundle", name="m", sample=ROWS)).explain(
        ROWS[:20], background=ROWS[100:200]
    )
    library = shap.TreeExplainer(model, ROWS[100:200], feature_perturbation="interventional")
    np.testing.assert_allclose(found.values, library.shap_values(ROWS[:20]), rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.base, np.ravel(library.expected_value)[0], rtol=0, atol=1e-5)


def test_lightgbm(tmp_path):
    import lightgbm as lgb  # noqa: PLC0415

    compare(lgb.train({"num_leaves": 15, "verbosity": -1, "num_threads": 1}, lgb.Dataset(ROWS, TARGET), 20), tmp_path)


def test_xgboost(tmp_path):
    import xgboost as xgb  # noqa: PLC0415

    compare(xgb.train({"max_depth": 5, "seed": 1}, xgb.DMatrix(ROWS, TARGET), 20), tmp_path)
