"""The tree engine compared with ONNX Runtime on forests of other libraries, one pinned thread; arguments select (xgboost,
sklearn).

XGBoost with 500 trees of depth 8, and a scikit-learn forest of 200 trees with 2,000 leaves each: more than the core's own
caches hold."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import xgboost
from engines import Works, take_turns
from sklearn.ensemble import RandomForestRegressor

from mlrf.builder.exporters.forest_file.encode import encode_forest
from mlrf.builder.exporters.onnx.export import export_onnx
from mlrf.builder.importers.detect import import_model
from mlrf.engines.onnxruntime import OnnxRuntimeEngine
from mlrf.engines.tree_kernel import TreeEngine

FEATURES, TRAINED, ROWS, SINGLES, TURNS = 27, 30_000, 5_000, 1_000, 5
BARS = {"one row": 3.0, "100 rows": 3.5, f"{ROWS:,} rows": 4.0}


def main(chosen: list[str]) -> None:
    """Print microseconds per row and the ratio to ONNX Runtime, from the best turn of each."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(TRAINED, FEATURES))
    target = rows[:, 0] * rows[:, 1] + np.sin(3 * rows[:, 2]) + rows[:, 3] + rng.normal(size=TRAINED)
    makers = {
        "xgboost": lambda: xgboost.train({"max_depth": 8, "eta": 0.05}, xgboost.DMatrix(rows, target), 500),
        "sklearn": lambda: RandomForestRegressor(
            200, max_leaf_nodes=2000, max_features=9, random_state=0, n_jobs=-1
        ).fit(rows, target),
    }
    for name in chosen or list(makers):
        model = import_model(makers[name]())
        print(f"{name}: {model.forest.n_trees} trees, {model.forest.n_nodes:,} nodes")
        with tempfile.TemporaryDirectory() as home:
            (Path(home) / "forest.bin").write_bytes(encode_forest(model.forest))
            (Path(home) / "model.onnx").write_bytes(export_onnx(model.forest, model.link))
            trees, onnx = TreeEngine(Path(home) / "forest.bin"), OnnxRuntimeEngine(Path(home) / "model.onnx")
            before = os.sched_getaffinity(0)
            os.sched_setaffinity(0, {min(before)})
            compare(trees, onnx, rng.normal(size=(ROWS, FEATURES)))
            os.sched_setaffinity(0, before)


def compare(trees: TreeEngine, onnx: OnnxRuntimeEngine, rows: np.ndarray) -> None:
    """Measure both on one row, a hundred and all rows, in turns."""
    singles, hundreds = rows[:SINGLES].tolist(), [rows[i : i + 100] for i in range(0, ROWS, 100)]
    works: list[tuple[int, Works]] = [
        (SINGLES, {"t": lambda: [trees.margin(r) for r in singles], "o": lambda: [onnx.margin(r) for r in singles]}),
        (ROWS, {"t": lambda: [trees.margins(h) for h in hundreds], "o": lambda: [onnx.margins(h) for h in hundreds]}),
        (ROWS, {"t": lambda: trees.margins(rows), "o": lambda: onnx.margins(rows)}),
    ]
    for (what, bar), (count, work) in zip(BARS.items(), works, strict=True):
        took = {engine: min(times) for engine, times in take_turns(work, count, TURNS).items()}
        ratio = took["o"] / took["t"]
        verdict = "held" if ratio >= bar else "MISSED"
        print(
            f"  {what:10} trees {took['t']:6.2f} us, onnxruntime {took['o']:6.2f} us: {ratio:.1f}x  >= {bar:g}x  {verdict}"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
