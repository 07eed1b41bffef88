"""The served models and the requests sent to them: built once, the same on every machine, stored under results/.

Runs as a separate process: LightGBM and NumPy in the runner would share their pages with the servers it measures.

    python benchmarks/reference_models.py FOLDER

The regressor has the size of a retail forecast in production: 690 trees of 63 leaves over 27 features, two of them
categorical with 54 and 25 levels. Its data is skewed and partly missing, which makes trees deep and uneven.
"""

import json
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd

STORES, DEPARTMENTS = 54, 25
TRAINING_ROWS = 60_000
SENT_ROWS = 2_000
BATCH_SIZE, BATCHES = 100, 100
TREES, LEAVES = 690, 63
CLASSES, TREES_A_CLASS = 4, 60
SEED = 690

PARAMETERS: dict[str, Any] = {
    "num_leaves": LEAVES,
    "learning_rate": 0.05,
    "min_data_in_leaf": 60,
    "cat_smooth": 5.0,
    "feature_fraction": 0.8,
    "seed": SEED,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,  # two threads that wait for each other on a busy machine take longer than one
    "verbosity": -1,
}


def make(folder: Path) -> None:
    """Write `regression/` and `multiclass/` into `folder`: the bundle, the bodies, and the expected answers."""
    features, revenue = panel(TRAINING_ROWS + SENT_ROWS)
    past, sent = features[:TRAINING_ROWS], features[TRAINING_ROWS:]
    target = revenue[:TRAINING_ROWS]
    regressor = lgb.train(PARAMETERS | {"objective": "tweedie"}, lgb.Dataset(past, target), TREES)
    bands = np.searchsorted(np.quantile(target, [0.25, 0.5, 0.75]), target)
    several = {"objective": "multiclass", "num_class": CLASSES}
    classifier = lgb.train(PARAMETERS | several, lgb.Dataset(past, bands), TREES_A_CLASS)
    for name, booster in (("regression", regressor), ("multiclass", classifier)):
        home = folder / name
        home.mkdir(parents=True)
        booster.save_model(home / "model.txt")
        write_bundle(booster, home / "bundle", name, sent)
        write_requests(home, sent, booster.predict(sent).tolist())
        if name == "regression":
            write_keyed(booster, home, sent)
        (home / "shape.json").write_text(json.dumps(shape(booster)))


def panel(rows: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return 27 features per row and the revenue to be predicted, both as skewed as sales are."""
    random = np.random.default_rng(SEED)
    store, department = random.integers(STORES, size=rows), random.integers(DEPARTMENTS, size=rows)
    day = random.integers(730, size=rows)
    size = random.lognormal(0.0, 0.6, STORES)[store] * random.lognormal(0.0, 1.1, DEPARTMENTS)[department]
    season = 1.0 + 0.4 * np.sin(2 * np.pi * day / 365 + random.uniform(0, 6.3, DEPARTMENTS)[department])
    promoted = (random.random(rows) < 0.15) * random.lognormal(0.0, 0.5, rows)
    level = size * season * np.where(day % 7 >= 5, 1.5, 1.0)
    columns: dict[str, Any] = {
        "store": pd.Categorical.from_codes(store, [f"store-{n:02}" for n in range(STORES)]),
        "department": pd.Categorical.from_codes(department, [f"department-{n:02}" for n in range(DEPARTMENTS)]),
        "weekday": (day % 7).astype(float),
        "day_of_month": (day % 30 + 1.0),
        "week_of_year": (day % 365 // 7).astype(float),
        "is_weekend": (day % 7 >= 5).astype(float),
        "promoted_share": promoted,
        "price_index": random.normal(1.0, 0.1, rows),
    }
    for lag in (1, 2, 3, 7, 14, 21, 28):
        columns[f"revenue_lag_{lag}"] = np.round(level * random.lognormal(0.0, 0.45, rows), 2)
    for days in (7, 14, 28, 56):
        columns[f"revenue_mean_{days}"] = level * random.lognormal(0.0, 1.2 / math.sqrt(days), rows)
        columns[f"revenue_deviation_{days}"] = level * random.lognormal(-1.0, 0.5, rows)
    columns["zero_share_28"] = np.exp(-level) * random.random(rows)
    columns["days_since_sale"] = np.floor(random.exponential(1.0 / level))
    columns["temperature"] = 12.0 + 10.0 * np.sin(2 * np.pi * day / 365) + random.normal(0.0, 4.0, rows)
    columns["inflation"] = 0.02 + 1e-4 * day
    features = pd.DataFrame(columns)
    spread = random.lognormal(0.0, 0.4, rows)
    surge = 1.0 + promoted * (1.0 + (department % 5)) * np.where(columns["price_index"] < 0.95, 2.0, 0.6)
    revenue = level * spread * surge
    for name in features.columns[8:]:
        features.loc[random.random(rows) < 0.04, name] = np.nan
    return features, revenue


def write_bundle(booster: lgb.Booster, bundle: Path, name: str, sample: pd.DataFrame) -> None:
    import mlrf  # noqa: PLC0415  everything else here needs no mlrf

    mlrf.build(booster, bundle, name=name, sample=sample)


def write_keyed(booster: lgb.Booster, home: Path, sent: pd.DataFrame) -> None:
    """Write the bundle with the same rows by key, with precomputed explanations, and the request bodies."""
    import mlrf  # noqa: PLC0415  as above

    keys = pd.DataFrame({"sku": np.arange(len(sent)), "shop": [f"shop {n % 97}" for n in range(len(sent))]})
    keys["day"] = pd.Timestamp("2026-01-31") - pd.to_timedelta(np.arange(len(sent)) % 365, unit="D")
    rows = home / "rows.parquet"
    # Renumbered: the rows sent are the last of a longer table.
    sent.reset_index(drop=True).join(keys).assign(known=keys["day"]).to_parquet(rows, index=False)
    options: dict[str, Any] = {"features": rows, "key": list(keys.columns), "as_of_column": "known", "explain": True}
    mlrf.build(booster, home / "keyed", name="keyed", sample=sent, **options)
    named = [{"sku": sku, "shop": shop, "day": str(day.date())} for sku, shop, day in keys.itertuples(index=False)]
    write_lines(home / "by-key.jsonl", ({"key": key} for key in named))
    write_lines(home / "by-key-explained.jsonl", ({"key": key, "explain": True} for key in named))


def write_requests(home: Path, sent: pd.DataFrame, expected: list[Any]) -> None:
    named = [dict(zip(sent.columns, values, strict=True)) for values in json_rows(sent, by_code=False)]
    positional = list(json_rows(sent, by_code=True))
    write_lines(home / "named.jsonl", ({"features": instance} for instance in named))
    write_lines(home / "positional.jsonl", ({"features": instance} for instance in positional))
    batches = [[(i * BATCH_SIZE + j) % len(positional) for j in range(BATCH_SIZE)] for i in range(BATCHES)]
    write_lines(home / "batch.jsonl", ({"instances": [{"features": positional[i]} for i in b]} for b in batches))
    write_lines(home / "expected.jsonl", expected)


def json_rows(table: pd.DataFrame, *, by_code: bool) -> Iterable[tuple[Any, ...]]:
    columns = []
    for name in table.columns:
        column = table[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            column = column.cat.codes if by_code else column.astype(object)
        columns.append([None if value != value else value for value in column.tolist()])  # noqa: PLR0124  NaN
    return zip(*columns, strict=True)


def write_lines(path: Path, values: Iterable[Any]) -> None:
    path.write_text("".join(json.dumps(value, separators=(",", ":")) + "\n" for value in values))


def shape(booster: lgb.Booster) -> dict[str, float]:
    """Describe how deep the trees are, for comparison with models in production."""
    depths: list[int] = []
    features: list[int] = []
    for tree in booster.dump_model()["tree_info"]:
        walk = [(tree["tree_structure"], 0, frozenset[int]())]
        while walk:
            node, depth, seen = walk.pop()
            if "split_feature" in node:
                below = seen | {node["split_feature"]}
                walk += [(node["left_child"], depth + 1, below), (node["right_child"], depth + 1, below)]
            else:
                depths.append(depth)
                features.append(len(seen))
    return {
        "trees": booster.num_trees(),
        "leaves": len(depths),
        "mean_depth": round(sum(depths) / len(depths), 2),
        "max_depth": max(depths),
        "max_features_a_path": max(features),
    }


if __name__ == "__main__":
    make(Path(sys.argv[1]))
