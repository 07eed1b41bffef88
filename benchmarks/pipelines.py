"""Folded pipelines and CatBoost's CTR features against the libraries themselves: each figure with its bar, on one pinned core.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/pipelines.py [requests] [catboost] [build]

Figures are microseconds of processor time of this process, the median of turns taken alternately. The pipeline has 27 raw
columns (numbers, some missing, strings, booleans) and 690 trees of 63 leaves.
"""

from __future__ import annotations

import gc
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

TREES, LEAVES, TRAINED, SENT_ROWS, TURNS = 690, 63, 20_000, 400, 9
NUMBERS = [f"n{index}" for index in range(18)]
TEXTS = [f"t{index}" for index in range(6)]
BOOLEANS = [f"b{index}" for index in range(3)]
MEMORY_BAR_MB = 1000.0


def main(chosen: list[str]) -> int:
    """Measure what is named, or everything; returns 1 if a bar is missed."""
    if chosen[:1] == ["child"]:
        return build_child(Path(chosen[1]), Path(chosen[2]))
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    holds = True
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        for part in (requests_part, catboost_part, build_part):
            if not chosen or part.__name__.removesuffix("_part") in chosen:
                holds &= part(home)
    return 0 if holds else 1


def frame(n: int, seed: int) -> Any:
    """Return n raw rows."""
    import numpy as np  # noqa: PLC0415  a child that builds counts its memory
    import pandas as pd  # noqa: PLC0415

    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {name: rng.normal(size=n).round(4) * 10.0**index for index, name in enumerate(NUMBERS)}
    for index, name in enumerate(TEXTS):
        columns[name] = rng.choice([f"{name}-{value}" for value in range(4 + 5 * index)], n)
    columns |= {name: rng.random(n) < 0.4 for name in BOOLEANS}
    raw = pd.DataFrame(columns)
    for name in NUMBERS[:6]:
        raw.loc[rng.random(n) < 0.1, name] = np.nan
    return raw


def fitted() -> tuple[Any, Any]:
    """Return a fitted pipeline and its raw frame."""
    import lightgbm  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415
    from sklearn.compose import ColumnTransformer  # noqa: PLC0415
    from sklearn.impute import SimpleImputer  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler  # noqa: PLC0415

    raw, rng = frame(TRAINED, 0), np.random.default_rng(1)
    codes = [raw[name].factorize(sort=True)[0] % 3 for name in TEXTS]
    target = sum((raw[name] / raw[name].std()).fillna(0.3) for name in NUMBERS) + sum(codes) + raw["b0"]
    steps = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS),
            ("few", OneHotEncoder(handle_unknown="ignore", sparse_output=False), TEXTS[:3]),
            ("many", OrdinalEncoder(), TEXTS[3:]),
            ("booleans", "passthrough", BOOLEANS),
        ]
    )
    model = lightgbm.LGBMRegressor(n_estimators=TREES, num_leaves=LEAVES, verbosity=-1, n_jobs=1)
    return make_pipeline(steps, model).fit(raw, target + rng.normal(size=TRAINED)), raw


def requests_part(home: Path) -> bool:
    """One raw row: as a request, against the bare model's; under scikit-learn; under ONNX Runtime."""
    import numpy as np  # noqa: PLC0415
    import onnxruntime  # noqa: PLC0415

    import mlrf  # noqa: PLC0415
    from mlrf.model.row_predictor import RowPredictor  # noqa: PLC0415

    pipeline, raw = fitted()
    sent_rows = frame(SENT_ROWS, 7)
    mlrf.build(pipeline, home / "pipeline", name="pipeline", sample=raw[:500])
    mlrf.build(pipeline[-1], home / "bare", name="bare")
    instances = [plain(row) for row in sent_rows.to_dict("records")]
    matrix = pipeline[:-1].transform(sent_rows)
    given = {
        "pipeline": instances,
        "bare": [dict(zip(names_of(home / "bare"), row, strict=True)) for row in matrix.tolist()],
    }
    calls = {name: connected(home / name, name, bodies) for name, bodies in given.items()}
    model = mlrf.load(home / "pipeline")
    engine = RowPredictor(model.bundle, model.engine)
    np.testing.assert_array_equal(model.predict(sent_rows), pipeline.predict(sent_rows))
    singles = [sent_rows[row : row + 1] for row in range(SENT_ROWS)]
    coded = rows_of(model, sent_rows)
    (home / "pipeline.onnx").write_bytes(exported(pipeline, sent_rows))
    session = onnxruntime.InferenceSession(home / "pipeline.onnx", single_thread(), providers=["CPUExecutionProvider"])
    feeds = [
        {name: np.array([[value]], kind_of(value)) for name, value in each.items()} for each in map(filled, instances)
    ]
    took = turns(
        {
            "pipeline": calls["pipeline"],
            "bare": calls["bare"],
            "engine": lambda: [engine.predict_row(row) for row in coded],
            "dict": lambda: [model.predict([each]) for each in instances],
            "ort": lambda: [session.run(None, feed) for feed in feeds],
            "sklearn": lambda: [pipeline.predict(each) for each in singles[:20]],
        },
        {"sklearn": 20},
    )
    one, bare, single, ort, sklearn = (took[name] for name in ("pipeline", "bare", "engine", "ort", "sklearn"))
    return all(
        [
            line("a raw row, whole request, against the bare model's", one, bare, one / bare, "<=", 1.3),
            line("a raw row, whole request, against scikit-learn", one, sklearn, sklearn / one, ">=", 20),
            line("a raw row, engine and link, against ONNX Runtime's call", single, ort, ort / single, ">=", 8),
            line("a raw row, whole request, against ONNX Runtime's call", one, ort, ort / one, ">=", 0),
            line("a raw row, Model.predict of a dict", took["dict"], sklearn, sklearn / took["dict"], ">=", 0),
        ]
    )  # fmt: skip


def catboost_part(home: Path) -> bool:
    """CTR features on distinct rows: one row and batches, against CatBoost on one thread."""
    import catboost  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    import mlrf  # noqa: PLC0415

    raw = frame(TRAINED, 3)
    table = raw[NUMBERS[:6] + TEXTS]
    target = raw["n6"] / raw["n6"].std() + raw["t5"].factorize(sort=True)[0] % 4
    model = catboost.CatBoostRegressor(
        iterations=500, depth=6, verbose=0, cat_features=TEXTS, thread_count=1, allow_writing_files=False
    ).fit(table, target)
    ctr = mlrf.load(mlrf.build(model, home / "ctr", name="ctr", sample=table[:2_000]))
    distinct = frame(SENT_ROWS * 100, 11)[table.columns].drop_duplicates()
    pools = [catboost.Pool(distinct[row : row + 1], cat_features=TEXTS) for row in range(SENT_ROWS)]
    batch, hundred = catboost.Pool(distinct, cat_features=TEXTS), catboost.Pool(distinct[:100], cat_features=TEXTS)
    coded = rows_of(ctr, distinct)
    whole, few = np.array(coded), np.array(coded[:100])
    np.testing.assert_array_equal(ctr.predict(distinct[:500]), model.predict(distinct[:500]))
    library = model._object  # noqa: SLF001  its C evaluation, without the checks of the Python class

    def evaluate(pool: Any) -> Any:
        return library._base_predict(pool, "RawFormulaVal", 0, 0, 1, False, "CPU")  # noqa: SLF001

    took = turns(
        {
            "one": lambda: [ctr.engine.margin(row) for row in coded[:SENT_ROWS]],
            "one C": lambda: [evaluate(pool) for pool in pools],
            "100": lambda: [ctr.engine.margins(few) for _ in range(20)],
            "100 C": lambda: [evaluate(hundred) for _ in range(20)],
            "all": lambda: [ctr.engine.margins(whole)],
            "all C": lambda: [evaluate(batch)],
        },
        {"100": 2_000, "100 C": 2_000, "all": len(whole), "all C": len(whole)},
    )
    return all(  # a list: every line is printed
        [  # noqa: C419
            line(f"CTR, {what}, against CatBoost", took[key], took[f"{key} C"], took[f"{key} C"] / took[key], ">", 1)
            for key, what in (
                ("one", "one distinct row"),
                ("100", "100 rows"),
                ("all", f"{len(whole):,} distinct rows"),
            )
        ]
    )


def build_part(home: Path) -> bool:
    """The build of the pipeline: time against the bare model's, and peak memory, in processes of their own."""
    import joblib  # noqa: PLC0415

    pipeline, _ = fitted()
    joblib.dump(pipeline, home / "pipeline.joblib")
    joblib.dump(pipeline[-1], home / "bare.joblib")
    size_mb = (home / "bare.joblib").stat().st_size / 1e6
    took, peaks = {}, {}
    for name in ("pipeline", "bare"):
        command = [sys.executable, __file__, "child", str(home / f"{name}.joblib"), str(home / f"built-{name}")]
        found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        took[name], peaks[name] = float(found[-2]), float(found[-1])
    ratio = took["pipeline"] / took["bare"]
    return all(
        [
            bar(f"build: pipeline {took['pipeline']:.1f} s, bare model {took['bare']:.1f} s, {ratio:.2f}x", ratio, "<=", 2),
            bar(f"peak memory of the build of a model of {size_mb:.0f} MB: {peaks['pipeline']:.0f} MB",
                peaks["pipeline"], "<=", MEMORY_BAR_MB),
        ]
    )  # fmt: skip


def build_child(model: Path, out: Path) -> int:
    """Build, and print seconds of processor time (with the reference's process) and the largest resident size in MB."""
    import mlrf  # noqa: PLC0415

    mlrf.build(model, out, name="m", allow_pickle=True)
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    print(seconds, max(usage.ru_maxrss for usage in usages) / 1e3)
    return 0


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as JSON has it: null where a number is missing."""
    return {name: None if value != value else value for name, value in row.items()}  # noqa: PLR0124  NaN alone


def filled(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as the exported graph takes it: NaN where a number is missing."""
    return {name: float("nan") if value is None else value for name, value in row.items()}


def kind_of(value: Any) -> Any:
    """Return the NumPy type of a value's input."""
    return "bool" if isinstance(value, bool) else object if isinstance(value, str) else "float32"


def names_of(bundle: Path) -> list[str]:
    """Return the names of a bundle's features."""
    from mlrf.core.bundle import read_bundle  # noqa: PLC0415

    return list(read_bundle(bundle).schema.names)


def rows_of(model: Any, table: Any) -> list[list[float]]:
    """Return a table's rows as the engine takes them."""
    from mlrf.core.leniency import STRICT  # noqa: PLC0415
    from mlrf.model.table_input import read_rows  # noqa: PLC0415

    return read_rows(model.schema, table[list(model.schema.names)], STRICT).tolist()


def connected(bundle: Path, name: str, instances: Sequence[dict[str, Any]]) -> Callable[[], object]:
    """Return what sends a request of each instance into a connection of a server, without sockets."""
    import msgspec  # noqa: PLC0415
    from hot_path import connection_of, requests  # noqa: PLC0415

    connection = connection_of(bundle, name)
    sent = requests("/predict", [msgspec.json.encode({"features": instance}) for instance in instances])
    return lambda: [connection.data_received(each) for each in sent]


def exported(pipeline: Any, table: Any) -> bytes:
    """Return the pipeline as skl2onnx and onnxmltools write it, with an input for each raw column."""
    import skl2onnx  # noqa: PLC0415
    from lightgbm import LGBMRegressor  # noqa: PLC0415
    from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm  # noqa: PLC0415
    from skl2onnx.common.data_types import BooleanTensorType, FloatTensorType, StringTensorType  # noqa: PLC0415
    from skl2onnx.common.shape_calculator import calculate_linear_regressor_output_shapes  # noqa: PLC0415

    skl2onnx.update_registered_converter(
        LGBMRegressor, "LightGbmLGBMRegressor", calculate_linear_regressor_output_shapes, convert_lightgbm,
        options={"split": None},
    )  # fmt: skip
    types = {"O": StringTensorType, "b": BooleanTensorType}
    inputs = [
        (name, (StringTensorType if name in TEXTS else types.get(table[name].dtype.kind, FloatTensorType))([None, 1]))
        for name in table.columns
    ]
    target = {"": 17, "ai.onnx.ml": 3}
    return bytes(skl2onnx.convert_sklearn(pipeline, initial_types=inputs, target_opset=target).SerializeToString())


def single_thread() -> Any:
    """Return the options of a session of one thread."""
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return options


def turns(works: dict[str, Callable[[], object]], counts: dict[str, int]) -> dict[str, float]:
    """Return microseconds of processor time for one unit of each work: the median of turns taken alternately."""
    took: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    gc.collect()
    gc.freeze()
    for _ in range(TURNS):
        for name, work in works.items():
            began = time.process_time_ns()
            work()
            took[name].append((time.process_time_ns() - began) / 1e3 / counts.get(name, SENT_ROWS))
    return {name: statistics.median(times) for name, times in took.items()}


def line(what: str, own_us: float, other_us: float, ratio: float, sign: str, limit: float) -> bool:
    """Print a figure with its bar; returns whether it is holds."""
    return bar(f"{what}: {own_us:,.2f} us, {other_us:,.2f} us, {ratio:.2f}x", ratio, sign, limit)


def bar(text: str, found: float, sign: str, limit: float) -> bool:
    """Print a text with its bar; returns whether it is holds. A bar of 0 is no bar."""
    if not limit:
        print(text)
        return True
    holds = found <= limit if sign == "<=" else found >= limit if sign == ">=" else found > limit
    print(f"{text}  {sign} {limit:g}  {'holds' if holds else 'MISSED'}", flush=True)
    return holds


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
