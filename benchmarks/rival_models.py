"""The models of the table of rivals: LightGBM's reference model; XGBoost and CatBoost with 500 trees of
depth 8; YDF with 500 of depth 6.

    python benchmarks/rival_models.py LIGHTGBM_FOLDER FOLDER

Runs as a separate process: the training libraries in the runner would share their pages with what it measures.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import catboost
import numpy as np
import xgboost
import ydf

import mlrf

FEATURES, TRAINED, ROWS = 27, 30_000, 1_000_000


def make(reference: Path, folder: Path) -> None:
    """Write `lightgbm/`, `xgboost/`, `catboost/`, `ydf/`: the library's files, the bundle, and a million distinct rows."""
    rng = np.random.default_rng(27)
    sent = [json.loads(line)["features"] for line in (reference / "positional.jsonl").read_text().splitlines()]
    columns = np.array(sent, dtype=np.float64).T
    home = folder / "lightgbm"
    shutil.copytree(reference / "bundle", home / "bundle")
    shutil.copy(reference / "model.txt", home)
    np.save(home / "rows.npy", np.stack([rng.choice(column, ROWS) for column in columns], axis=1))

    rows = rng.normal(size=(TRAINED, FEATURES))
    target = rows[:, 0] * rows[:, 1] + np.sin(3 * rows[:, 2]) + rows[:, 3] + rng.normal(size=TRAINED)
    boosted = xgboost.train({"max_depth": 8, "eta": 0.05}, xgboost.DMatrix(rows, target), 500)
    symmetric = catboost.CatBoostRegressor(
        iterations=500, depth=8, verbose=False, thread_count=2, random_seed=1, allow_writing_files=False
    )
    symmetric.fit(rows, target)
    # YDF counts the root as depth 1. For trees of more than 64 leaves it takes a slower engine.
    grown = ydf.GradientBoostedTreesLearner(
        label="y",
        task=ydf.Task.REGRESSION,
        num_trees=500,
        max_depth=7,
        shrinkage=0.05,
        validation_ratio=0.0,
        random_seed=1,
    ).train({f"f{i}": column for i, column in enumerate(rows.astype(np.float32).T)} | {"y": target})
    # The precision in which each library reads a feature, so that none converts.
    drawn = rng.normal(size=(ROWS, FEATURES)).astype(np.float32)
    for name, model, save in (
        ("xgboost", boosted, lambda home: [boosted.save_model(home / f"model.{kind}") for kind in ("ubj", "json")]),
        ("catboost", symmetric, lambda home: symmetric.save_model(str(home / "model.cbm"))),
        ("ydf", grown, lambda home: grown.save(str(home / "model"))),
    ):
        home = folder / name
        home.mkdir()
        save(home)
        mlrf.build(model, home / "bundle", name=name)
        np.save(home / "rows.npy", drawn.astype(np.float64) if name == "catboost" else drawn)


if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(sys.argv[2]))
