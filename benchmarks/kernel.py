"""The tree kernel beside ONNX Runtime and LightGBM, in one run: `kernel.py [--rows 200000] [--json FILE]`.

The model is like the one of the design's prototypes: 690 trees of 63 leaves over 27 features, two of them categories of
54 and 25 levels, some values missing. It is trained once and kept in the temporary directory. Every figure is the best of
several turns that the engines take one after the other, in CPU time of the process where one core is asked for: read the
ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import lightgbm
import numpy as np
import onnx
import onnxruntime

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from lightgbm_text import read_model_text
from mlrf.builder.forest_file.encode import encode_forest
from mlrf.core.forest import LEAF, NUMERIC, Forest
from mlrf.engines.trees import TreesEngine

N_FEATURES = 27
CATEGORIES = {25: 54, 26: 25}
CACHE = Path(tempfile.gettempdir()) / "mlrf-benchmark-690x63.txt"


def make_rows(n_rows: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n_rows, N_FEATURES))
    rows[:, 5:12] = np.round(np.exp(rows[:, 5:12]), 2)
    rows[:, 12:18] = np.round(rows[:, 12:18] * 10)
    for column, levels in CATEGORIES.items():
        rows[:, column] = rng.integers(0, levels, n_rows)
    return rows


def make_target(rows: np.ndarray, seed: int) -> np.ndarray:
    effects = {column: np.random.default_rng(column).normal(size=levels) for column, levels in CATEGORIES.items()}
    smooth = np.sin(rows[:, 0] * 2) + rows[:, 1] * rows[:, 2] + np.log1p(rows[:, 5]) * rows[:, 3]
    steps = 0.1 * rows[:, 12] * (rows[:, 13] > 0) + 0.3 * np.abs(rows[:, 18:25]).sum(axis=1)
    groups = effects[25][rows[:, 25].astype(int)] * (1 + rows[:, 4]) + effects[26][rows[:, 26].astype(int)] * rows[
        :, 6
    ].clip(0, 3)
    return smooth + steps + groups + np.random.default_rng(seed).normal(size=len(rows)) * 0.5


def lose_values(rows: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    for column in (3, 7, 14, 20):
        rows[rng.random(len(rows)) < 0.08, column] = np.nan
    return rows


def train() -> lightgbm.Booster:
    if not CACHE.exists():
        rows = make_rows(40_000, seed=0)
        target = make_target(rows, seed=1)
        params = {
            "objective": "regression",
            "num_leaves": 63,
            "learning_rate": 0.05,
            "verbosity": -1,
            "seed": 7,
            "deterministic": True,
        }
        data = lightgbm.Dataset(lose_values(rows, seed=2), target, categorical_feature=list(CATEGORIES))
        lightgbm.train(params, data, 690).save_model(str(CACHE))
    return lightgbm.Booster(model_file=str(CACHE))


def to_onnx(forest: Forest) -> bytes:
    """Return a double TreeEnsemble (ai.onnx.ml 5) of a forest whose missing values go to the default side."""
    inner, leaf = np.flatnonzero(forest.feature != LEAF), np.flatnonzero(forest.feature == LEAF)
    place = np.zeros(forest.n_nodes, dtype=np.int64)
    place[inner], place[leaf] = np.arange(len(inner)), np.arange(len(leaf))
    members: list[float] = []
    for node in inner[forest.category_set[inner] != NUMERIC].tolist():
        members += [*forest.category_codes(int(forest.category_set[node])).astype(float).tolist(), float("nan")]
    make = onnx.helper
    double, byte = onnx.TensorProto.DOUBLE, onnx.TensorProto.UINT8
    left, right = forest.left[inner], forest.right[inner]
    node = make.make_node(
        "TreeEnsemble",
        ["rows"],
        ["margin"],
        domain="ai.onnx.ml",
        n_targets=1,
        aggregate_function=1,
        post_transform=0,
        tree_roots=place[forest.tree_offsets[:-1]].tolist(),
        nodes_featureids=forest.feature[inner].tolist(),
        nodes_modes=make.make_tensor(
            "modes", byte, [len(inner)], np.where(forest.category_set[inner] == NUMERIC, 0, 6).tolist()
        ),
        nodes_splits=make.make_tensor("splits", double, [len(inner)], forest.threshold[inner].tolist()),
        nodes_missing_value_tracks_true=forest.default_left[inner].astype(int).tolist(),
        nodes_truenodeids=place[left].tolist(),
        nodes_falsenodeids=place[right].tolist(),
        nodes_trueleafs=(forest.feature[left] == LEAF).astype(int).tolist(),
        nodes_falseleafs=(forest.feature[right] == LEAF).astype(int).tolist(),
        membership_values=make.make_tensor("members", double, [len(members)], members),
        leaf_targetids=[0] * len(leaf),
        leaf_weights=make.make_tensor("weights", double, [len(leaf)], forest.value[leaf].tolist()),
    )
    graph = make.make_graph(
        [node],
        "forest",
        [make.make_tensor_value_info("rows", double, [None, N_FEATURES])],
        [make.make_tensor_value_info("margin", double, [None, 1])],
    )
    opsets = [make.make_opsetid("", 18), make.make_opsetid("ai.onnx.ml", 5)]
    return make.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


def best_us(
    works: dict[str, Callable[[], object]], n_rows: int, turns: int, clock: Callable[[], float] = time.process_time
) -> dict[str, float]:
    """Return the best microseconds a row of each work; they take turns, so that all see the same machine."""
    best = dict.fromkeys(works, float("inf"))
    for _ in range(turns):
        for name, work in works.items():
            start = clock()
            work()
            best[name] = min(best[name], (clock() - start) / n_rows * 1e6)
    return best


def report(results: dict[str, dict[str, float]], title: str, figures: dict[str, float], bar: str = "") -> None:
    results[title] = figures
    kernel = figures["kernel"]
    ratios = ", ".join(
        f"{name} {value:.2f} us = {value / kernel:.1f}x" for name, value in figures.items() if name != "kernel"
    )
    print(f"{title:<28} kernel {kernel:8.3f} us/row; {ratios}{'   bar: ' + bar if bar else ''}", flush=True)


def compare_reasons(
    results: dict[str, dict[str, float]], engine: TreesEngine, booster: lightgbm.Booster, few: np.ndarray
) -> None:
    lists, arrays = few[:60].tolist(), [few[i : i + 1] for i in range(60)]
    explained, some = few[:10_000], few[:60]
    figures = best_us(
        {
            "kernel": lambda: [engine.contributions(row) for row in lists],
            "LightGBM": lambda: [booster.predict(row, pred_contrib=True, num_threads=1) for row in arrays],
        },
        60,
        3,
    )
    report(results, "SHAP, one row", figures, ">= 18x, aim 25x")
    figures = best_us({"kernel": lambda: engine.contributions_many(explained)}, len(explained), 3)
    figures |= best_us({"LightGBM": lambda: booster.predict(explained[:300], pred_contrib=True, num_threads=1)}, 300, 2)
    report(results, "SHAP, 10,000 rows", figures, ">= 20x")
    figures = best_us(
        {
            "kernel": lambda: engine.contributions_many(explained, 2),
            "1 thread": lambda: engine.contributions_many(explained),
        },
        len(explained),
        3,
        time.perf_counter,
    )
    report(results, "SHAP, 10,000 rows, 2 threads", figures)
    got = np.array(engine.contributions_many(some)).reshape(len(some), -1)
    contributions = np.asarray(booster.predict(some, pred_contrib=True, num_threads=1))
    off = np.abs(got - contributions[:, :-1]).max() / np.abs(contributions).max()
    print(f"contributions off LightGBM's by {off:.1e} of the largest")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=200_000, help="rows of the large batch")
    arguments.add_argument("--json", type=Path, help="where to keep the raw figures")
    options = arguments.parse_args()
    booster = train()
    forest = read_model_text(booster.model_to_string())
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "forest.bin"
        path.write_bytes(encode_forest(forest))
        opens = []
        for _ in range(20):
            start = time.perf_counter()
            engine = TreesEngine(path)
            opens.append(time.perf_counter() - start)
        size = path.stat().st_size
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(to_onnx(forest), settings, providers=["CPUExecutionProvider"])
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "",
    )
    print(
        f"{platform.machine()} {model}, {os.cpu_count()} cores, Python {platform.python_version()}, kernel level {engine.level}"
    )
    print(f"lightgbm {lightgbm.__version__}, onnxruntime {onnxruntime.__version__}, numpy {np.__version__}")
    print(
        f"{forest.n_trees} trees, {forest.n_leaves} leaves, {N_FEATURES} features; "
        f"forest file {size / 1e6:.1f} MB, {engine.layout}"
    )
    print(f"open and check the file: median {sorted(opens)[10] * 1e3:.2f} ms   bar: <= 5 ms")

    rows = lose_values(make_rows(options.rows, seed=3), seed=4)
    few = rows[:20_000]
    want = booster.predict(few, raw_score=True, num_threads=1)
    assert np.array(engine.margins(few)).tobytes() == np.asarray(want).tobytes()
    off = np.abs(session.run(None, {"rows": few})[0][:, 0] - want).max()
    print(f"margins equal LightGBM's bit for bit on {len(few)} rows; ONNX Runtime is off by {off:.1e}")
    results: dict[str, dict[str, float]] = {}

    lists, arrays = few[:3000].tolist(), [few[i : i + 1] for i in range(3000)]
    figures = best_us(
        {
            "kernel": lambda: [engine.margin(row) for row in lists],
            "ONNX Runtime": lambda: [session.run(None, {"rows": row}) for row in arrays],
        },
        len(lists),
        7,
    )
    report(results, "one row", figures, ">= 3x ONNX Runtime")

    hundreds = [few[i : i + 100] for i in range(0, 5000, 100)]
    figures = best_us(
        {
            "kernel": lambda: [engine.margins(part) for part in hundreds],
            "ONNX Runtime": lambda: [session.run(None, {"rows": part}) for part in hundreds],
        },
        5000,
        7,
    )
    report(results, "100 rows", figures, ">= 3.5x ONNX Runtime")

    figures = best_us(
        {
            "kernel": lambda: engine.margins(rows),
            "ONNX Runtime": lambda: session.run(None, {"rows": rows}),
            "LightGBM": lambda: booster.predict(rows, raw_score=True, num_threads=1),
        },
        len(rows),
        2,
    )
    report(results, f"{len(rows)} rows", figures, ">= 4x both")
    # Wall time wants both cores to itself: many short turns, one of which finds them idle.
    part = rows[:100_000]
    works = {"kernel": lambda: engine.margins(part, 2), "1 thread": lambda: engine.margins(part)}
    figures = best_us(works, len(part), 40, time.perf_counter)
    report(results, f"{len(part)} rows, 2 threads", figures, ">= 1.8x one thread")

    compare_reasons(results, engine, booster, few)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
