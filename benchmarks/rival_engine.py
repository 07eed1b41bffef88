"""One engine of the table of rivals, in a process and an environment of its own, on one pinned processor.

    python benchmarks/rival_engine.py ENGINE MODEL_FOLDER PROCESSOR

It reads tasks from standard input, one a line (`1`, `100`, `10000`, `1000000`, `shap 1`, `shap 1000`, or `check`), and answers
each with a line of JSON: processor time per row in µs, or for `check` the margins of the first hundred rows.
"""

# ruff: noqa: PLC0415  an engine imports its own library, and its process none of the others

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SINGLES, HUNDREDS, TEN_THOUSANDS = 2_000, 50, 3
ONNX_BLOCK = 1 << 10
"""Rows that ONNX Runtime scores at once. Measured: 16 GB of memory for 65,536 rows of 690 trees."""
F64, CSR_RAW = 1, 1
"""LightGBM's C_API_DTYPE_FLOAT64 and C_API_PREDICT_RAW_SCORE."""

Table = Any


class Engine(NamedTuple):
    """How an engine computes margins. `prepare` makes what `one` takes of a single row, as suits the engine best."""

    one: Callable[[Any], Any]
    many: Callable[[Table], Any]
    prepare: Callable[[Table], Any] = lambda row: row
    shap: Callable[[Table], Any] | None = None
    precision: str = ""
    """Of the rows, if the engine cannot read the library's own."""


def mlrf_(home: Path) -> Engine:
    from mlrf.engines.tree_kernel import TreeEngine

    trees = TreeEngine(home / "bundle/forest.bin")
    shap = trees.contributions_many
    return Engine(trees.margin, trees.margins, lambda row: row[0].tolist(), shap)


def lightgbm_(home: Path) -> Engine:
    """One row by the C interface for single rows with a prepared configuration; tables by the Python package."""
    import lightgbm

    booster = lightgbm.Booster(model_file=home / "model.txt")
    library = lightgbm.basic._LIB  # noqa: SLF001  the package has no public way to this call
    n, out, length, prepared = booster.num_feature(), ctypes.c_double(), ctypes.c_int64(), ctypes.c_void_p()
    started = library.LGBM_BoosterPredictForMatSingleRowFastInit(
        booster._handle,  # noqa: SLF001
        CSR_RAW,
        0,
        -1,
        F64,
        ctypes.c_int32(n),
        b"num_threads=1",
        ctypes.byref(prepared),
    )
    assert started == 0
    call, at_length, at_out = library.LGBM_BoosterPredictForMatSingleRowFast, ctypes.byref(length), ctypes.byref(out)

    def one(pointer: ctypes.c_void_p) -> float:
        call(prepared, pointer, at_length, at_out)
        return out.value

    return Engine(
        one,
        lambda table: booster.predict(table, raw_score=True, num_threads=1),
        lambda row: ctypes.c_void_p(row.ctypes.data),
        lambda table: booster.predict(table, pred_contrib=True, num_threads=1),
    )


def xgboost_(home: Path) -> Engine:
    import xgboost

    booster = xgboost.Booster({"nthread": 1}, model_file=home / "model.ubj")

    def many(table: Table) -> Any:
        return booster.inplace_predict(table, predict_type="margin")

    def shap(table: Table) -> Any:
        return booster.predict(xgboost.DMatrix(table), pred_contribs=True)

    return Engine(many, many, shap=shap)


def catboost_(home: Path) -> Engine:
    import catboost

    model = catboost.CatBoost().load_model(str(home / "model.cbm"))

    def shap(table: Table) -> Any:
        return model.get_feature_importance(catboost.Pool(table), "ShapValues", thread_count=1)

    many = lambda table: model.predict(table, prediction_type="RawFormulaVal", thread_count=1)  # noqa: E731
    return Engine(many, many, shap=shap)


def onnxruntime_(home: Path) -> Engine:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(home / "bundle/model.onnx", options, providers=["CPUExecutionProvider"])
    output = next(o.name for o in session.get_outputs() if o.name in ("margin", "prediction"))

    def one(row: Table) -> Any:
        return session.run([output], {"features": row})[0]

    def many(table: Table) -> Any:
        return np.concatenate([one(table[i : i + ONNX_BLOCK]) for i in range(0, len(table), ONNX_BLOCK)])

    return Engine(one, many, precision="float64")


def _file_of(home: Path) -> Path:
    return next(home / name for name in ("model.txt", "model.ubj") if (home / name).exists())


def _treelite_model(home: Path) -> Any:
    import treelite

    read = (
        treelite.frontend.load_lightgbm_model if (home / "model.txt").exists() else treelite.frontend.load_xgboost_model
    )
    return read(_file_of(home))


def tl2cgen_(home: Path) -> Engine:
    """Trees compiled by tl2cgen; the first run compiles them (a minute)."""
    import tl2cgen

    compiled = home / "tl2cgen.so"
    if not compiled.exists():
        tl2cgen.export_lib(_treelite_model(home), "gcc", compiled, {"parallel_comp": 8}, options=["-O2"])
    predictor = tl2cgen.Predictor(compiled, nthread=1)

    def many(table: Table) -> Any:
        return predictor.predict(tl2cgen.DMatrix(table, dtype=table.dtype.name), pred_margin=True)

    return Engine(many, many)


def treelite_(home: Path) -> Engine:
    import treelite

    model = _treelite_model(home)
    many = lambda table: treelite.gtil.predict(model, table, nthread=1, pred_margin=True)  # noqa: E731
    return Engine(many, many)


def lleaves_(home: Path) -> Engine:
    """Trees compiled by lleaves; the first run compiles them (a minute)."""
    import lleaves

    model = lleaves.Model(model_file=home / "model.txt")
    model.compile(cache=home / "lleaves-margins.bin", raw_score=True)
    many = lambda table: model.predict(table, n_jobs=1)  # noqa: E731
    return Engine(many, many)


def pylignum_(home: Path) -> Engine:
    """Trees compiled by pylignum; the first run compiles them (minutes)."""
    import lignum

    compiled = home / "pylignum.so"
    if not compiled.exists():
        lignum.load(str(_file_of(home))).compile(library=compiled)
    model = lignum.load(str(_file_of(home)), compiled=compiled)
    many = lambda table: model.predict(table, raw_score=True, n_jobs=1)  # noqa: E731
    return Engine(many, many)


def shap_(home: Path) -> Engine:
    """The package shap, on the library's own model, path-dependent."""
    import shap

    if (home / "model.txt").exists():
        import lightgbm

        model: Any = lightgbm.Booster(model_file=home / "model.txt")
        model.params["objective"] = "regression"
    else:
        import xgboost

        model = xgboost.Booster(model_file=home / "model.ubj")
    explainer = shap.TreeExplainer(model, feature_perturbation="tree_path_dependent")
    values = lambda table: explainer.shap_values(table, check_additivity=False)  # noqa: E731
    return Engine(values, values, shap=values)


def shapiq_(home: Path) -> Engine:
    """The package shapiq, on LightGBM's model, path-dependent; it explains row by row."""
    import lightgbm
    import shapiq

    explainer = shapiq.TreeExplainer(model=lightgbm.Booster(model_file=home / "model.txt"), index="SV", max_order=1)
    values = lambda table: np.array([explainer.explain(row).get_n_order_values(1) for row in table])  # noqa: E731
    return Engine(values, values, shap=values)


ENGINES: dict[str, Callable[[Path], Engine]] = {
    "mlrf": mlrf_,
    "LightGBM": lightgbm_,
    "XGBoost": xgboost_,
    "CatBoost": catboost_,
    "ONNX Runtime": onnxruntime_,
    "tl2cgen": tl2cgen_,
    "treelite": treelite_,
    "lleaves": lleaves_,
    "pylignum": pylignum_,
    "shap": shap_,
    "shapiq": shapiq_,
}


def work_of(engine: Engine, rows: Table, task: str) -> tuple[Callable[[], object], int]:
    """Return what a task calls, and its rows; every turn scores distinct rows."""
    if task == "shap 1":
        singles = [rows[i : i + 1] for i in range(20)]
        return lambda: [engine.shap(row) for row in singles], len(singles)
    if task.startswith("shap"):
        table = rows[: int(task.split()[1])]
        return lambda: engine.shap(table), len(table)
    size = int(task)
    if size == 1:
        prepared = [engine.prepare(rows[i : i + 1]) for i in range(SINGLES)]
        return lambda: [engine.one(row) for row in prepared], SINGLES
    turns = {100: HUNDREDS, 10_000: TEN_THOUSANDS}.get(size, 1)
    tables = [rows[i * size : (i + 1) * size] for i in range(turns)]
    return lambda: [engine.many(table) for table in tables], turns * size


def main(name: str, home: Path, processor: int) -> None:
    """Answer tasks until the input ends."""
    os.sched_setaffinity(0, {processor})
    rows = np.load(home / "rows.npy", mmap_mode="r")
    engine = ENGINES[name](home)
    precision = engine.precision or rows.dtype
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        task = line.strip()
        if task == "check":
            print(
                json.dumps(np.asarray(engine.many(np.array(rows[:100], precision)), float).reshape(-1).tolist()),
                flush=True,
            )
            continue
        biggest = int(task.split()[-1])
        sent = np.array(rows[: max(biggest, SINGLES, 100 * HUNDREDS, 10_000 * TEN_THOUSANDS)], precision)
        work, n_rows = work_of(engine, sent, task)
        began = time.process_time()
        work()
        print(json.dumps(1e6 * (time.process_time() - began) / n_rows), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
