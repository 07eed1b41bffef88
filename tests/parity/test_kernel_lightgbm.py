"""The kernel against LightGBM itself: margins bit for bit, contributions to rounding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import examples
from lightgbm_text import read_model_text
from mlrf.builder.exporters.forest_file.encode import encode_forest
from mlrf.engines.tree_kernel import TreeEngine

N_FEATURES = 7
N_CATEGORIES = 40


def make_rows(rng: np.random.Generator, n_rows: int) -> np.ndarray:
    """Five numeric columns, rounded so that rows lie on thresholds, then a small and a large category; some missing, some zero."""
    rows = np.round(rng.normal(size=(n_rows, N_FEATURES)), 1)
    rows[:, 5] = rng.integers(0, 4, n_rows)
    rows[:, 6] = rng.integers(0, N_CATEGORIES, n_rows)
    rows[rng.random(rows.shape) < 0.1] = 0.0
    rows[:, :3][rng.random((n_rows, 3)) < 0.1] = np.nan
    return rows


def make_odd_rows(rng: np.random.Generator, booster: lightgbm.Booster, n_rows: int) -> np.ndarray:
    """Rows on thresholds and next to them, unseen categories, and what is not finite."""
    thresholds = read_model_text(booster.model_to_string()).threshold
    thresholds = thresholds[np.abs(thresholds) < 1e300]
    pool = np.concatenate(
        [
            thresholds,
            np.nextafter(thresholds, np.inf),
            np.nextafter(thresholds, -np.inf),
            [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-36, -1e-36, 1e-35, 1e-34, 1e300, -1e300],
        ]
    )
    rows = rng.choice(pool, size=(n_rows, N_FEATURES))
    rows[:, 5:] = rng.choice([0.0, 1.0, 2.5, 3.0, 39.0, 41.0, 1000.0, -1.0, -0.5, np.nan], size=(n_rows, 2))
    return rows


def train(rng: np.random.Generator, params: dict[str, Any], n_rounds: int, n_rows: int = 400) -> lightgbm.Booster:
    rows = make_rows(rng, n_rows)
    signal = np.nan_to_num(rows[:, 0]) + np.nan_to_num(rows[:, 1]) * rows[:, 3] + np.sin(rows[:, 6])
    objective = params["objective"]
    if objective in ("binary", "cross_entropy"):
        target = (signal > 0).astype(float)
    elif objective in ("multiclass", "multiclassova"):
        target = np.digitize(signal, [-0.5, 0.5]).astype(float)
        params = {**params, "num_class": 3}
    elif objective in ("poisson", "gamma", "tweedie"):
        target = np.exp(signal / 3)
    else:
        target = signal
    fixed = {
        "verbosity": -1,
        "num_threads": 1,
        "seed": int(rng.integers(1 << 30)),
        "min_data_per_group": 5,
        "cat_smooth": 1.0,
    }
    data = lightgbm.Dataset(
        rows, target, categorical_feature=[5, 6], params={"verbosity": -1, "max_bin": params.get("max_bin", 255)}
    )
    return lightgbm.train(fixed | params, data, n_rounds)


@settings(max_examples=examples(80), deadline=None)
@given(
    seed=st.integers(0, 2**31),
    objective=st.sampled_from(
        [
            "regression",
            "regression_l1",
            "huber",
            "poisson",
            "gamma",
            "tweedie",
            "binary",
            "cross_entropy",
            "multiclass",
            "multiclassova",
        ]
    ),
    n_rounds=st.integers(1, 25),
    shape=st.fixed_dictionaries(
        {
            "num_leaves": st.sampled_from([2, 7, 31, 90]),
            "min_data_in_leaf": st.sampled_from([1, 20]),
            "max_cat_to_onehot": st.sampled_from([1, 4]),
            "boosting": st.sampled_from(["gbdt", "dart", "rf"]),
            "use_missing": st.booleans(),
            "zero_as_missing": st.booleans(),
            "max_bin": st.sampled_from([15, 255]),
        }
    ),
)
def test_margins_are_lightgbms_bits(
    tmp_path_factory: pytest.TempPathFactory, seed: int, objective: str, n_rounds: int, shape: dict[str, Any]
) -> None:
    rng = np.random.default_rng(seed)
    if shape["boosting"] == "rf":
        shape = shape | {"bagging_freq": 1, "bagging_fraction": 0.6}
    booster = train(rng, {"objective": objective} | shape, n_rounds)
    path = tmp_path_factory.mktemp("parity") / "forest.bin"
    path.write_bytes(encode_forest(read_model_text(booster.model_to_string())))
    engine = TreeEngine(path)
    rows = np.vstack([make_rows(rng, 9_000), make_odd_rows(rng, booster, 4_000)])
    want = np.asarray(booster.predict(rows, raw_score=True, num_threads=1), dtype=np.float64).reshape(len(rows), -1)
    if shape["boosting"] == "rf":
        # LightGBM's raw score of a random forest is the sum; what it predicts from, and our margin, is the mean.
        want /= booster.current_iteration()
    assert np.array(engine.margins(rows)).tobytes() == want.tobytes()
    for row, margin in zip(rows[-200:].tolist(), want[-200:].tolist(), strict=True):
        assert engine.margin(row) == margin


@pytest.mark.parametrize("objective", ["regression", "binary", "multiclass"])
def test_contributions_are_lightgbms(tmp_path: Path, objective: str) -> None:
    rng = np.random.default_rng(4)
    booster = train(rng, {"objective": objective, "num_leaves": 63, "min_data_in_leaf": 2}, 60, n_rows=3000)
    (tmp_path / "forest.bin").write_bytes(encode_forest(read_model_text(booster.model_to_string())))
    engine = TreeEngine(tmp_path / "forest.bin")
    rows = make_rows(rng, 60)
    want = np.asarray(booster.predict(rows, pred_contrib=True)).reshape(len(rows), engine.n_outputs, N_FEATURES + 1)
    got = np.array(engine.contributions_many(rows)).reshape(len(rows), N_FEATURES, engine.n_outputs)
    scale = np.abs(want).max()
    np.testing.assert_allclose(got, want[:, :, :-1].transpose(0, 2, 1), rtol=0, atol=1e-6 * scale)
    np.testing.assert_allclose(engine.base, want[0, :, -1], rtol=0, atol=1e-6 * scale)
