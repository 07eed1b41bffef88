"""Invariant 1 for `model.onnx` under plain ONNX Runtime: 100,000 generated rows an objective, on models that Hypothesis draws."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlrf.builder.exporters.onnx.export import export_onnx
from mlrf.builder.importers.detect import import_model
from mlrf.builder.parity.exports import run_onnx
from models import data, train

MODELS_AN_OBJECTIVE = 24
ROWS_A_MODEL = 4_200

missing = st.sampled_from([{}, {"zero_as_missing": True}, {"use_missing": False}])
columns = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**20),
        "numeric": st.integers(3, 6),
        "levels": st.lists(st.sampled_from([2, 5, 33, 70, 130]), max_size=3).map(tuple),
        "zeros": st.booleans(),
    }
)
options = st.fixed_dictionaries(
    {
        "num_leaves": st.integers(2, 40),
        "max_bin": st.sampled_from([3, 15, 255]),
        "max_cat_to_onehot": st.sampled_from([1, 4, 64]),
        "extra_trees": st.booleans(),
    }
)


@pytest.mark.parametrize("objective", ["regression", "poisson", "binary", "multiclass"])
def test_every_generated_row_is_answered_as_lightgbm_does(objective):
    answered = []

    @settings(
        max_examples=MODELS_AN_OBJECTIVE, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(columns, options, missing)
    def check(described, tuned, rule):
        trained = data(**described)
        booster = train(objective, trained, rounds=15, **tuned, **rule)
        model = import_model(booster)
        exported = export_onnx(model.forest, model.link)
        onnx.checker.check_model(onnx.load_from_string(exported), full_check=False)
        rows = generated(trained.rows, described["seed"], ROWS_A_MODEL)
        margins, predictions = run_onnx(exported, rows)
        expected = np.asarray(booster.predict(rows, raw_score=True)).reshape(margins.shape)
        size = np.maximum(np.abs(expected), np.mean(np.abs(expected)))
        assert np.all(np.abs(margins - expected) <= 1e-6 * size)
        assert np.array_equal(margins, expected)  # tighter than the invariant asks: the sum is in LightGBM's order
        predicted = np.asarray(booster.predict(rows)).reshape(margins.shape)
        np.testing.assert_allclose(predictions, predicted, rtol=1e-12, atol=1e-300)
        answered.append(len(rows))

    check()
    assert sum(answered) >= 100_000


def generated(seen: np.ndarray, seed: int, count: int) -> np.ndarray:
    """Rows near and far from the training rows: values of other rows, noise, zeros, missing, codes never seen."""
    rng = np.random.default_rng(seed)
    rows = np.stack([rng.choice(column, count) for column in seen.T], axis=1)
    noisy = rng.random(rows.shape) < 0.3
    rows[noisy] += rng.normal(size=int(noisy.sum()))
    odd = rng.random(rows.shape) < 0.1
    pool = [np.nan, 0.0, -0.0, 1e-35, -1e-35, 1e300, -1e300, np.inf, -np.inf, -1.0, 500.0, 2.0**33, -0.5]
    rows[odd] = rng.choice(pool, int(odd.sum()))
    return rows
