"""Numbers that are too large for a library: refused as by the library, and answered up to the last one that it answers."""

from __future__ import annotations

import math

import lightgbm
import numpy as np
import pandas as pd
import pytest
from sklearn import ensemble, tree
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler

import mlrf
from mlrf.core.errors import InvalidFeatureError
from mlrf.core.feature import Kind
from mlrf.core.infinities import LARGEST_FLOAT32

pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered", "ignore:divide by zero", "ignore:invalid value")
RNG = np.random.default_rng(3)
ROWS = RNG.normal(size=(80, 3)) * [1e-3, 1.0, 1e6]
TARGET = 1e3 * ROWS[:, 0] + ROWS[:, 1] ** 2


def trees():
    return tree.DecisionTreeRegressor(max_depth=3)


def light():
    return lightgbm.LGBMRegressor(n_estimators=2, num_leaves=4, verbose=-1, n_jobs=1)


KINDS = {
    "scaled": lambda: make_pipeline(StandardScaler(), trees()),
    "imputed": lambda: make_pipeline(SimpleImputer(), trees()),
    "passed through": lambda: make_pipeline(
        make_column_transformer(("passthrough", [1, 2]), (MinMaxScaler(), [0])), trees()
    ),
    "scaled twice before a model of float64": lambda: make_pipeline(StandardScaler(), MinMaxScaler(), light()),
    "voted": lambda: ensemble.VotingRegressor([("a", trees()), ("b", light())]),
    "voted by pipelines": lambda: ensemble.VotingRegressor(
        [("a", make_pipeline(MinMaxScaler(), trees())), ("b", light())]
    ),
    "scaled before a vote": lambda: make_pipeline(
        StandardScaler(), ensemble.VotingRegressor([("a", trees()), ("b", light())])
    ),
    "passed to a final tree": lambda: ensemble.StackingRegressor([("b", light())], trees(), passthrough=True, cv=2),
}


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_that_the_library_refuses_are_refused(kind, tmp_path):
    estimator = KINDS[kind]().fit(ROWS, TARGET)
    model = mlrf.load(mlrf.build(estimator, tmp_path / "bundle", name="m"))
    answered = 0
    for column in range(3):
        feature = model.schema.features[column]
        own = [x for x in (feature.least, feature.most) if math.isfinite(x)]
        tried = [
            1e30,
            -1e30,
            1e37,
            -1e37,
            LARGEST_FLOAT32,
            math.nextafter(LARGEST_FLOAT32, math.inf),
            1e40,
            -1e40,
            1.7e308,
        ]
        for number in [*tried, *own, *(math.nextafter(x, math.copysign(math.inf, x)) for x in own)]:
            row = np.zeros((1, 3))
            row[0, column] = number
            try:
                expected = float(estimator.predict(row)[0])
            except ValueError:
                with pytest.raises(InvalidFeatureError):
                    model.predict(row)
                continue
            if abs(number) <= LARGEST_FLOAT32:  # beyond, all are refused as soon as one is
                assert model.predict(row)[0] == pytest.approx(expected, rel=1e-12)
                answered += 1
    assert answered > 10


def test_the_greatest_number_is_the_last_that_the_library_answers(tmp_path):
    pipeline = make_pipeline(StandardScaler(), trees()).fit(ROWS, TARGET)
    model = mlrf.load(mlrf.build(pipeline, tmp_path / "bundle", name="m"))
    first, _, last = model.schema.features
    assert 3.4e34 < first.most < 3.5e36
    assert (last.least, last.most) == (-math.inf, math.inf)
    row = np.zeros((1, 3))
    for number, is_answered in ((first.most, True), (math.nextafter(first.most, math.inf), False)):
        row[0, 0] = number
        if is_answered:
            assert model.predict(row)[0] == pipeline.predict(row)[0]
            continue
        with pytest.raises(ValueError, match="too large"):
            pipeline.predict(row)


def test_whole_numbers_keep_the_range_that_steps_accept(tmp_path):
    table = pd.DataFrame({"count": np.arange(80) + 1, "flag": np.arange(80) % 3 == 0})
    steps = make_column_transformer(
        (make_pipeline(FunctionTransformer(np.log), StandardScaler()), [0]), remainder="passthrough"
    )
    pipeline = make_pipeline(steps, light()).fit(table, TARGET)
    model = mlrf.load(mlrf.build(pipeline, tmp_path / "bundle", name="m", sample=table))
    count, flag = model.schema.features
    assert (count.kind, flag.kind) == (Kind.INTEGER, Kind.BOOLEAN)
    assert 0.0 < count.least < 1.0
    assert model.predict(table.head(1))[0] == pipeline.predict(table.head(1))[0]
    with pytest.raises(ValueError, match="infinity"):
        pipeline.predict(pd.DataFrame({"count": [0], "flag": [True]}))
    with pytest.raises(InvalidFeatureError, match="at least"):
        model.predict([{"count": 0, "flag": True}])
