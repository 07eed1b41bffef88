"""Pipelines with encoders of the package category_encoders, compared with the pipelines themselves."""

from __future__ import annotations

import functools

import lightgbm as lgb
import numpy as np
import pytest
import xgboost as xgb
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline, make_pipeline

from library_answers import assert_library_agrees, contributions, rows_of
from mlrf.builder.importers.detect import import_model
from mlrf.core.errors import UnsupportedModelError
from mlrf.core.feature import Kind
from mlrf.core.leniency import STRICT
from mlrf.core.schema import Schema
from mlrf.model.table_input import read_rows
from naive_forest import brute_force
from pipelines import frame, target

encoders = pytest.importorskip("category_encoders", reason="in requirements/dev.txt, not in lowest.txt")

# pandas says so of what category_encoders calls.
pytestmark = pytest.mark.filterwarnings("ignore")

COLUMNS = ["price", "visits", "city", "grade", "open"]
ENCODED = ["city", "grade"]
KINDS = {
    "ordinal": lambda: encoders.OrdinalEncoder(cols=ENCODED),
    "ordinal, missing as its own": lambda: encoders.OrdinalEncoder(cols=ENCODED, handle_missing="return_nan"),
    "one-hot": lambda: encoders.OneHotEncoder(cols=ENCODED, use_cat_names=True),
    "one-hot with indicators": lambda: encoders.OneHotEncoder(
        cols=ENCODED, handle_unknown="indicator", handle_missing="indicator"
    ),
    "target": lambda: encoders.TargetEncoder(cols=ENCODED, smoothing=2.0),
    "count": lambda: encoders.CountEncoder(cols=ENCODED, normalize=True),
    "count, unknown as 7": lambda: encoders.CountEncoder(cols=ENCODED, handle_unknown=7),
    "James-Stein": lambda: encoders.JamesSteinEncoder(cols=ENCODED),
    "m-estimate": lambda: encoders.MEstimateEncoder(cols=ENCODED, handle_missing="return_nan"),
    "CatBoost": lambda: encoders.CatBoostEncoder(cols=ENCODED),
    "leave one out": lambda: encoders.LeaveOneOutEncoder(cols=ENCODED, handle_unknown="return_nan"),
    "strict": lambda: encoders.OrdinalEncoder(cols=ENCODED, handle_unknown="error"),
}


@functools.cache
def raw():
    return frame(7)[COLUMNS]


def fitted(encoder, model):
    return make_pipeline(encoder, model).fit(raw(), target(frame(7), 7))


def light():
    return lgb.LGBMRegressor(n_estimators=5, num_leaves=8, min_child_samples=5, verbosity=-1, n_jobs=1)


@pytest.mark.parametrize("kind", KINDS)
def test_encoder_of_the_package_is_folded(kind, tmp_path):
    pipeline = fitted(KINDS[kind](), light())
    model = import_model(pipeline)
    assert [feature.kind for feature in model.features][2:4] == [Kind.CATEGORICAL] * 2
    assert sorted(model.features[3].categories or ()) == [10, 20, 30, 40]
    engine = assert_library_agrees(model, tmp_path, onnx=False, most=300)
    rows = read_rows(Schema(model.features), raw()[list(Schema(model.features).names)], STRICT)
    margins = np.array(engine.margins(np.ascontiguousarray(rows)))
    np.testing.assert_array_equal(margins, pipeline.predict(raw()))


def test_encoder_in_a_column_transformer_before_xgboost(tmp_path):
    steps = ColumnTransformer(
        [("count", encoders.CountEncoder(cols=["city"]), ["city"]), ("kept", "passthrough", ["price", "visits"])]
    )
    pipeline = fitted(steps, xgb.XGBRegressor(n_estimators=4, max_depth=3))
    model = import_model(pipeline)
    assert_library_agrees(model, tmp_path, onnx=False, most=300, link_limit=1e-6)


def test_contributions_are_of_the_raw_columns(tmp_path):
    model = import_model(fitted(KINDS["one-hot"](), light()))
    engine = assert_library_agrees(model, tmp_path, onnx=False, most=200)
    rows = rows_of(model, 15)
    for row, served in zip(rows, contributions(engine, rows), strict=True):
        np.testing.assert_allclose(served, brute_force(model.forest, row), atol=1e-9)


def test_other_encoders_and_options_are_refused_by_name():
    table, numbers = raw(), target(frame(7), 7)
    with pytest.raises(
        UnsupportedModelError,
        match=r"step 'encode' \(BinaryEncoder of category_encoders\).*one of OrdinalEncoder, .*LeaveOneOutEncoder",
    ):
        import_model(
            Pipeline([("encode", encoders.BinaryEncoder(cols=ENCODED)), ("model", light())]).fit(table, numbers)
        )
    grouped = encoders.CountEncoder(cols=ENCODED, min_group_size=30)
    with pytest.raises(UnsupportedModelError, match=r"min_group_size=30.*train it without min_group_size"):
        import_model(Pipeline([("encode", grouped), ("model", light())]).fit(table, numbers))
