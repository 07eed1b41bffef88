"""`mlrf.polars`: the bits of `Model.predict` in an expression, lazily and streaming, and the project's own errors."""

from __future__ import annotations

import pickle

import numpy as np
import polars as pl
import pytest

import mlrf
from bundles import ALL_KINDS, NUMBERS, write_bundle, write_tree_bundle
from mlrf.core.errors import ConfigError, InvalidFeatureError, MissingFeatureError, UnknownCategoryError
from mlrf.core.feature import Feature
from mlrf.core.link import Link
from mlrf.core.schema import Schema

ROWS = 5000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("polars")
    write_tree_bundle(folder / "one")
    multiclass = {"task": "multiclass", "link": Link("softmax"), "classes": ["a", "b", "c"]}
    write_tree_bundle(folder / "three", n_outputs=3, **multiclass)
    return folder


@pytest.fixture(scope="module")
def frame():
    random = np.random.default_rng(1)
    stores = pl.Series(["north", "süd", None, "east"] * (ROWS // 4))
    columns = {"price": random.normal(size=ROWS), "depth": random.normal(size=ROWS), "promo": random.random(ROWS) < 0.5}
    example = {name: [value] * ROWS for name, value in ALL_KINDS.example().items()}
    return pl.DataFrame({"id": np.arange(ROWS), **example, "store": stores, **columns})


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
@pytest.mark.parametrize("bundle", ["one", "three"])
def test_an_expression_has_the_bits_of_the_model(folder, frame, tmp_path, bundle, engine):
    frame.write_parquet(tmp_path / "rows.parquet", row_group_size=500)
    predicted = pl.scan_parquet(tmp_path / "rows.parquet").select("id", mlrf.polars.predict(folder / bundle))
    found = predicted.collect(engine=engine).sort("id")["prediction"]
    assert predicted.collect_schema()["prediction"] == found.dtype
    values = found.struct.unnest().to_numpy() if bundle == "three" else found.to_numpy()
    assert np.array_equal(values, mlrf.load(folder / bundle).predict(frame, unknown_features="ignore"))


def test_structs_have_probabilities_and_contributions(folder, frame):
    model = mlrf.load(folder / "three")
    options = {"label": True, "probabilities": True, "margin": True, "contributions": True}
    found = frame.head(30).select(mlrf.polars.predict(folder / "three", **options)).unnest("prediction")
    assert found.columns == ["prediction", "label", "probabilities", "margin", "base", "contributions"]
    explained = model.explain(frame.head(30), unknown_features="ignore")
    assert found["label"].to_list() == model.label(frame.head(30), unknown_features="ignore")
    values = [found["contributions"].struct.field(each).struct.unnest().to_numpy() for each in "abc"]
    assert np.array_equal(np.stack(values, axis=2), explained.values)


def test_only_the_features_are_read(folder, frame):
    plan = frame.lazy().select(mlrf.polars.predict(folder / "one")).explain()
    projected = plan.partition("PROJECT[")[2]
    assert '"price"' in projected
    assert '"id"' not in projected


def test_an_expression_works_in_groups_and_in_another_process(folder, frame):
    expression = pickle.loads(pickle.dumps(mlrf.polars.predict(folder / "one")))  # noqa: S301
    alone = frame.select("id", expression)
    grouped = frame.group_by("store").agg("id", expression).explode("id", "prediction").sort("id")
    assert grouped["prediction"].to_list() == alone["prediction"].to_list()


def test_blanks_of_columns_match_lightgbms_underscores(tmp_path):
    write_bundle(tmp_path / "b", schema=Schema((Feature("unit_price"), Feature("x"))))
    frame = pl.DataFrame({"unit price": [1.0, 0.0], "x": [0.0, 1.0]})
    found = frame.select(mlrf.polars.predict(tmp_path / "b"))["prediction"].to_list()
    assert found == mlrf.load(tmp_path / "b").predict(frame).tolist()


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
def test_wrong_frames_end_the_query_with_our_errors(folder, frame, engine):
    expression = mlrf.polars.predict(folder / "one")

    def collect(wrong):
        return wrong.lazy().select(expression).collect(engine=engine)

    with pytest.raises(MissingFeatureError, match="no column 'price'"):
        collect(frame.drop("price"))
    with pytest.raises(MissingFeatureError, match="no column 'price'"):
        collect(pl.DataFrame({"other": [1, 2]}))
    with pytest.raises(InvalidFeatureError, match=r"^feature 'price': expected a number"):
        collect(frame.with_columns(price=pl.lit("zz")))
    with pytest.raises(UnknownCategoryError, match=r"^feature 'store'"):
        collect(frame.with_columns(store=pl.lit("zz")))


def test_an_empty_frame_has_no_answers(folder, frame):
    assert frame.head(0).select(mlrf.polars.predict(folder / "one"))["prediction"].to_list() == []


def test_defaults_answer_a_frame_without_columns_of_the_model(tmp_path):
    write_bundle(tmp_path / "b", schema=Schema(tuple(Feature(f"x{i}", optional=True, default=1.0) for i in range(2))))
    frame = pl.DataFrame({"id": [1, 2]})
    found = frame.with_columns(mlrf.polars.predict(tmp_path / "b"))["prediction"].to_list()
    assert found == mlrf.load(tmp_path / "b").predict([{}, {}]).tolist()


def test_options_that_do_not_fit_the_model_are_refused(tmp_path):
    write_bundle(tmp_path / "b", schema=NUMBERS)
    with pytest.raises(ConfigError, match="probabilities: sample has no classes"):
        mlrf.polars.predict(tmp_path / "b", probabilities=True)
