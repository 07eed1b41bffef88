"""Response curves compared with value-by-value predictions, on forests with every rule."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

import mlrf
from bundles import ALL_KINDS, stumps, write_bundle, write_tree_bundle
from curve_checks import assert_curve_is_exact, assert_grid_is_exact
from mlrf.core.errors import (
    BatchTooLargeError,
    InvalidRequestError,
    NonFiniteResultError,
    NoThresholdsError,
    UnknownFeatureError,
)
from mlrf.core.feature import Feature, Kind
from mlrf.core.forest import NOT_NEGATIVE, floor32
from mlrf.core.manifest import LinkEntry
from mlrf.core.schema import Schema
from mlrf.core.table_columns import PartKind
from mlrf.model import curve as curves
from naive_forest import make_forest, with_tables

OPEN = Schema(
    (
        Feature("number", Kind.NUMERIC),
        Feature("whole", Kind.INTEGER),
        Feature("code", Kind.CATEGORICAL, None),
        Feature("listed", Kind.CATEGORICAL, tuple("abcdefgh")),
        Feature("flag", Kind.BOOLEAN, nullable=False, example=True),
    )
)


def rows_of(schema: Schema, n: int, seed: int) -> list[list[float]]:
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        row = []
        for feature in schema.features:
            top = {Kind.BOOLEAN: 2, Kind.CATEGORICAL: len(feature.categories or range(70))}.get(feature.kind, 6)
            x = float(rng.normal(scale=3)) if feature.kind is Kind.NUMERIC else float(rng.integers(top))
            row.append(math.nan if feature.nullable and rng.random() < 0.2 else x)
        rows.append(row)
    return rows


@pytest.mark.parametrize("inputs", ["float64", "float32"])
@pytest.mark.parametrize("codes", ["truncated", "not negative"])
@pytest.mark.parametrize("seed", range(6))
def test_curve_equals_value_by_value_predictions(seed, codes, inputs, tmp_path):
    forest = make_forest(np.random.default_rng(seed), n_features=5, n_outputs=1 + seed % 3, n_trees=12, max_leaves=9)
    if inputs == "float32":
        forest = replace(forest, threshold=floor32(forest.threshold), inputs="float32")
    if codes == "not negative":
        forest = replace(forest, no_code_up_to=NOT_NEGATIVE)
    link = LinkEntry("identity" if forest.n_outputs == 1 else "softmax")
    task = "regression" if forest.n_outputs == 1 else "multiclass"
    path = write_bundle(
        tmp_path / "b", schema=OPEN, forest=forest, n_outputs=forest.n_outputs, link=link, task=task,
        classes=list("abc")[: forest.n_outputs] if forest.n_outputs > 1 else None,
    )  # fmt: skip
    model = mlrf.load(path)
    for row in rows_of(OPEN, 3, seed):
        for name in OPEN.names:
            assert_curve_is_exact(model, row, name)
        assert_grid_is_exact(model, row, ("whole", "listed"))
        assert_grid_is_exact(model, row, ("flag", "number"))


def test_values_near_zero_have_their_own_interval(tmp_path):
    """A node that reads |x| <= ZERO_BAND as missing changes the margin at both ends of the band."""
    seen = 0
    for seed in range(20):
        forest = make_forest(np.random.default_rng(seed), n_features=1, n_outputs=1, n_trees=3, max_leaves=5)
        schema = Schema((Feature("x"),))
        model = mlrf.load(write_bundle(tmp_path / str(seed), schema=schema, forest=forest))
        assert_curve_is_exact(model, [0.5], "x")
        cuts = model.curve([0.5], "x").axes[0].cuts
        seen += any(0.0 < cut < 1e-34 for cut in cuts) and any(-1e-34 < cut < 0.0 for cut in cuts)
    assert seen


def test_borders_of_lookup_tables_are_cuts(tmp_path):
    """The key of a table says whether a number is above a border, in float32 whatever the trees compare."""
    schema = Schema((*(Feature(f"c{i}", Kind.CATEGORICAL, None) for i in range(2)), Feature("x"), Feature("y")))
    borders = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        plain = make_forest(rng, n_features=4, n_outputs=1, n_trees=12, max_leaves=9)
        forest = with_tables(plain, rng)
        hashed = tuple(feature.name for i, feature in enumerate(schema.features) if i not in forest.tables.hashes)
        path = write_bundle(tmp_path / str(seed), schema=schema, forest=forest, model=stumps(4, 1))
        model = mlrf.load(path, engine="trees")
        for row in rows_of(schema, 2, seed):
            for name in hashed:
                assert_curve_is_exact(model, row, name)
        borders += sum(p.kind is PartKind.ABOVE for table in forest.tables.tables for p in table.parts)
    assert borders


@pytest.fixture(scope="module")
def tree_model(tmp_path_factory):
    return mlrf.load(write_tree_bundle(tmp_path_factory.mktemp("curve") / "b"))


def test_points_of_each_kind(tree_model):
    row = ALL_KINDS.example()
    curve = tree_model.curve(row, ["promo", "store"])
    promo, store = curve.axes
    assert (promo.values, promo.cuts, promo.at) == ([False, True, None], None, 1)
    assert (store.values, store.cuts, store.at) == (["north", "süd", "east", None], None, 1)
    assert curve.shape == (3, 4)
    pairs = list(product(promo.values, store.values))
    expected = tree_model.predict([{**row, "promo": p, "store": s} for p, s in pairs])
    assert curve.predictions == expected.tolist()
    (depth,) = tree_model.curve(row, "depth").axes
    assert None not in depth.values, "depth may not be missing"
    assert depth.at == bisect_left(depth.cuts, 0.25)
    (count,) = tree_model.curve(row, "count").axes
    assert all(cut == math.floor(cut) for cut in count.cuts)


def test_missing_value_of_the_row_is_its_own_point(tree_model):
    (price,) = tree_model.curve({**ALL_KINDS.example(), "price": None}, "price").axes
    assert price.values[price.at] is None
    assert price.at == len(price.values) - 1


def test_feature_without_thresholds_has_one_point(tmp_path):
    forest = make_forest(np.random.default_rng(0), n_features=2, n_outputs=1, n_trees=0, max_leaves=2)
    schema = Schema((Feature("a", nullable=False), Feature("b", nullable=False)))
    model = mlrf.load(write_bundle(tmp_path / "b", schema=schema, forest=forest))
    curve = model.curve([3.5, 1.0], "a")
    assert curve.axes[0].values == [3.5]
    assert curve.predictions == model.predict([[3.5, 1.0]]).tolist()


@pytest.mark.parametrize(
    ("names", "error", "text"),
    [
        ("prize", UnknownFeatureError, '"prize", which is not a feature of sample; model.schema.names'),
        ([], InvalidRequestError, "one feature, or two different ones"),
        (["price", "price"], InvalidRequestError, "one feature, or two different ones"),
        (["price", "count", "promo"], InvalidRequestError, "one feature, or two different ones"),
    ],
)
def test_what_cannot_be_varied_is_refused(tree_model, names, error, text):
    with pytest.raises(error, match=text):
        tree_model.curve(ALL_KINDS.example(), names)


def test_grid_of_too_many_points_is_refused_by_number(tree_model, monkeypatch):
    monkeypatch.setattr(curves, "MOST_POINTS", 11)
    with pytest.raises(BatchTooLargeError, match=r'"promo" and "store" have 3 x 4 points, more than the 11') as refused:
        tree_model.curve(ALL_KINDS.example(), ["promo", "store"])
    assert refused.value.details == {"points": 12, "max_points": 11}
    tree_model.curve(ALL_KINDS.example(), "store")


def test_engine_without_thresholds_is_refused(tmp_path):
    path = write_tree_bundle(tmp_path / "b")
    with pytest.raises(NoThresholdsError, match="'onnxruntime' does not know the thresholds"):
        mlrf.load(path, engine="onnxruntime").curve(ALL_KINDS.example(), "price")


def test_prediction_that_is_not_finite_is_named(tmp_path):
    model = mlrf.load(write_tree_bundle(tmp_path / "b", link=LinkEntry("exp"), leaf_scale=1e4))

    def draw_all() -> None:
        for row, name in product(rows_of(ALL_KINDS, 20, 1), ALL_KINDS.names):
            model.curve(row, name)

    with pytest.raises(NonFiniteResultError, match=r'with "\w+" at .*, the model\'s answer is not a finite number'):
        draw_all()
