"""XGBoost's own answers, to the bit: objectives, boosters, categories, formats, wrappers."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

import mlrf
from mlrf.builder.exporters.forest_file.encode import encode_forest
from mlrf.builder.exporters.onnx.export import export_onnx
from mlrf.builder.importers.detect import import_model
from mlrf.builder.importers.imported_model import ImportedModel, ImportOptions
from mlrf.builder.importers.xgboost import reference
from mlrf.builder.parity.exports import run_onnx, run_trees
from mlrf.builder.parity.golden_rows import golden_rows
from mlrf.core.errors import SampleError, UnsupportedModelError
from mlrf.core.feature import Kind
from mlrf.engines.tree_kernel import TreeEngine
from xgboost_models import OBJECTIVES, data, train

VARIANTS = {
    "plain": {},
    "dart": {"booster": "dart", "rate_drop": 0.4},
    "forest": {"num_parallel_tree": 3, "subsample": 0.7, "max_cat_to_onehot": 1},
    "based": {"base_score": 0.3},
}


def assert_parity(model: ImportedModel, rows: np.ndarray | None = None) -> None:
    """Both exports answer golden rows as XGBoost does: margins to the bit, predictions to float32."""
    tried = golden_rows(model.forest, None, lambda _: None).rows.dense() if rows is None else rows
    tried = tried[np.unique(np.linspace(0, len(tried) - 1, 3000).astype(int))]
    booster = reference.load(model.source, model.settings, 1)
    limits = (0, model.settings["iterations"])
    expected = booster.predict(reference.matrix(booster, tried), output_margin=True, iteration_range=limits)
    expected = expected.reshape(len(tried), -1).astype(np.float64)
    kept = np.arange(0, len(tried), 10)
    trees = run_trees(encode_forest(model.forest), tried, kept)
    np.testing.assert_array_equal(trees.margins, expected)
    np.testing.assert_array_equal(trees.single, expected[kept])
    margins, predictions = run_onnx(export_onnx(model.forest, model.link), tried)
    np.testing.assert_array_equal(margins, expected)
    predicted = booster.predict(reference.matrix(booster, tried), iteration_range=limits).reshape(len(tried), -1)
    np.testing.assert_allclose(predictions, predicted, rtol=1e-6, atol=1e-6 * np.mean(np.abs(predicted)))
    linked = [model.link.vector()(row) for row in trees.margins[kept].tolist()]
    np.testing.assert_allclose(linked, predicted[kept], rtol=1e-6, atol=1e-6 * np.mean(np.abs(predicted)))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("objective", ["reg:squarederror", "binary:logistic", "multi:softprob", "reg:tweedie"])
def test_margins_are_xgboosts_to_the_bit(objective, variant):
    assert_parity(import_model(train(objective, **VARIANTS[variant])))


def test_dropout_is_read_from_old_and_new_xgboost_files(tmp_path):
    """Up to 3.3 dart is a booster around gbtree; from 3.4 on gbtree keeps the weights next to its trees."""
    document = json.loads(train("reg:squarederror", **VARIANTS["dart"]).save_raw("json"))
    booster = document["learner"]["gradient_booster"]
    if booster["name"] == "dart":
        model = booster["gbtree"]["model"] | {"weight_drop": booster["weight_drop"]}
        other = {"name": "gbtree", "model": model}
    else:
        model = {name: value for name, value in booster["model"].items() if name != "weight_drop"}
        other = {"name": "dart", "gbtree": {"model": model}, "weight_drop": booster["model"]["weight_drop"]}
    forests = []
    for name, its_booster in (("own", booster), ("other", other)):
        document["learner"]["gradient_booster"] = its_booster
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
        forests.append(import_model(tmp_path / f"{name}.json").forest)
    np.testing.assert_array_equal(forests[0].value, forests[1].value)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_is_answered(objective):
    assert_parity(import_model(train(objective, rounds=3)))


@pytest.mark.parametrize("objective", ["reg:squarederror", "binary:logistic", "multi:softprob"])
def test_contributions_are_xgboosts_and_give_the_margin(objective, tmp_path):
    booster = train(objective)
    model = import_model(booster)
    rows, _ = data(0)
    (tmp_path / "f").write_bytes(encode_forest(model.forest))
    engine = TreeEngine(tmp_path / "f")
    served = np.array(engine.contributions_many(rows[:200])).reshape(200, 5, -1)
    library = booster.predict(reference.matrix(booster, rows[:200]), pred_contribs=True).reshape(200, -1, 6)
    size = np.abs(library).sum(axis=2).max()
    np.testing.assert_allclose(served, library[:, :, :5].transpose(0, 2, 1), rtol=0, atol=1e-5 * size)
    np.testing.assert_allclose(np.tile(engine.base, (200, 1)), library[:, :, 5], rtol=0, atol=1e-5 * size)
    margins = np.array(engine.margins(rows[:200])).reshape(200, -1)
    gap = np.abs(served.sum(axis=1) + engine.base - margins)
    assert gap.max() <= 1e-9 * max(1.0, size)


def test_files_read_as_objects_do(tmp_path):
    booster = train("binary:logistic")
    expected = encode_forest(import_model(booster).forest)
    for name in ("m.json", "m.ubj"):
        booster.save_model(tmp_path / name)
        assert encode_forest(import_model(tmp_path / name).forest) == expected


def frame() -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(1)
    table = pd.DataFrame(
        {
            "price": rng.normal(size=300),
            "shop": pd.Categorical(rng.choice(["north", "south", "east"], 300)),
            "size": pd.Categorical(rng.choice([10, 20, 30], 300)),
            "count": rng.integers(0, 5, 300),
            "open": rng.integers(0, 2, 300).astype(bool),
        }
    )
    return table, (table.price + (table["shop"] == "south") + table["open"]).to_numpy()


@pytest.mark.skipif(
    tuple(map(int, xgb.__version__.split(".")[:2])) < (3, 1), reason="XGBoost keeps a frame's categories from 3.1 on"
)
def test_frame_gives_names_kinds_and_categories(tmp_path):
    table, target = frame()
    booster = xgb.train({"max_depth": 4, "verbosity": 0}, xgb.DMatrix(table, target, enable_categorical=True), 5)
    model = import_model(booster)
    assert [f.name for f in model.features] == list(table)
    assert [f.kind for f in model.features] == [
        Kind.NUMERIC, Kind.CATEGORICAL, Kind.CATEGORICAL, Kind.INTEGER, Kind.BOOLEAN,
    ]  # fmt: skip
    assert model.features[1].categories == ("east", "north", "south")
    assert model.features[2].categories == (10, 20, 30)
    with pytest.raises(SampleError, match="the list given differs"):
        import_model(booster, ImportOptions({"shop": ["north", "east", "south"]}))
    with pytest.raises(SampleError, match="trained on it as a number"):
        import_model(booster, ImportOptions({"price": ["a"]}))
    with pytest.raises(SampleError, match="not a feature"):
        import_model(booster, ImportOptions({"prize": ["a"]}))
    bundle = mlrf.build(booster, tmp_path / "b", name="m", sample=table)
    served = mlrf.load(bundle)
    margins = booster.predict(xgb.DMatrix(table, enable_categorical=True), output_margin=True)
    np.testing.assert_array_equal(served.margin(table), margins.astype(np.float64))


@pytest.mark.skipif(
    tuple(map(int, xgb.__version__.split(".")[:2])) < (3, 1), reason="XGBoost keeps a frame's categories from 3.1 on"
)
def test_categories_beyond_ascii_are_completed_by_what_fits(tmp_path):
    table, target = frame()

    def trained(shops, order=None):
        shop = table["shop"].cat.rename_categories(dict(zip(["east", "north", "south"], shops, strict=True)))
        rows = table.assign(shop=shop if order is None else shop.cat.reorder_categories(order))
        return rows, xgb.train({"max_depth": 4, "verbosity": 0}, xgb.DMatrix(rows, target, enable_categorical=True), 5)

    def categories(booster, lists=None, sampled=None):
        options = ImportOptions(lists or {}, sampled=lambda name: sampled if name == "shop" else None)
        return import_model(booster, options).features[1].categories

    rows, booster = trained(["nord", "ost", "süd"])
    assert categories(booster) is None
    assert categories(booster, {"shop": ["nord", "ost", "süd"]}) == ("nord", "ost", "süd")
    assert categories(booster, sampled=["nord", "ost", "süd"]) == ("nord", "ost", "süd")
    # A sample that lacks one, or has another, does not name them.
    assert categories(booster, sampled=["nord", "süd"]) is None
    assert categories(booster, sampled=["nord", "ort", "süd"]) is None
    assert categories(booster, sampled=[1, 2, 3]) is None
    for wrong in (["ost", "nord", "süd"], ["nord", "ost", "süden"], ["nord", "ost", 3]):
        with pytest.raises(SampleError, match="differs from the categories in the model file"):
            categories(booster, {"shop": wrong})
    served = mlrf.load(mlrf.build(booster, tmp_path / "b", name="m", sample=rows))
    margins = booster.predict(xgb.DMatrix(rows, enable_categorical=True), output_margin=True)
    np.testing.assert_array_equal(served.margin(rows), margins.astype(np.float64))
    # The bytes of the last two are cut off, and both have the same length: their order is unknown.
    _, booster = trained(["ääää", "äöä", "äöü"])
    assert categories(booster, sampled=["ääää", "äöä", "äöü"]) is None
    # An order that the sample cannot show must be listed.
    rows, booster = trained(["nord", "ost", "süd"], ["süd", "nord", "ost"])
    with pytest.raises(SampleError, match="which cannot be read from the model: list them with --categories"):
        mlrf.build(booster, tmp_path / "c", name="m", sample=rows)
    mlrf.build(booster, tmp_path / "c", name="m", sample=rows, categories={"shop": ["süd", "nord", "ost"]})


def test_a_wrapper_with_another_missing_value_builds_after_set_params(tmp_path):
    rows, target = data(3)
    rows = np.nan_to_num(rows, nan=-999.0)
    wrapper = xgb.XGBRegressor(n_estimators=3, missing=-999.0, verbosity=0).fit(rows, target)
    expected = wrapper.predict(rows)
    with pytest.raises(UnsupportedModelError, match=r"call its set_params\(missing=float\('nan'\)\)"):
        mlrf.build(wrapper, tmp_path / "b", name="m")
    wrapper.set_params(missing=float("nan"))
    served = mlrf.load(mlrf.build(wrapper, tmp_path / "b", name="m"))
    assert (rows == -999.0).any()
    np.testing.assert_array_equal(served.predict(np.where(rows == -999.0, np.nan, rows)), expected.astype(np.float64))


def test_wrappers_use_best_iteration_and_keep_classes(tmp_path):
    rows, target = data(3)
    rng = np.random.default_rng(0)
    labels = np.where(target > 0.5, 1, 0)
    wrapper = xgb.XGBClassifier(n_estimators=30, max_depth=4, early_stopping_rounds=3, verbosity=0)
    wrapper.fit(rows, labels, eval_set=[(rows[:100], rng.integers(0, 2, 100))], verbose=False)
    model = import_model(wrapper)
    assert model.forest.n_trees == wrapper.best_iteration + 1 < wrapper.get_booster().num_boosted_rounds()
    assert "best iteration" in model.notes[0]
    assert_parity(model)
    served = mlrf.load(mlrf.build(wrapper, tmp_path / "w", name="w", classes=["no", "yes"]))
    np.testing.assert_allclose(served.predict(rows), wrapper.predict_proba(rows)[:, 1], rtol=1e-6)
    wrapper.save_model(tmp_path / "wrapper.json")
    assert import_model(tmp_path / "wrapper.json").forest.n_trees == model.forest.n_trees
    # A Booster uses all of its trees, and so does what it saved.
    booster = wrapper.get_booster()
    assert import_model(booster).forest.n_trees == booster.num_boosted_rounds()
    assert "all" in import_model(booster).notes[0]
    three = xgb.XGBClassifier(n_estimators=3, verbosity=0).fit(rows, np.floor(target * 2.99).astype(int))
    assert import_model(three).classes == (0, 1, 2)
    forest = xgb.XGBRFRegressor(n_estimators=10, verbosity=0).fit(rows, target)
    assert_parity(import_model(forest))


def test_several_targets_with_a_tree_each():
    rows, target = data(4)
    both = np.stack([target, -target], axis=1)
    assert_parity(import_model(xgb.XGBRegressor(n_estimators=5, verbosity=0).fit(rows, both)))


def test_thresholds_at_the_ends_of_float32():
    rows = np.array([[3.0e38, 1e-45], [-3.0e38, -1e-45], [1e-38, 0.0], [np.nan, 1.0]] * 20)
    model = import_model(xgb.train({"max_depth": 3, "verbosity": 0}, xgb.DMatrix(rows, np.arange(80) % 4), 4))
    edges = model.forest.threshold[model.forest.feature >= 0]
    values = [
        *edges,
        *np.nextafter(edges, math.inf),
        3.4028234663852886e38,
        -3.4028234663852886e38,
        1e-46,
        -1e-46,
        np.nan,
    ]
    assert_parity(model, np.array([[a, b] for a in values for b in values]))


def test_what_is_not_served_is_refused_by_name():
    rows, target = data(5)
    with pytest.raises(UnsupportedModelError, match=r"gblinear.*linear model"):
        import_model(xgb.train({"booster": "gblinear", "verbosity": 0}, xgb.DMatrix(np.nan_to_num(rows), target), 2))
    with pytest.raises(UnsupportedModelError, match=r"reads 0\.0 as missing"):
        import_model(xgb.XGBRegressor(n_estimators=2, missing=0.0, verbosity=0).fit(rows, target))
    with pytest.raises(UnsupportedModelError, match="not from DMatrix"):
        import_model(xgb.DMatrix(rows))
    document = json.loads(train("reg:squarederror").save_raw("json"))
    document["learner"]["objective"]["name"] = "reg:of_my_own"
    with pytest.raises(UnsupportedModelError, match="reg:of_my_own"):
        import_model(write(document))


def test_booster_dumps_are_refused_by_name(tmp_path):
    booster, path = train("reg:squarederror"), tmp_path / "written"
    for kind in ("text", "json"):
        booster.dump_model(path, dump_format=kind)
        with pytest.raises(UnsupportedModelError, match=r"a dump of XGBoost's trees.*save_model"):
            import_model(path)
    path.write_text(booster.save_config())
    with pytest.raises(UnsupportedModelError, match=r"the configuration of an XGBoost model.*save_model"):
        import_model(path)


def write(document: dict) -> xgb.Booster:
    """Stands in for a Booster whose document is this one."""

    class Raw(xgb.Booster):
        def __init__(self) -> None:
            """Without a handle."""

        def __del__(self) -> None:
            """Nothing to free."""

        def save_raw(self, _: str) -> bytes:
            return json.dumps(document).encode()

    return Raw()
