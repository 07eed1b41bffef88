"""CatBoost's CTR features behind steps that leave its categories alone, compared with the pipelines themselves."""

from __future__ import annotations

import catboost
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import mlrf
from mlrf.builder.importers.detect import import_model
from mlrf.builder.importers.imported_model import ImportOptions
from mlrf.builder.sample import sampled_categories
from mlrf.core.errors import UnknownCategoryError, UnsupportedModelError
from mlrf.core.table_columns import PartKind

N = 240
RNG = np.random.default_rng(8)
TABLE = pd.DataFrame(
    {
        "a": RNG.normal(size=N).round(2),
        "city": RNG.choice(["Oslo", "Rome", "Bonn", "Wien", "Graz", "Kiel"], N),
        "b": RNG.normal(size=N).round(2),
        "kind": RNG.choice(["u", "v", "w"], N),
        "size": RNG.choice(["S", "M"], N),
    }
)
TARGET = TABLE["a"] * (TABLE["city"] == "Rome") + (TABLE["kind"] == "u") * (TABLE["b"] > 0) + (TABLE["size"] == "M") / 2
CATEGORIES = ["city", "kind"]


def booster(columns, **options):
    options = {"max_ctr_complexity": 1, "one_hot_max_size": 1, **options}
    return catboost.CatBoostRegressor(
        iterations=6, depth=4, verbose=0, allow_writing_files=False, cat_features=columns, random_seed=1, **options
    )


KINDS = {
    "scaled numbers": lambda: make_pipeline(
        make_column_transformer((StandardScaler(), ["b", "a"]), ("passthrough", CATEGORIES)), booster([2, 3])
    ),
    "names of a frame, and an encoder": lambda: make_pipeline(
        make_column_transformer(
            ("passthrough", CATEGORIES),
            (OneHotEncoder(sparse_output=False), ["size"]),
            (SimpleImputer(), ["a"]),
            verbose_feature_names_out=False,
        ).set_output(transform="pandas"),
        booster(CATEGORIES),
    ),
    "combinations with numbers, and one-hot splits": lambda: make_pipeline(
        make_column_transformer(("passthrough", ["a", "size", "b", "city", "kind"])),
        booster([1, 3, 4], max_ctr_complexity=3, one_hot_max_size=2),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_categories_behind_steps_are_answered_to_the_bit(kind, tmp_path):
    pipeline = KINDS[kind]().fit(TABLE, TARGET)
    model = mlrf.load(mlrf.build(pipeline, tmp_path / "bundle", name="m", sample=TABLE))
    names = list(model.schema.names)
    np.testing.assert_array_equal(model.predict(TABLE[names]), pipeline.predict(TABLE))
    explained = model.explain(TABLE[names].head(40))
    margins = model.margin(TABLE[names].head(40))
    np.testing.assert_allclose(explained.values.sum(axis=1) + explained.base, margins, atol=1e-9)
    unseen = TABLE.head(20).assign(city="Nowhere")
    with pytest.raises(UnknownCategoryError):
        model.predict(unseen[names])
    found = model.predict(unseen[names], unknown_categories="as-library")
    np.testing.assert_array_equal(found, pipeline.predict(unseen))


def test_tables_with_conditions_on_numbers_occur_among_these():
    pipeline = KINDS["combinations with numbers, and one-hot splits"]().fit(TABLE, TARGET)
    forest = import_model(pipeline, ImportOptions(sampled=sampled_categories(TABLE))).forest
    kinds = {part.kind for table in forest.tables.tables for part in table.parts}
    assert PartKind.ABOVE in kinds
    assert len(forest.set_codes)


REFUSED = {
    "a scaled number in a table": (
        lambda: make_pipeline(
            make_column_transformer((StandardScaler(), ["a", "b"]), ("passthrough", CATEGORIES)),
            booster([2, 3], max_ctr_complexity=3),
        ),
        "max_ctr_complexity=1",
    ),
    "a filled category": (
        lambda: make_pipeline(
            make_column_transformer(
                (SimpleImputer(strategy="constant", fill_value="none"), CATEGORIES), ("passthrough", ["a"])
            ),
            booster([0, 1]),
        ),
        "step 'simpleimputer' fills it",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_columns_of_tables_that_a_step_changes_are_refused(kind):
    make, reason = REFUSED[kind]
    with pytest.raises(UnsupportedModelError, match=reason):
        import_model(make().fit(TABLE, TARGET), ImportOptions(sampled=sampled_categories(TABLE)))
