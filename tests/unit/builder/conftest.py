"""Small LightGBM models as files, made once."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest

from forked_references import forked_references  # noqa: F401  a fixture

QUIET = {"verbose": -1, "num_threads": 1, "deterministic": True, "force_row_wise": True, "seed": 3}


@pytest.fixture(scope="session")
def frame():
    rng = np.random.default_rng(0)
    n = 300
    rows = pd.DataFrame(
        {
            "price": rng.gamma(2.0, 3.0, n).round(2),
            "stock": rng.integers(0, 50, n),
            "promo": rng.random(n) < 0.3,
            "shop": pd.Categorical(rng.choice(["north", "south", "east"], n)),
        }
    )
    rows.loc[rng.random(n) < 0.1, "price"] = np.nan
    return rows


@pytest.fixture(scope="session")
def booster(frame):
    target = frame["price"].fillna(3.0) + frame["stock"] * 0.1 + 2 * frame["promo"] + 6 * (frame["shop"] == "north")
    parameters = {
        **QUIET,
        "objective": "regression",
        "num_leaves": 6,
        "min_data_in_leaf": 5,
        "min_data_per_group": 5,
        "cat_smooth": 1.0,
    }
    return lgb.train(parameters, lgb.Dataset(frame, target), 4)


@pytest.fixture(scope="session")
def text(booster):
    return booster.model_to_string().encode()


@pytest.fixture
def model_file(tmp_path, text):
    path = tmp_path / "model.txt"
    path.write_bytes(text)
    return path
