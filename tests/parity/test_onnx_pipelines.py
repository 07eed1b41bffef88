"""ONNX pipelines, as skl2onnx writes them, folded into trees over their raw columns: equal to ONNX Runtime's answers to the bit."""

from __future__ import annotations

import random
import re
import warnings

import numpy as np
import pytest
import skl2onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    QuantileTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.tree import DecisionTreeRegressor

import mlrf
import onnx_files as files
from library_answers import assert_library_agrees, contributions
from matrix import holds
from measuring import measure
from mlrf.builder.covers import with_covers
from mlrf.builder.importers.detect import import_model
from mlrf.builder.importers.imported_model import ImportedGraph, ImportedModel, ImportOptions
from mlrf.core.errors import BuildError, SampleError
from mlrf.core.leniency import STRICT
from mlrf.core.schema import Schema
from mlrf.model.table_input import read_rows
from naive_forest import brute_force
from onnx_pipelines import answers, frame, to_onnx
from zoo import Cell, grow


def fitted(last, *parts, classes=None, is_narrow=False):
    """Return the ONNX file of a ColumnTransformer of (step, columns) before a model, and its training frame.

    `is_narrow` leaves out the columns that no step reads: a graph needs the categories of all.
    """
    raw = frame(3)
    numbers = np.asarray(raw["price"] + 20 * (raw["city"] == "Rome") + 3 * (raw["plan"] == "plus") + raw["grade"])
    named = [(str(index), step, columns) for index, (step, columns) in enumerate(parts)]
    if is_narrow:
        raw = raw[sorted({column for _, columns in parts for column in columns})]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = make_pipeline(ColumnTransformer(named, sparse_threshold=0.0), last)
        pipeline.fit(raw, numbers if classes is None else np.asarray(classes)[np.digitize(numbers, [45.0, 65.0])])
        return to_onnx(pipeline, raw), raw


def tree():
    return DecisionTreeRegressor(max_depth=5, random_state=0)


def rows_of(model, raw):
    schema = Schema(model.features)
    return read_rows(schema, raw[list(schema.names)], STRICT)


NUMBERS = make_pipeline(SimpleImputer(), StandardScaler())
STEPS = {
    "unknown strings": [(OneHotEncoder(handle_unknown="ignore"), ["city", "plan"]), (NUMBERS, ["price"])],
    "a column for each bin": [(make_pipeline(SimpleImputer(), KBinsDiscretizer(4, encode="onehot-dense")), ["price", "size"])],
    "scaled numbers": [(NUMBERS, ["price", "size", "zeros"])],
    "clipped numbers": [(MinMaxScaler(clip=True), ["price", "zeros"]), ("passthrough", ["visits"])],
    "tested numbers": [(Binarizer(threshold=30.0), ["price"]), (Binarizer(threshold=0.1), ["zeros"]), (NUMBERS, ["size"])],
    "bins": [(make_pipeline(SimpleImputer(), KBinsDiscretizer(6, encode="ordinal")), ["price", "size"])],
    "bins of scaled numbers": [(make_pipeline(StandardScaler(), KBinsDiscretizer(5, encode="ordinal")), ["price", "zeros"])],
    "no unknown strings": [(OneHotEncoder(), ["city", "plan"]), (NUMBERS, ["price"])],
    "one category fewer": [(OneHotEncoder(drop="first"), ["city", "plan"])],
    "rare strings": [(OneHotEncoder(handle_unknown="ignore", min_frequency=40), ["city", "plan"])],
    "codes": [(OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["city", "plan"])],
    "codes of known strings": [(OrdinalEncoder(), ["city", "plan"]), ("passthrough", ["price"])],
    "targets": [(TargetEncoder(target_type="continuous"), ["city"]), ("passthrough", ["visits"])],
    "whole numbers as categories": [(OneHotEncoder(handle_unknown="ignore"), ["grade"]), (StandardScaler(), ["visits"])],
    "a number that is a category too": [(OneHotEncoder(handle_unknown="ignore"), ["grade"]), ("passthrough", ["grade", "price"])],
}  # fmt: skip


@pytest.mark.parametrize("what", STEPS)
def test_steps_are_folded_to_the_bit(tmp_path, what):
    proto, raw = fitted(tree(), *STEPS[what])
    model = import_model(proto)
    assert isinstance(model, ImportedModel), model.notes
    engine = assert_library_agrees(model, tmp_path, most=1_500)
    np.testing.assert_array_equal(np.reshape(engine.margins(rows_of(model, raw)), (-1, 1)), answers(proto, raw))
    assert {feature.name for feature in model.features} == {column for _, columns in STEPS[what] for column in columns}


@pytest.mark.parametrize(
    ("marker", "encoder"),
    [("", OneHotEncoder(handle_unknown="ignore")), ("?", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1))],
)  # fmt: skip
def test_a_string_that_stands_for_a_missing_one_is_imputed(tmp_path, marker, encoder):
    raw = frame(3)
    raw.loc[::5, "city"] = marker
    imputer = SimpleImputer(missing_values=marker, strategy="most_frequent")
    columns = ColumnTransformer([("city", make_pipeline(imputer, encoder), ["city"])], sparse_threshold=0.0)
    proto = to_onnx(make_pipeline(columns, tree()).fit(raw, raw["price"]), raw)
    model = import_model(proto)
    engine = assert_library_agrees(model, tmp_path, most=500)
    np.testing.assert_array_equal(np.reshape(engine.margins(rows_of(model, raw)), (-1, 1)), answers(proto, raw))


ARRAYS = {
    "columns of two steps": FeatureUnion([("all", StandardScaler()), ("one", make_pipeline(MaxAbsScaler(), Binarizer(threshold=0.2)))]),
    "chosen columns": make_pipeline(StandardScaler(), SelectKBest(f_regression, k=2)),
    "a category in floats": ColumnTransformer([("g", OneHotEncoder(handle_unknown="ignore", sparse_output=False), [3]), ("p", "passthrough", [0, 1])]),
    "division in double": StandardScaler(),
}  # fmt: skip


@pytest.mark.parametrize("what", ARRAYS)
def test_arrays_are_folded_to_the_bit(tmp_path, what):
    x = frame(3)[["price", "zeros", "visits", "grade"]].to_numpy(np.float32)
    pipeline = make_pipeline(ARRAYS[what], tree()).fit(x, x[:, 0] + x[:, 3])
    options = {StandardScaler: {"div": "div_cast"}} if what == "division in double" else None
    model = import_model(skl2onnx.to_onnx(pipeline, x[:1], options=options))
    assert isinstance(model, ImportedModel), model.notes
    assert_library_agrees(model, tmp_path, most=500)


def test_bundle_has_the_raw_columns_and_explains_them(tmp_path):
    proto, raw = fitted(
        RandomForestClassifier(5, max_depth=4, random_state=0),
        (NUMBERS, ["price", "size"]),
        (OneHotEncoder(handle_unknown="ignore"), ["city"]),
        ("passthrough", ["visits"]),
        (OrdinalEncoder(), ["plan", "grade"]),
        classes=["low", "mid", "high"],
    )
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    model = mlrf.load(mlrf.build(tmp_path / "m.onnx", tmp_path / "bundle", name="m", sample=raw))
    assert {f.name: (f.kind.value, f.nullable, f.categories) for f in model.schema.features} == {
        "price": ("numeric", True, None),
        "size": ("numeric", True, None),
        "visits": ("integer", False, None),
        "grade": ("categorical", False, (10, 20, 30, 40)),
        "city": ("categorical", True, ("Bonn", "Graz", "Nice", "Oslo", "Rome")),
        "plan": ("categorical", False, ("basic", "plus")),
    }
    assert model.classes == ["high", "low", "mid"]
    manifest = model.bundle.manifest
    assert all(rows.bit_equal == rows.rows > 0 for rows in manifest.parity["trees"].values())
    assert manifest.graph is None
    assert "the steps before its trees are folded into them, over the raw columns" in manifest.notes
    np.testing.assert_allclose(model.predict(raw[list(model.schema.names)]), answers(proto, raw), atol=1e-6)
    explained = model.explain(raw[list(model.schema.names)][:3])
    assert explained.values.shape[:2] == (3, 6)


def test_contributions_are_shapley_values_of_the_raw_columns(tmp_path):
    proto, raw = fitted(tree(), (OneHotEncoder(handle_unknown="ignore"), ["city", "plan"]), (NUMBERS, ["price"]))
    model = import_model(proto)
    rows = rows_of(model, raw)
    covered = with_covers(model, rows)
    assert covered.covers == "sample"
    engine = assert_library_agrees(covered, tmp_path, most=500)
    for row, found in zip(rows[:8], contributions(engine, rows[:8]), strict=True):
        np.testing.assert_allclose(found, brute_force(covered.forest, row), atol=1e-9)


@pytest.mark.parametrize(
    ("step", "columns", "reason"),
    [
        (Normalizer(), ["price", "zeros"], "step Normalizer is not one of those"),
        (PolynomialFeatures(2), ["price", "zeros"], "step ReduceProd is not one of those"),
        (QuantileTransformer(n_quantiles=20), ["price"], "step Where .* mixes results that do not change in steps"),
        (SimpleImputer(missing_values=0.0), ["zeros"], r"step Imputer reads 0\.0 as missing"),
    ],
)  # fmt: skip
def test_what_is_not_folded_is_named_and_served_by_onnx_runtime(step, columns, reason):
    proto, _ = fitted(tree(), (step, columns), is_narrow=True)
    model = import_model(proto)
    assert isinstance(model, ImportedGraph)
    assert any(re.search(reason, note) for note in model.notes), model.notes


def test_a_task_keeps_the_graph_as_it_is():
    proto, _ = fitted(tree(), (StandardScaler(), ["price"]), is_narrow=True)
    model = import_model(proto, ImportOptions(task="raw"))
    assert isinstance(model, ImportedGraph)
    assert any("a task is given" in note for note in model.notes)


def test_a_list_gives_the_order_of_the_categories(tmp_path):
    proto, _ = fitted(tree(), (OneHotEncoder(handle_unknown="ignore"), ["city"]), ("passthrough", ["price"]))
    listed = ["Rome", "Oslo", "Wien", "Bonn", "Nice", "Graz"]  # one that the encoder does not know
    model = import_model(proto, ImportOptions({"city": listed}))
    assert next(f.categories for f in model.features if f.name == "city") == tuple(listed)
    assert_library_agrees(model, tmp_path, most=500)
    with pytest.raises(SampleError, match="must be strings"):
        import_model(proto, ImportOptions({"city": [1, 2]}))


def graph(*nodes, inputs, width, constants=()):
    """Return a file of nodes that make the matrix `m` of a small forest."""
    trees = files.version_3([files.grow(np.random.default_rng(5), 4, (0,), n_features=width) for _ in range(6)])
    trees.input[0] = "m"
    return files.model(
        *nodes,
        trees,
        inputs=inputs,
        constants=[numpy_helper.from_array(values, name) for name, values in constants],
    )


def test_every_type_of_input(tmp_path):
    kinds = {"small": TensorProto.INT8, "big": TensorProto.INT64, "on": TensorProto.BOOL, "exact": TensorProto.DOUBLE}
    proto = graph(
        *(helper.make_node("Cast", [name], [f"{name}_f"], to=TensorProto.FLOAT) for name in kinds),
        helper.make_node("Concat", [f"{name}_f" for name in kinds], ["all"], axis=1),
        helper.make_node("Scaler", ["all"], ["m"], domain=files.ML, offset=[1.0] * 4, scale=[0.3, 0.7, 1.0, 0.1]),
        inputs=[(name, element, 1) for name, element in kinds.items()],
        width=4,
    )
    model = import_model(proto)
    assert isinstance(model, ImportedModel)
    assert [(f.name, f.kind.value, f.nullable) for f in model.features] == [
        ("small", "integer", False),
        ("big", "integer", False),
        ("on", "boolean", False),
        ("exact", "numeric", True),
    ]
    assert_library_agrees(model, tmp_path, most=1_000)


@pytest.mark.parametrize("scale", [[0.0, 1.0], [1.0, -1.0], [float("inf"), 1.0], [1.0]])
def test_scalers_that_do_not_grow_are_left_to_onnx_runtime(tmp_path, scale):
    scaler = helper.make_node("Scaler", ["x"], ["m"], domain=files.ML, offset=[0.5, 0.5], scale=scale)
    proto = graph(scaler, inputs=[("x", TensorProto.FLOAT, 2)], width=2)
    model = import_model(proto)
    assert isinstance(model, ImportedGraph) == (scale != [1.0])


def test_damaged_pipelines_are_read_or_refused_in_a_sentence(tmp_path):
    whole = [
        fitted(tree(), *STEPS[what])[0].SerializeToString()
        for what in ("unknown strings", "codes", "a column for each bin", "clipped numbers")
    ]
    draw, path = random.Random(2), tmp_path / "model.onnx"
    kinds = set()
    for _ in range(150):
        damaged = bytearray(draw.choice(whole))
        for _ in range(draw.randint(1, 4)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        path.write_bytes(damaged)
        try:
            model = import_model(path)
            kinds.add(type(model))
            if isinstance(model, ImportedModel):
                model.forest.validate()
        except BuildError as error:
            kinds.add(BuildError)
            assert "\n" not in str(error)
    assert kinds == {ImportedModel, ImportedGraph, BuildError}


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", ["LGBMClassifier", "XGBRegressor", "ExtraTreesClassifier", "GradientBoostingRegressor"]
)
@pytest.mark.parametrize("seed", range(4))
def test_random_pipelines_equal_onnx_runtime(model, seed):
    cell = Cell("onnx", model, "skl2onnx pipeline", "mixed", "imputed")
    assert holds(found := measure(grow(cell, seed, trees=5, depth=4), most=500)), found
