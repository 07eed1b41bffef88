"""Models that others keep in public repositories: `make foreign` clones each and builds it at a fixed commit.

The repositories stay in a temporary folder; nothing of them is run, except pickles, which are read. A machine that keeps copies
of its own can name them with git's `url.<base>.insteadOf`.
"""

import io
import os
import subprocess

import pandas as pd
import pytest

import mlrf
from mlrf.core.bundle import read_bundle

pytestmark = [
    pytest.mark.skipif("FOREIGN" not in os.environ, reason="clones repositories: make foreign"),
    pytest.mark.timeout(600),
]

PIPELINES = {
    "scaler, target and one-hot encoders, LightGBM": (
        "chrisandrews1012/airbnb-price-prediction", "db3785585af10fc6afda129398f5c136ec73aa28", "models/pipeline.joblib",
        "lightgbm", "regression",
    ),
    "imputers, scaler, one-hot encoder, LightGBM": (
        "Mojtaba-Alehosseini/churn-predictor", "5408e770d437f7fc83016145137ae493d6d83885", "models/pipeline.joblib",
        "lightgbm", "binary",
    ),
    "one-hot encoder, FunctionTransformer, XGBoost": (
        "lets-push-and-pray/lending_underwriter", "0471d25e36f4f50277d828eb0fd1110a7ddecfdb", "model_pipeline.joblib",
        "xgboost", "binary",
    ),
    "scaler, one-hot encoder, XGBoost": (
        "bhanuprasad1226/telecom-churn-prediction", "6c7180731626599571d35cb9861705917dc0f803", "model_pipeline.joblib",
        "xgboost", "binary",
    ),
}  # fmt: skip
"""By its steps: repository, commit, path, library, task."""

CTR_MODELS = {
    "laptops": (
        "catfr0g/assigment1_laptop_price_prediction", "a996f1308ef7bb4dadeee536ef6c9f56ee6becfe",
        "models/catboost_model.cbm", "data/X_train.csv", 726,
    ),
    "rents": (
        "shossen1999/House_Rent_Prediction", "48cd60750c86ab25f57903078832729607775a2c",
        "models/catboost_model.cbm", "data/X_train.csv", 6536,
    ),
}  # fmt: skip
"""By its subject: repository, commit, model, rows, entries of CTR tables."""


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    """Return the content of a file at a commit of a repository, which is cloned once."""
    folder = tmp_path_factory.mktemp("repositories")

    def content(repository, commit, path):
        home = folder / repository
        if not home.exists():
            subprocess.run(
                ["git", "clone", "--quiet", "--bare", "--filter=blob:none", f"https://github.com/{repository}", home],
                check=True,
                timeout=300,
            )
        shown = subprocess.run(
            ["git", "-C", home, "cat-file", "blob", f"{commit}:{path}"], check=True, capture_output=True
        )
        return shown.stdout

    return content


@pytest.mark.parametrize("steps", PIPELINES)
def test_foreign_pipeline_becomes_a_verified_bundle(tmp_path, committed, steps):
    repository, commit, path, library, task = PIPELINES[steps]
    (tmp_path / "model.joblib").write_bytes(committed(repository, commit, path))
    manifest = read_bundle(
        mlrf.build(tmp_path / "model.joblib", tmp_path / "bundle", name="m", allow_pickle=True)
    ).manifest
    assert (manifest.library, manifest.task) == (library, task)
    assert all(rows.bit_equal == rows.rows for rows in manifest.parity["trees"].values())


@pytest.mark.parametrize("subject", CTR_MODELS)
def test_foreign_ctr_model_is_verified_with_its_own_rows(tmp_path, committed, subject):
    repository, commit, path, rows, entries = CTR_MODELS[subject]
    (tmp_path / "model.cbm").write_bytes(committed(repository, commit, path))
    sample = pd.read_csv(io.BytesIO(committed(repository, commit, rows)))
    bundle = mlrf.build(tmp_path / "model.cbm", tmp_path / "bundle", name="m", sample=sample)
    manifest = read_bundle(bundle).manifest
    assert all(found.bit_equal == found.rows for found in manifest.parity["trees"].values())
    assert (manifest.coverage.table_entries_found, manifest.coverage.table_entries) == (entries, entries)
