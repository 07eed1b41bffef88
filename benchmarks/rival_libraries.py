"""How each engine of the table of rivals is called: its margins, its SHAP values, and what suits it best for a single row.

Imported in the environment of one engine, which has only that one.
"""

# ruff: noqa: PLC0415  an engine imports its own library, and its process none of the others

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ONNX_BLOCK = 1 << 10
"""Rows that ONNX Runtime scores at once. Measured: 16 GB of memory for 65,536 rows of 690 trees."""
F64, CSR_RAW = 1, 1
"""LightGBM's C_API_DTYPE_FLOAT64 and C_API_PREDICT_RAW_SCORE."""

Table = Any


class Engine(NamedTuple):
    """How an engine computes margins. `prepare` makes what `one` takes of a single row, as suits the engine best."""

    one: Callable[[Any], Any] | None
    many: Callable[[Table], Any] | None
    prepare: Callable[[Table], Any] = lambda row: row
    shap: Callable[[Table], Any] | None = None
    precision: str = ""
    """Of the rows, if the engine cannot read the library's own."""


def _any_size(margins: Callable[[Table], Any], **others: Any) -> Engine:
    """Return an engine that takes single rows as it takes tables."""
    return Engine(margins, margins, **others)


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

    return _any_size(many, shap=shap)


def catboost_(home: Path) -> Engine:
    import catboost

    model = catboost.CatBoost().load_model(str(home / "model.cbm"))

    def shap(table: Table) -> Any:
        return model.get_feature_importance(catboost.Pool(table), "ShapValues", thread_count=1)

    return _any_size(lambda table: model.predict(table, prediction_type="RawFormulaVal", thread_count=1), shap=shap)


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


def ydf_(home: Path) -> Engine:
    """YDF's Python package, which reads columns."""
    import ydf

    model = ydf.load_model(str(home / "model"))
    names = [f"f{i}" for i in range(len(model.input_feature_names()))]

    def columns(table: Table) -> dict[str, Any]:
        return dict(zip(names, table.T, strict=True))

    def shap(table: Table) -> Any:
        values, _ = model.predict_shap(columns(table), num_threads=1)
        return np.stack([values[name] for name in names], axis=1)

    def predict(given: dict[str, Any]) -> Any:
        return model.predict(given, num_threads=1)

    return Engine(predict, lambda table: predict(columns(table)), columns, shap)


def onedal_(home: Path) -> Engine:
    """oneDAL, from the library's own model."""
    import daal4py

    daal4py.daalinit(1)
    model = daal4py.mb.convert_model(_library_model(home))
    return _any_size(model.predict, shap=lambda table: model.predict(table, pred_contribs=True))


def timber_(home: Path) -> Engine:
    """Trees compiled by timber; the first run compiles them."""
    from timber.runtime.predictor import TimberPredictor

    model = TimberPredictor.from_model(
        next(home / each for each in ("model.txt", "model.json") if (home / each).exists())
    )
    return _any_size(model.predict, precision="float32")


def _file_of(home: Path) -> Path:
    return next(home / name for name in ("model.txt", "model.ubj", "model.cbm") if (home / name).exists())


def _library_model(home: Path) -> Any:
    file = _file_of(home)
    if file.name == "model.txt":
        import lightgbm

        booster = lightgbm.Booster(model_file=file)
        booster.params["objective"] = "regression"  # shap needs one
        return booster
    if file.name == "model.cbm":
        import catboost

        return catboost.CatBoostRegressor().load_model(str(file))
    import xgboost

    return xgboost.Booster(model_file=file)


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

    return _any_size(many)


def treelite_(home: Path) -> Engine:
    import treelite

    model = _treelite_model(home)
    return _any_size(lambda table: treelite.gtil.predict(model, table, nthread=1, pred_margin=True))


def lleaves_(home: Path) -> Engine:
    """Trees compiled by lleaves; the first run compiles them (a minute)."""
    import lleaves

    model = lleaves.Model(model_file=home / "model.txt")
    model.compile(cache=home / "lleaves-margins.bin", raw_score=True)
    return _any_size(lambda table: model.predict(table, n_jobs=1))


def pylignum_(home: Path) -> Engine:
    """Trees compiled by pylignum, but CatBoost's, which it does not compile; the first run compiles them (minutes)."""
    import lignum

    file, compiled = _file_of(home), home / "pylignum.so"
    model = lignum.load(str(file))
    if file.suffix != ".cbm":
        if not compiled.exists():
            model.compile(library=compiled)
        model = lignum.load(str(file), compiled=compiled)
    return _any_size(lambda table: model.predict(table, raw_score=True, n_jobs=1))


def shap_(home: Path) -> Engine:
    """The package shap, on the library's own model, path-dependent."""
    import shap

    explainer = shap.TreeExplainer(_library_model(home), feature_perturbation="tree_path_dependent")
    return Engine(None, None, shap=lambda table: explainer.shap_values(table, check_additivity=False))


def shapiq_(home: Path) -> Engine:
    """The package shapiq, on the library's own model, path-dependent; it explains row by row."""
    import shapiq

    explainer = shapiq.TreeExplainer(model=_library_model(home), index="SV", max_order=1)
    return Engine(
        None, None, shap=lambda table: np.array([explainer.explain(row).get_n_order_values(1) for row in table])
    )


def fasttreeshap_(home: Path) -> Engine:
    """The package fasttreeshap, on the library's own model, path-dependent; it chooses its algorithm."""
    import fasttreeshap

    explainer = fasttreeshap.TreeExplainer(_library_model(home), algorithm="auto", n_jobs=1)
    return Engine(None, None, shap=lambda table: explainer.shap_values(table, check_additivity=False))


def woodelf_(home: Path) -> Engine:
    """The package woodelf, on the library's own model, path-dependent."""
    import pandas as pd
    import woodelf

    explainer = woodelf.WoodelfExplainer(_library_model(home))
    return Engine(
        None, None, shap=lambda table: explainer.shap_values(pd.DataFrame(table).add_prefix("f"), verbose=False)
    )


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
    "fasttreeshap": fasttreeshap_,
    "woodelf": woodelf_,
    "oneDAL": onedal_,
    "YDF": ydf_,
    "timber": timber_,
}
