"""Pipelines with functions (log, powers) whose last bits differ between processors, compared with the pipelines themselves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
import xgboost as xgb
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    StandardScaler,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from typer.testing import CliRunner

import mlrf
import skops_files
from library_answers import assert_library_agrees, contributions, rows_of
from mlrf.builder.bundle.processor_entry import processor_entry
from mlrf.builder.exporters.forest_file.encode import encode_forest
from mlrf.builder.importers.detect import import_model
from mlrf.builder.parity.exports import run_trees
from mlrf.cli.app import app
from mlrf.core.errors import InvalidFeatureError
from mlrf.core.leniency import STRICT
from mlrf.core.named_bundle import open_bundle
from mlrf.core.schema import Schema
from mlrf.model.table_input import read_rows
from naive_forest import brute_force
from pipelines import frame, target

RAW = frame(7)
NUMBERS = target(RAW, 7)
COLUMNS = ["price", "visits"]
OTHER_PROCESSOR = {
    "NPY_DISABLE_CPU_FEATURES": "AVX512_ICL X86_V4 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F",
}
"""Without what NumPy and the C library compute such functions with."""


def log(function=np.log1p):
    return FunctionTransformer(function)


def light():
    return lgb.LGBMRegressor(n_estimators=8, num_leaves=8, min_child_samples=5, verbosity=-1, n_jobs=1)


def fitted(*steps, columns=COLUMNS):
    with np.errstate(all="ignore"):
        return make_pipeline(*steps).fit(RAW[columns], NUMBERS)


STEPS = {
    "log1p": (log(), light()),
    "log in float32": (log(), xgb.XGBRegressor(n_estimators=4, max_depth=3, n_jobs=1)),
    "log to float32": (log(np.log10), StandardScaler(), HistGradientBoostingRegressor(max_iter=6)),
    "exp": (MinMaxScaler(), log(np.expm1), light()),
    "yeo-johnson": (PowerTransformer(), light()),
    "yeo-johnson, not scaled": (PowerTransformer(standardize=False), light()),
    "box-cox": (MinMaxScaler((1, 2)), PowerTransformer("box-cox"), RandomForestRegressor(4, max_depth=4)),
    "normal quantiles": (QuantileTransformer(n_quantiles=40, output_distribution="normal"), light()),
    "two functions, several columns": (
        FeatureUnion([("log", make_pipeline(StandardScaler(), log(np.log))), ("root", log(np.sqrt)), ("cube", log(np.cbrt))]),
        light(),
    ),
}  # fmt: skip


def without_zero(case):
    """Return the columns above zero where the library refuses the logarithm of zero."""
    return RAW[COLUMNS] + (0.5 if case == "log to float32" else 0.0)


@pytest.mark.parametrize("case", STEPS)
def test_function_is_folded(case, tmp_path):
    with np.errstate(all="ignore"):
        model = import_model(make_pipeline(*STEPS[case]).fit(without_zero(case), NUMBERS))
    assert model.bands
    assert_library_agrees(model, tmp_path, most=800, link_limit=1e-6)


def test_exact_functions_have_no_bands(tmp_path):
    model = import_model(fitted(log(np.sqrt), log(np.floor), light()))
    assert not model.bands
    assert not model.functions
    assert_library_agrees(model, tmp_path, most=800)


CHILD = """
import json, sys, numpy, importlib, pathlib
folder = pathlib.Path(sys.argv[1])
rows, settings = numpy.load(folder / "rows.npy"), json.loads((folder / "settings.json").read_text())
answer = importlib.import_module(settings["answers"]).answer
numpy.save(folder / "margins.npy", answer(folder / "model", rows, rows[:1], settings["settings"], 1)[0])
"""


def rows_off(model, rows: np.ndarray, folder: Path) -> int:
    """Return how many rows the library answers otherwise on a processor with fewer features."""
    (folder / "model").write_bytes(model.source)
    np.save(folder / "rows.npy", rows)
    (folder / "settings.json").write_text(json.dumps({"answers": model.answers, "settings": dict(model.settings)}))
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHILD, str(folder)], env={**os.environ, **OTHER_PROCESSOR}, check=True
    )
    margins = np.load(folder / "margins.npy").reshape(len(rows), -1)
    return int(np.count_nonzero(run_trees(encode_forest(model.forest), rows, np.arange(1)).margins != margins))


@pytest.mark.slow
@pytest.mark.parametrize("case", ["log1p", "yeo-johnson", "normal quantiles"])
def test_another_processor_answers_alike_outside_the_bands(case, tmp_path):
    model = import_model(make_pipeline(*STEPS[case]).fit(without_zero(case), NUMBERS))
    assert not rows_off(model, rows_of(model, 3_000), tmp_path)


@pytest.mark.slow
def test_another_processor_differs_within_the_bands(tmp_path):
    """Otherwise the bands, and the comparison with another processor, would show nothing."""
    model = import_model(make_pipeline(log(), lgb.LGBMRegressor(verbosity=-1, n_jobs=1)).fit(RAW[COLUMNS], NUMBERS))
    if not {"X86_V4", "AVX512_SKX"} & set(processor_entry(model).cpu_features):
        pytest.skip("NumPy computes logarithms in one way on this processor")
    inside = {
        feature: tuple(x for band in bands for x in (band.cut, float(np.nextafter(band.cut, np.inf))))
        for feature, bands in model.bands.items()
    }
    rows = np.ones((sum(map(len, inside.values())), 2))
    for at, (feature, value) in enumerate((f, x) for f, values in inside.items() for x in values):
        rows[at, feature] = value
    assert rows_off(model, rows, tmp_path)


def test_golden_rows_stand_outside_the_bands():
    model = import_model(fitted(log(), light()))
    rows = rows_of(model, 10**6)
    for feature, bands in model.bands.items():
        for band in bands:
            assert band.low <= band.cut <= band.high
            assert not np.any((rows[:, feature] > band.low) & (rows[:, feature] <= band.high))
            assert np.any(rows[:, feature] == band.low)
            assert np.any(rows[:, feature] == np.nextafter(band.high, np.inf))
    # A row within one is what they leave out.
    assert rows_of(replace(model, bands={}), 10**6).shape[0] >= rows.shape[0]


# Numbers for which a function has no result.


def test_number_without_a_logarithm_is_missing_to_the_model():
    pipeline = fitted(log(np.log), light(), columns=["visits", "size"])
    model = import_model(pipeline)
    assert [(feature.least, feature.most) for feature in model.features] == [(-np.inf, np.inf)] * 2
    given = np.array([-1e300, -3.0, -5e-324, -0.0, 0.0, 5e-324, 1.0, 1e300, np.nan])
    rows = np.column_stack([given, np.full(len(given), 2.0)])
    got = run_trees(encode_forest(model.forest), rows, np.arange(1)).margins[:, 0]
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(got, pipeline.predict(pd.DataFrame(rows, columns=["visits", "size"])))


@pytest.mark.parametrize(
    ("steps", "least"),
    [
        ((log(), StandardScaler(), DecisionTreeRegressor(max_depth=3)), np.nextafter(-1.0, 0.0)),
        ((MinMaxScaler((1, 2)), PowerTransformer("box-cox"), light()), None),
    ],
    ids=["log", "box-cox"],
)
def test_number_that_the_library_refuses_is_refused(steps, least):
    pipeline = fitted(*steps, columns=["visits"])
    model = import_model(pipeline)
    schema, feature = Schema(model.features), model.features[0]
    assert least in (None, feature.least)
    below = float(np.nextafter(feature.least, -np.inf))
    for value in (feature.least, 0.0, 3.0):
        table = pd.DataFrame({"visits": [value]})
        margins = run_trees(encode_forest(model.forest), read_rows(schema, table, STRICT), np.arange(1)).margins
        with np.errstate(all="ignore"):
            assert margins[0, 0] == pipeline.predict(table)[0]
    for rows in ([{"visits": below}], pd.DataFrame({"visits": [below]}), np.array([[below]])):
        with pytest.raises(InvalidFeatureError, match="'visits': expected a number of at least"):
            read_rows(schema, rows, STRICT)
    with pytest.raises(ValueError, match=r"infinity|strictly positive"), np.errstate(all="ignore"):
        pipeline.predict(pd.DataFrame({"visits": [below]}))


def test_members_of_a_combination_share_the_range():
    labels = (np.median(NUMBERS) < NUMBERS).astype(int)
    steps = make_pipeline(log(), StandardScaler(), DecisionTreeClassifier(max_depth=3))
    calibrated = CalibratedClassifierCV(steps, cv=2).fit(RAW[COLUMNS], labels)
    model = import_model(calibrated)
    assert model.bands
    assert all(feature.least == np.nextafter(-1.0, 0.0) for feature in model.features)
    rows = read_rows(Schema(model.features), RAW[COLUMNS], STRICT)
    margins = model.margins(run_trees(encode_forest(model.forest), rows, np.arange(1)).margins)
    np.testing.assert_allclose(margins[:, 0], calibrated.predict_proba(RAW[COLUMNS])[:, 1], rtol=1e-12)


# Files, explanations, and what a bundle says.


def test_skops_file_with_a_function_is_read(tmp_path):
    pipeline = fitted(FunctionTransformer(np.log1p, inverse_func=np.expm1), PowerTransformer(), light())
    skops_files.dump(pipeline, tmp_path / "pipeline")
    assert_library_agrees(import_model(tmp_path / "pipeline"), tmp_path, most=300)


def test_inverse_function_may_be_any():
    function = FunctionTransformer(np.log1p, inverse_func=lambda table: table + 1, check_inverse=False)
    pipeline = fitted(function, light())
    assert import_model(pipeline).functions == ("numpy.log1p",)


@pytest.mark.slow
def test_contributions_are_shapley_values_of_the_raw_columns(tmp_path):
    steps = make_column_transformer(
        (log(np.log), ["price", "size"]),
        (make_pipeline(SimpleImputer(add_indicator=True), PowerTransformer()), ["size", "visits"]),
    )
    few = lgb.LGBMRegressor(n_estimators=3, num_leaves=5, min_child_samples=5, verbosity=-1, n_jobs=1)
    model = import_model(fitted(steps, few, columns=["price", "size", "visits"]))
    engine = assert_library_agrees(model, tmp_path, most=200)
    rows = rows_of(model, 6)
    rows[:3, 0] = -1.0  # without a logarithm
    for row, served in zip(rows, contributions(engine, rows), strict=True):
        np.testing.assert_allclose(served, brute_force(model.forest, row), atol=1e-9)


def test_manifest_and_commands_state_the_bands(tmp_path):
    path = mlrf.build(fitted(log(), light()), tmp_path / "bundle", name="m")
    processor = open_bundle(path).manifest.processor
    assert processor.functions == ["numpy.log1p"]
    assert processor.cpu_features
    assert [band.feature for band in processor.bands] == COLUMNS
    assert all(band.ulps > 0 and 0 < band.width < 1e-9 and band.thresholds > 0 for band in processor.bands)
    shown = CliRunner().invoke(app, ["inspect", str(path)]).output
    assert "numpy.log1p: the last bits differ between processors" in " ".join(shown.split())
