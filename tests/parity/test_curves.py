"""Response curves of random models of every library, compared with value-by-value predictions of their engine."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from sklearn import calibration, ensemble

import mlrf
import test_catboost_ctr
from bundles import stumps, write_bundle
from curve_checks import assert_curve_is_exact, assert_grid_is_exact
from mlrf.builder.importers.detect import import_model
from mlrf.builder.importers.imported_model import ImportedModel, ImportOptions
from mlrf.core.feature import Kind
from mlrf.core.manifest import LinkEntry
from mlrf.core.schema import Schema
from zoo import cells, grow

CELLS = [cell for cell in cells() if cell.kind != "linear trees"]
MODELS_A_LIBRARY = 10
LIBRARIES = ["lightgbm", "xgboost", "catboost", "sklearn"]


def opened(imported: ImportedModel, path) -> mlrf.Model:
    """The model of an imported forest, served by the tree engine alone."""
    link = LinkEntry(imported.link.kind, imported.link.scale)
    n_outputs = imported.forest.n_outputs
    stand_in = stumps(len(imported.features), n_outputs)
    bundle = write_bundle(
        path, schema=Schema(imported.features), forest=imported.forest, model=stand_in, link=link, n_outputs=n_outputs
    )
    return mlrf.load(bundle, engine="trees")


def assert_curves_are_exact(model: mlrf.Model, rows: np.ndarray, rng: np.random.Generator) -> None:
    names = list(model.schema.names)
    for row in rows:
        values = valid(model.schema, row, rng)
        for name in rng.permutation(names)[:4]:
            assert_curve_is_exact(model, values, str(name))
        for pair in list(pairwise(rng.permutation(names).tolist()))[:2]:
            sizes = [len(model.curve(values, name).margins) for name in pair]
            if math.prod(sizes) <= 10_000:
                assert_grid_is_exact(model, values, tuple(pair))


def valid(schema: Schema, row: np.ndarray, rng: np.random.Generator) -> list[float]:
    """A row that a caller could send: whole numbers, codes of the lists, no NaN where none may be."""
    values = []
    for feature, x in zip(schema.features, row.tolist(), strict=True):
        number = 0.5 if math.isnan(x) and not feature.nullable else x
        if feature.categories is not None:
            number = math.nan if math.isnan(number) else float(rng.integers(max(1, len(feature.categories))))
        elif feature.kind is Kind.BOOLEAN:
            number = float(number > 0)
        elif feature.kind is not Kind.NUMERIC and not math.isnan(number):
            number = float(math.floor(number))
        values.append(number)
    return values


@pytest.mark.parametrize("library", LIBRARIES)
def test_curves_of_random_models_are_exact(library, tmp_path):
    of_library = [cell for cell in CELLS if cell.library == library]
    rng = np.random.default_rng(LIBRARIES.index(library))
    for number in range(MODELS_A_LIBRARY):
        cell = of_library[int(rng.integers(len(of_library)))]
        grown = grow(cell, int(rng.integers(1 << 30)), trees=int(rng.integers(1, 9)), depth=int(rng.integers(1, 6)))
        imported = import_model(grown.model, ImportOptions(grown.categories))
        model = opened(imported, tmp_path / str(number))
        assert_curves_are_exact(model, grown.rows[:2], rng)


def test_curves_of_ctr_tables_are_exact(tmp_path):
    """CatBoost's statistics of combinations compare numbers with borders of their own."""
    trained, _ = test_catboost_ctr.trained("RMSE", types=test_catboost_ctr.ALL_TYPES)
    imported = import_model(trained, ImportOptions(test_catboost_ctr.LISTS))
    model = opened(imported, tmp_path / "ctr")
    rng = np.random.default_rng(1)
    assert_curves_are_exact(model, rng.normal(size=(4, len(model.schema.names))), rng)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["a weighted sum", "calibrated"])
def test_curves_of_combinations_are_exact(kind, tmp_path):
    """A combination's answer is made of its members' alone, so it changes only where one of them does."""
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(300, 3))
    signal = rows[:, 0] + np.abs(rows[:, 1])
    boosting, forest = (
        ensemble.GradientBoostingRegressor(n_estimators=4),
        ensemble.RandomForestRegressor(3, max_depth=3),
    )
    if kind == "a weighted sum":
        estimator = ensemble.VotingRegressor([("a", boosting), ("b", forest)], weights=[2, 1]).fit(rows, signal)
    else:
        member = ensemble.GradientBoostingClassifier(n_estimators=3)
        estimator = calibration.CalibratedClassifierCV(member, cv=2).fit(rows, signal > 1)
    model = mlrf.load(mlrf.build(estimator, tmp_path / "bundle", name="m"))
    for row in rows[:2].tolist():
        for name in model.schema.names:
            assert_curve_is_exact(model, row, name)
        assert_grid_is_exact(model, row, tuple(model.schema.names[:2]))
