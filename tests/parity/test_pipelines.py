"""scikit-learn pipelines folded into forests over their raw columns, compared with the pipelines themselves."""

from __future__ import annotations

import functools
from importlib import import_module

import catboost
import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
import skl2onnx
import xgboost as xgb
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.feature_selection import RFE, SelectFromModel, SelectKBest, f_regression
from sklearn.frozen import FrozenEstimator
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    QuantileTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.tree import DecisionTreeRegressor

import mlrf
import skops_files
from library_answers import assert_library_agrees, contributions, rows_of
from mlrf.builder.exporters.forest_file.encode import encode_forest
from mlrf.builder.importers.detect import import_model
from mlrf.builder.importers.imported_model import ImportOptions
from mlrf.builder.importers.pipeline.cut_points import CutPoints, Limit
from mlrf.builder.importers.pipeline.matrix import Matrix, Preprocessing
from mlrf.builder.importers.pipeline.raw_table import RawColumn, RawTable
from mlrf.builder.parity.exports import run_trees
from mlrf.core.errors import BuildError, ModelUnreadableError, SampleError, UnsupportedModelError
from mlrf.core.feature import Kind
from mlrf.core.forest import NUMERIC, TRUNCATED, ZERO_BAND
from mlrf.core.leniency import STRICT
from mlrf.core.schema import Schema
from mlrf.model.table_input import read_rows
from naive_forest import brute_force
from pipelines import frame, target

QUANTILES = {"quantile_method": "averaged_inverted_cdf"} if "quantile_method" in KBinsDiscretizer().get_params() else {}
"""From scikit-learn 1.7 on, which warns of its default."""

ENCODED = ["city", "grade", "open"]
NUMBERS = ["price", "size", "visits", "zeros"]


@functools.cache
def raw() -> pd.DataFrame:
    return frame(7)


@functools.cache
def numbers() -> np.ndarray:
    return target(raw(), 7)


def columns(encoder=None, **options):
    return ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), NUMBERS),
            ("encoded", encoder or OneHotEncoder(handle_unknown="ignore"), ENCODED),
        ],
        **options,
    )


def fitted(model, *steps, table=None):
    pipeline = Pipeline([*(steps or [("columns", columns())]), ("model", model)])
    return pipeline.fit(raw() if table is None else table, numbers())


@functools.cache
def boosted() -> Pipeline:
    return fitted(lgb.LGBMRegressor(n_estimators=12, num_leaves=8, min_child_samples=5, verbosity=-1))


def margins(model, table) -> np.ndarray:
    rows = read_rows(Schema(model.features), table[list(Schema(model.features).names)], STRICT)
    return run_trees(encode_forest(model.forest), rows, np.arange(1)).margins[:, 0]


def test_raw_columns_are_the_schema():
    model = import_model(boosted())
    kinds = {feature.name: feature for feature in model.features}
    assert list(kinds) == [*raw().columns]
    assert kinds["price"].kind is Kind.NUMERIC
    assert kinds["city"].categories == ("Bonn", "Graz", "Nice", "Oslo", "Rome")
    assert kinds["grade"].categories == (10, 20, 30, 40)
    assert kinds["open"].categories == (False, True)
    assert all(feature.nullable for feature in model.features)


def test_bundle_answers_raw_rows_as_the_pipeline_does(tmp_path):
    path = mlrf.build(boosted(), tmp_path / "bundle", name="sales", sample=raw())
    model = mlrf.load(path)
    np.testing.assert_array_equal(model.predict(raw()), boosted().predict(raw()))
    instance = {"price": 3.5, "size": None, "visits": 4, "zeros": 0, "city": "Rome", "grade": 20, "open": True}
    table = pd.DataFrame([{**instance, "size": np.nan}])
    assert model.predict([instance])[0] == boosted().predict(table)[0]


def test_unknown_category_takes_the_encoders_side(tmp_path):
    model = import_model(boosted())
    table = raw().assign(city="Atlantis", grade=99)
    rows = read_rows(Schema(model.features), raw(), STRICT)
    rows[:, 4:6] = -1.0
    got = run_trees(encode_forest(model.forest), rows, np.arange(1)).margins[:, 0]
    np.testing.assert_array_equal(got, boosted().predict(table))


@pytest.mark.parametrize("known", [True, False], ids=["skops", "joblib"])
def test_files_are_read_as_objects_are(tmp_path, known):
    path = tmp_path / "pipeline"
    if known:
        skops_files.dump(boosted(), path)
    else:
        import_module("joblib").dump(boosted(), path)
        with pytest.raises(UnsupportedModelError, match="allow-pickle"):
            import_model(path)
    model = import_model(path, allow_pickle=not known)
    np.testing.assert_array_equal(margins(model, raw()), boosted().predict(raw()))


def test_skops_file_with_another_type_is_not_loaded(tmp_path):
    pipeline = fitted(
        DecisionTreeRegressor(max_depth=2), ("log", FunctionTransformer(import_module("os").fspath and np.nan_to_num)),
        table=raw()[NUMBERS],
    )  # fmt: skip
    skops_files.dump(pipeline, tmp_path / "pipeline")
    with pytest.raises(UnsupportedModelError, match="nan_to_num"):
        import_model(tmp_path / "pipeline")


# Which steps are folded, and what each needs.


@pytest.mark.parametrize(
    "encoder",
    [
        OneHotEncoder(drop="first", handle_unknown="infrequent_if_exist", min_frequency=40),
        OneHotEncoder(drop="if_binary", handle_unknown="ignore"),
        OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=3),
        OneHotEncoder(),
        OrdinalEncoder(),
        OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=-5, max_categories=3
        ),
        TargetEncoder(),
        make_pipeline(SimpleImputer(strategy="most_frequent"), OrdinalEncoder(), MinMaxScaler()),
    ],
    ids=["first", "binary", "infrequent", "strict", "ordinal", "ordinal unknown", "target", "imputed"],
)
@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_encoder_is_folded(encoder, library, tmp_path):
    models = {
        "lightgbm": lgb.LGBMRegressor(n_estimators=6, num_leaves=8, min_child_samples=5, verbosity=-1),
        "xgboost": xgb.XGBRegressor(n_estimators=6, max_depth=3),
    }
    pipeline = fitted(models[library], ("columns", columns(encoder)))
    model = import_model(pipeline)
    assert_library_agrees(model, tmp_path, most=600, link_limit=1e-9 if library == "lightgbm" else 1e-6)
    np.testing.assert_allclose(
        margins(model, raw()), pipeline.predict(raw()), rtol=0 if library == "lightgbm" else 1e-6
    )


def test_strict_encoder_gets_only_its_own_categories(tmp_path):
    model = import_model(
        fitted(RandomForestRegressor(5, max_depth=4, random_state=0), ("columns", columns(OneHotEncoder())))
    )
    assert [model.features[column].name for column in model.known_codes_only] == ENCODED
    codes = np.trunc(rows_of(model)[:, 4])
    assert set(codes[~np.isnan(codes)].tolist()) <= {0.0, 1.0, 2.0, 3.0, 4.0}


@pytest.mark.parametrize("encode", ["ordinal", "onehot", "onehot-dense"])
def test_bins_are_folded(encode, tmp_path):
    bins = KBinsDiscretizer(5, encode=encode, **QUANTILES)
    steps = ("columns", ColumnTransformer([("bins", bins, ["price", "visits"])]))
    pipeline = fitted(lgb.LGBMRegressor(n_estimators=8, num_leaves=6, verbosity=-1), steps)
    model = import_model(pipeline)
    assert [feature.nullable for feature in model.features] == [False, False]
    engine = assert_library_agrees(model, tmp_path, most=1_500)
    rows = read_rows(Schema(model.features), raw()[["price", "visits"]], STRICT)[:20]
    for row, served in zip(rows, contributions(engine, rows), strict=True):
        np.testing.assert_allclose(served, brute_force(model.forest, row), atol=1e-9)


def test_number_that_is_encoded_and_scaled_becomes_intervals(tmp_path):
    steps = ColumnTransformer(
        [("scaled", StandardScaler(), ["grade"]), ("encoded", OneHotEncoder(handle_unknown="ignore"), ["grade"])]
    )
    pipeline = fitted(lgb.LGBMRegressor(n_estimators=8, num_leaves=5, verbosity=-1), ("columns", steps))
    model = import_model(pipeline)
    assert model.features[0].kind is Kind.NUMERIC
    assert_library_agrees(model, tmp_path, most=1_500)


def test_codes_that_the_model_splits_by_category_stay_codes(tmp_path):
    table = raw()[["grade", "price"]]
    model = HistGradientBoostingRegressor(max_iter=6, categorical_features=[0], min_samples_leaf=5)
    pipeline = fitted(
        model,
        ("columns", ColumnTransformer([("codes", "passthrough", ["grade"]), ("price", MinMaxScaler(), ["price"])])),
        table=table,
    )
    model = import_model(pipeline)
    assert model.features[0].kind is Kind.CATEGORICAL
    assert np.any(model.forest.category_set != NUMERIC)
    assert_library_agrees(model, tmp_path, most=1_500)


def test_array_without_names_and_nested_steps(tmp_path):
    table = raw()[NUMBERS].to_numpy()
    inner = make_pipeline(
        SimpleImputer(strategy="median"),
        FeatureUnion([("a", MinMaxScaler()), ("b", QuantileTransformer(n_quantiles=30))]),
    )
    pipeline = fitted(RandomForestRegressor(6, max_depth=4, random_state=0), ("inner", inner), table=table)
    model = import_model(pipeline)
    assert [feature.name for feature in model.features] == ["x0", "x1", "x2", "x3"]
    assert_library_agrees(model, tmp_path)


def test_columns_chosen_in_any_way_are_folded(tmp_path):
    """A skops file cannot store a function; the columns that it chose are fixed by training."""
    steps = ColumnTransformer(
        [
            ("selector", StandardScaler(), make_column_selector(dtype_include=float)),
            ("pattern", MinMaxScaler(), make_column_selector(pattern="price|size")),
            ("function", FunctionTransformer(), lambda table: [name for name in table if name == "zeros"]),
            ("slice", StandardScaler(), slice("price", "visits")),
            ("mask", OneHotEncoder(handle_unknown="ignore"), [name in ("city", "open") for name in raw().columns]),
        ]
    )
    model = lgb.LGBMRegressor(n_estimators=5, verbosity=-1)
    pipeline = Pipeline([("all", "passthrough"), ("none", None), ("columns", steps), ("model", model)])
    assert_library_agrees(import_model(pipeline.fit(raw(), numbers())), tmp_path, most=500)


@pytest.mark.parametrize(
    "selection",
    [SelectKBest(f_regression, k=2), SelectFromModel(DecisionTreeRegressor(max_depth=2)), RFE(LinearRegression())],
)
def test_a_first_step_that_selects_columns_and_refuses_missing_values_is_folded(selection, tmp_path):
    table = raw()[NUMBERS].fillna(1.0)
    pipeline = fitted(RandomForestRegressor(4, max_depth=3, random_state=0), ("chosen", selection), table=table)
    model = import_model(pipeline)
    assert [feature.name for feature in model.features] == list(table.columns[pipeline[0].get_support()])
    assert 0 < len(model.features) < len(NUMBERS)
    assert_library_agrees(model, tmp_path, most=500)


def test_frozen_steps_and_a_frozen_model_are_folded(tmp_path):
    table = raw()[NUMBERS]
    scaler = FrozenEstimator(StandardScaler().fit(table))
    columns = ColumnTransformer([("scaled", scaler, NUMBERS)])
    matrix = MinMaxScaler().fit_transform(scaler.transform(table))
    model = FrozenEstimator(DecisionTreeRegressor(max_depth=4).fit(matrix, numbers()))
    pipeline = fitted(
        model,
        ("columns", columns),
        ("again", FrozenEstimator(MinMaxScaler().fit(scaler.transform(table)))),
        table=table,
    )
    assert_library_agrees(import_model(pipeline), tmp_path, most=500)


def test_skops_file_with_a_column_selector_is_read(tmp_path):
    steps = ColumnTransformer([("numbers", StandardScaler(), make_column_selector(dtype_include=[np.number, bool]))])
    pipeline = make_pipeline(steps, DecisionTreeRegressor(max_depth=3)).fit(raw(), numbers())
    (tmp_path / "pipeline.skops").write_bytes(skops_files.dumps(pipeline))
    assert_library_agrees(import_model(tmp_path / "pipeline.skops"), tmp_path, most=500)


def test_ordinal_codes_that_histograms_split_by_category_are_folded(tmp_path):
    """A boolean column makes the array one of objects, and the model's own encoder one that takes objects only."""
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    steps = make_column_transformer((encoder, ["city", "grade"]), remainder="passthrough")
    model = HistGradientBoostingRegressor(max_iter=5, categorical_features=[0, 1])
    assert_library_agrees(
        import_model(make_pipeline(steps, model).fit(raw(), numbers())), tmp_path, most=500, onnx=False
    )


def test_nullable_booleans_stay_booleans(tmp_path):
    """An encoder lists 0.0 and 1.0 for a column of the type "boolean"; callers still send true and false."""
    table = raw().astype({"open": "boolean"})[["price", "open"]]
    steps = make_column_transformer((OneHotEncoder(), ["open"]), remainder="passthrough")
    pipeline = make_pipeline(steps, DecisionTreeRegressor(max_depth=3)).fit(table, numbers())
    model = mlrf.load(mlrf.build(pipeline, tmp_path / "bundle", name="m", sample=table))
    np.testing.assert_array_equal(model.predict(raw()[["price", "open"]]), pipeline.predict(table))
    np.testing.assert_array_equal(model.predict([{"price": 3.0, "open": True}]), pipeline.predict(
        pd.DataFrame({"price": [3.0], "open": pd.array([True], dtype="boolean")})
    ))  # fmt: skip


@pytest.mark.parametrize("one_hot", [True, False])
def test_catboosts_own_categories_after_other_steps(one_hot, tmp_path):
    """Those that it splits one by one, and those of CTR features, are named by a list."""
    model = catboost.CatBoostRegressor(
        iterations=3, verbose=0, cat_features=["city"], allow_writing_files=False, one_hot_max_size=9 if one_hot else 2
    )
    steps = make_column_transformer(
        (StandardScaler(), ["price"]), ("passthrough", ["city"]), verbose_feature_names_out=False
    )
    table = raw().assign(city=raw()["city"].fillna("none").astype(object))
    pipeline = make_pipeline(steps.set_output(transform="pandas"), model).fit(table, numbers())
    options = ImportOptions({"city": sorted(set(table["city"]))})
    read = import_model(pipeline, options)
    assert (read.forest.tables is None) == one_hot
    assert_library_agrees(read, tmp_path, most=500, onnx=False)


def test_splits_beyond_what_is_folded_are_refused():
    table = raw()[["price"]] * 1e300
    with pytest.raises(UnsupportedModelError, match=r"splits 'price' at numbers beyond 1e\+37.*divide the column"):
        import_model(fitted(DecisionTreeRegressor(max_depth=2), ("scaled", MinMaxScaler()), table=table))


def test_a_split_of_missing_values_from_numbers_bounds_the_feature(tmp_path):
    """CatBoost splits them at the least float32, so it would answer numbers below that as missing."""
    table = raw().copy()
    table.loc[::5, "price"] = np.nan
    target = numbers() + 50.0 * table["price"].isna()
    model = catboost.CatBoostRegressor(iterations=20, depth=4, verbose=0, allow_writing_files=False)
    steps = ColumnTransformer([("price", "passthrough", ["price"])])
    imported = import_model(make_pipeline(steps, model).fit(table, target))
    (price,) = imported.features
    assert (price.least, price.most, price.nullable) == (-1e37, 1e37, True)
    assert_library_agrees(imported, tmp_path, onnx=False)


def test_unused_columns_are_not_features():
    steps = ColumnTransformer([("price", MinMaxScaler(), ["price"])], remainder="drop")
    model = import_model(fitted(DecisionTreeRegressor(max_depth=3), ("columns", steps)))
    assert [feature.name for feature in model.features] == ["price"]


def test_missing_is_refused_where_a_step_or_the_model_refuses_it():
    table = raw()[["price", "visits"]]
    filled = import_model(
        fitted(
            xgb.XGBRegressor(n_estimators=3),
            ("bins", KBinsDiscretizer(3, **QUANTILES)),
            table=table,
        )
    )
    assert not any(feature.nullable for feature in filled.features)
    taken = import_model(fitted(xgb.XGBRegressor(n_estimators=3), ("scaled", MinMaxScaler()), table=table))
    assert all(feature.nullable for feature in taken.features)


# The matrix that the model sees.


@pytest.fixture(scope="module")
def sparse() -> Pipeline:
    model = xgb.XGBRegressor(n_estimators=8, max_depth=4)
    steps = ColumnTransformer(
        [("kept", MinMaxScaler(), ["zeros", "price"]), ("city", OneHotEncoder(handle_unknown="ignore"), ["city"])],
        sparse_threshold=1.0,
    )
    return fitted(model, ("columns", steps))


def test_zero_of_a_sparse_matrix_is_missing_to_xgboost(sparse, tmp_path):
    assert hasattr(sparse[:-1].transform(raw()), "tocsr")
    model = import_model(sparse)
    assert_library_agrees(model, tmp_path, link_limit=1e-6)
    np.testing.assert_allclose(margins(model, raw()), sparse.predict(raw()), rtol=1e-6)


def test_lightgbm_separates_near_zero_in_sparse_input_only(tmp_path):
    found = {}
    for threshold in (0.0, 1.0):
        steps = ColumnTransformer(
            [("kept", "passthrough", ["zeros"]), ("city", OneHotEncoder(handle_unknown="ignore"), ["city"])],
            sparse_threshold=threshold,
        )
        pipeline = fitted(lgb.LGBMRegressor(n_estimators=8, num_leaves=8, verbosity=-1), ("columns", steps))
        model = import_model(pipeline)
        assert_library_agrees(model, tmp_path, most=2_000)
        found[threshold] = set(model.forest.threshold[model.forest.feature == 0].tolist())
    assert -ZERO_BAND in found[1.0] - found[0.0]


def test_sparse_matrix_read_as_dense_is_caught(sparse, monkeypatch, tmp_path):
    monkeypatch.setattr(Preprocessing, "is_sparse", False)
    monkeypatch.setattr(Preprocessing, "matrix", lambda self, rows: Matrix(*[self.transform(rows).toarray()] * 2))
    model = import_model(sparse)
    with pytest.raises(AssertionError):
        assert_library_agrees(model, tmp_path, link_limit=1e-6)


def test_steps_that_are_not_monotone_to_the_bit_are_caught():
    table = RawTable((RawColumn("price"),), is_frame=False, no_code_up_to=TRUNCATED)

    def uneven(values):
        bits = np.ascontiguousarray(values).view(np.int64)
        return (bits - 3 * (bits % 2)).view(np.float64)  # every second number falls three behind

    for function, is_caught in ((None, False), (uneven, True)):
        steps = make_pipeline(FunctionTransformer(function)).fit(np.zeros((2, 1)))
        preprocessing = Preprocessing(steps, table, 1, library="lightgbm")
        cuts = CutPoints(preprocessing, np.zeros(1), ["price"], [0])
        limit = Limit(0, 0, 1.5, in_float32=False)
        if is_caught:
            with pytest.raises(UnsupportedModelError, match="not monotone in the last bits of 'price'"):
                cuts.find([limit])
        else:
            assert cuts.find([limit]) == {limit: 1.5}


# Explanations.


def small(encoder) -> Pipeline:
    steps = ColumnTransformer(
        [
            ("price", make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), ["size"]),
            ("city", encoder, ["city", "grade"]),
        ]
    )
    return fitted(
        lgb.LGBMRegressor(n_estimators=6, num_leaves=8, min_child_samples=5, verbosity=-1), ("columns", steps)
    )


@pytest.mark.parametrize(
    "encoder", [OneHotEncoder(handle_unknown="ignore"), TargetEncoder()], ids=["one-hot", "target"]
)
def test_contributions_are_shapley_values_of_the_raw_columns(encoder, tmp_path):
    model = import_model(small(encoder))
    engine = assert_library_agrees(model, tmp_path, most=400)
    rows = rows_of(model, 40)
    for row, served in zip(rows, contributions(engine, rows), strict=True):
        np.testing.assert_allclose(served, brute_force(model.forest, row), atol=1e-9)


def test_one_hot_columns_added_up_are_not_the_raw_columns_share(tmp_path):
    pipeline = small(OneHotEncoder(handle_unknown="ignore"))
    folded = import_model(pipeline)
    table = raw()[["size", "city", "grade"]]
    rows = read_rows(Schema(folded.features), table, STRICT)[:50]
    served = contributions(assert_library_agrees(folded, tmp_path, most=400), rows)[:, :, 0]
    own = pipeline[-1].predict(pipeline[:-1].transform(table[:50]), pred_contrib=True)
    groups = [range(2), range(2, 8), range(8, 12)]  # size with its indicator, city with missing, grade
    assert own.shape[1] == 13
    summed = np.column_stack([own[:, list(group)].sum(axis=1) for group in groups])
    np.testing.assert_allclose(served.sum(axis=1), summed.sum(axis=1), atol=1e-9)
    assert np.abs(served - summed).max() > 0.001 * np.abs(served).max()


# What is refused.


@pytest.mark.parametrize(
    ("step", "name"),
    [
        (PCA(2), "PCA"),
        (PolynomialFeatures(), "PolynomialFeatures"),
        (KNNImputer(), "KNNImputer"),
        (FunctionTransformer(np.abs), "FunctionTransformer"),
        (FunctionTransformer(np.square), "FunctionTransformer"),
        (FunctionTransformer(lambda table: table + 1), "FunctionTransformer"),
        (FunctionTransformer(np.cbrt, kw_args={"dtype": np.float64}), "FunctionTransformer"),
        (make_pipeline(FunctionTransformer(np.exp), SimpleImputer()), "SimpleImputer"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_step_that_cannot_be_folded_is_named(step, name):
    table = raw()[["price", "visits", "zeros"]] / 1e3  # the exponentials must be within float32
    pipeline = fitted(DecisionTreeRegressor(max_depth=2), ("odd", step), table=table)
    with pytest.raises(UnsupportedModelError, match=rf"step '(odd|simpleimputer)' \({name}") as refused:
        import_model(pipeline)
    assert any(word in str(refused.value) for word in ("skl2onnx", "set_params(func=numpy.log1p)", "put it before"))


@pytest.mark.slow
def test_the_way_by_onnx_that_a_refusal_names_works(tmp_path):
    table = raw()[["price", "visits", "zeros"]].to_numpy(np.float32)
    pipeline = fitted(DecisionTreeRegressor(max_depth=3), ("odd", PCA(2)), table=table)
    (tmp_path / "pipeline.onnx").write_bytes(skl2onnx.to_onnx(pipeline, table[:1]).SerializeToString())
    path = mlrf.build(tmp_path / "pipeline.onnx", tmp_path / "bundle", name="odd")
    model = mlrf.load(path)
    np.testing.assert_allclose(np.ravel(model.predict(table)), pipeline.predict(table), rtol=1e-4)


def test_steps_of_an_older_scikit_learn_are_completed():
    imputers = make_pipeline(
        SimpleImputer(), ColumnTransformer([("fill", SimpleImputer(), [0])], remainder="passthrough")
    )
    pipeline = fitted(DecisionTreeRegressor(max_depth=3), ("fill", imputers), table=raw()[["size", "price"]])
    expected = pipeline.predict(raw()[["size", "price"]])
    for imputer in (imputers[0], imputers[1].transformers_[0][1]):  # 1.1 had none of these
        for name in ("keep_empty_features", "_fit_dtype", "_fill_dtype"):
            vars(imputer).pop(name, None)
    np.testing.assert_array_equal(margins(import_model(pipeline), raw()), expected)


def test_damaged_step_is_an_error_that_says_so(tmp_path):
    pipeline = fitted(
        DecisionTreeRegressor(max_depth=2), ("scaled", StandardScaler()), table=raw()[["price", "visits"]]
    )
    pipeline[0].scale_ = np.ones(5)
    skops_files.dump(pipeline, tmp_path / "pipeline")
    with pytest.raises(ModelUnreadableError, match="steps cannot transform rows: ValueError"):
        import_model(tmp_path / "pipeline")
    (tmp_path / "cut").write_bytes((tmp_path / "pipeline").read_bytes()[:-300])
    with pytest.raises(BuildError):
        import_model(tmp_path / "cut")


def test_other_refusals_say_what_to_do():
    with pytest.raises(UnsupportedModelError, match="no step before its model; build from the model itself"):
        import_model(Pipeline([("model", DecisionTreeRegressor().fit(raw()[["price"]], numbers()))]))
    with pytest.raises(UnsupportedModelError, match="LinearRegression"):
        import_model(fitted(LinearRegression(), ("scaled", StandardScaler()), table=raw()[["price"]]))
    with pytest.raises(ModelUnreadableError, match="not fitted"):
        import_model(Pipeline([("scaled", StandardScaler()), ("model", DecisionTreeRegressor())]))
    with pytest.raises(SampleError, match=r"'city'.*leave the list out"):
        import_model(boosted(), ImportOptions(categories={"city": ["Oslo"]}))
    late = make_pipeline(StandardScaler(), OneHotEncoder(handle_unknown="ignore"))
    with pytest.raises(
        UnsupportedModelError, match="'onehotencoder' makes a column for each value of the number 'visits'"
    ):
        import_model(fitted(DecisionTreeRegressor(), ("late", late), table=raw()[["visits"]]))


def test_classifier_keeps_its_labels(tmp_path):
    labels = np.where(numbers() > np.median(numbers()), "high", "low")
    pipeline = Pipeline([("columns", columns()), ("model", RandomForestClassifier(5, max_depth=4, random_state=0))])
    pipeline.fit(raw(), labels)
    model = import_model(pipeline)
    assert model.classes == ("high", "low")
    np.testing.assert_array_equal(margins(model, raw()), pipeline.predict_proba(raw())[:, 1])


def test_quantiles_that_leave_zero_by_a_rounding_error_are_folded(tmp_path):
    table = frame(21757143)[["price", "city"]].fillna({"city": "none", "price": 20.0})
    steps = ColumnTransformer(
        [("price", QuantileTransformer(n_quantiles=40), ["price"]), ("city", OneHotEncoder(), ["city"])],
        sparse_threshold=1.0,
    )
    booster = xgb.XGBRegressor(n_estimators=6, max_depth=2)
    # Missing prices go elsewhere than low ones.
    signal = (table["price"] > 15.0) + (table["city"] == "Rome") * 2.0 - 3.0 * (table["price"] <= 0.5)
    pipeline = make_pipeline(steps, booster).fit(table, signal)
    quantiles = steps.fit(table).named_transformers_["price"]
    least = quantiles.quantiles_[0, 0]
    beyond = least + np.arange(40) * np.spacing(least)
    assert np.any(quantiles.transform(pd.DataFrame({"price": beyond})) < 0.0)
    model = import_model(pipeline)
    assert_library_agrees(model, tmp_path, onnx=False)
    given = pd.DataFrame({"price": [-1e9, -1.0, *beyond, 15.0], "city": table["city"].iloc[0]})
    rows = read_rows(Schema(model.features), given, STRICT)
    found = run_trees(encode_forest(model.forest), rows, np.arange(1)).margins[:, 0]
    np.testing.assert_array_equal(found.astype(np.float32), pipeline.predict(given))
