"""CTR features of CatBoost: statistics of categories and of combinations, compared with CatBoost itself."""

from __future__ import annotations

import dataclasses
import json
import time

import catboost as cb
import numpy as np
import pandas as pd
import pytest

import mlrf
from library_answers import assert_library_agrees, contributions, rows_of
from mlrf import _kernel
from mlrf.builder.exporters.forest_file import table_layout
from mlrf.builder.exporters.forest_file.encode import encode_forest
from mlrf.builder.importers.catboost.ctr import single_hashes
from mlrf.builder.importers.detect import import_model
from mlrf.builder.importers.imported_model import ImportOptions
from mlrf.core.bundle import read_bundle
from mlrf.core.category_hash import HASHED_CODE, category_hash
from mlrf.core.errors import (
    ConfigError,
    InvalidFeatureError,
    InvalidRequestError,
    ModelUnreadableError,
    SampleError,
    UnknownCategoryError,
)
from mlrf.core.leniency import Leniency
from mlrf.core.table_columns import KeyPart, PartKind, find_entries
from mlrf.engines.selection import open_engine
from mlrf.engines.tree_kernel import TreeEngine
from naive_forest import brute_force

QUIET = {"verbose": 0, "allow_writing_files": False, "thread_count": 1, "random_seed": 3}
NAMED = ["city", "kind", "flag", "code"]
LISTS = {
    "city": [f"city {i}" for i in range(9)],
    "kind": ["x", "y", "zz", "ü"],
    "flag": [False, True],
    "code": [-3, 5, 70_000],
}
ALL_TYPES = ["Borders:TargetBorderCount=3", "Buckets:TargetBorderCount=2", "BinarizedTargetMeanValue", "Counter"]
PRIORS = ["Borders:Prior=0.3:Prior=2", "Counter:Prior=0.7:CtrBorderCount=40"]
AS_LIBRARY = Leniency("ignore", "as-library")


def rows_and_target(n=600, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"num": rng.normal(size=n).round(2)})
    for name, listed in LISTS.items():
        frame[name] = np.array(listed, object)[rng.integers(len(listed), size=n)]
    frame.loc[::13, "num"] = np.nan
    city = frame["city"].map({name: index for index, name in enumerate(LISTS["city"])})
    signal = frame["num"].fillna(1.0) * (frame["kind"] == "x") + city * (frame["kind"] == "y") * 0.3
    return frame, signal + (frame["code"] == 5) * frame["num"].fillna(2.0) + frame["flag"] * 0.5 + 0.1 * rng.normal(
        size=n
    )


def trained(loss="RMSE", *, types=None, seed=0, **options):
    frame, signal = rows_and_target(seed=seed)
    target = {
        "RMSE": signal,
        "Logloss": signal > 0.7,
        "MultiClass": np.digitize(signal, [0.3, 1.2]),
        "MultiLogloss": np.column_stack([signal > 0.3, signal > 1.2]),
        "MultiRMSE": np.column_stack([signal, -signal]),
    }[loss]
    ctr = {} if types is None else {"simple_ctr": types, "combinations_ctr": types}
    options = {"iterations": 25, "depth": 4, "one_hot_max_size": 3, "max_ctr_complexity": 3, **ctr, **QUIET, **options}
    return cb.CatBoost({"loss_function": loss, "cat_features": NAMED, **options}).fit(
        frame, target.astype(float)
    ), frame


def coded(frame):
    codes = [frame[name].map({c: float(i) for i, c in enumerate(LISTS[name])}) for name in NAMED]
    return np.ascontiguousarray(np.column_stack([frame["num"].astype(float), *codes]))


def saved(model, folder, kind="cbm"):
    path = folder / f"model.{kind}"
    model.save_model(str(path), format=kind)
    return path


def engine_of(model, folder):
    (folder / "forest.bin").write_bytes(encode_forest(model.forest))
    return TreeEngine(folder / "forest.bin")


@pytest.fixture(scope="module")
def mixed():
    """One-hot splits, statistics of single features and of combinations of every kind in one model."""
    return trained(iterations=60, depth=5, max_ctr_complexity=4, learning_rate=0.3)


@pytest.fixture(scope="module")
def bundle(mixed, tmp_path_factory):
    model, frame = mixed
    return mlrf.build(model, tmp_path_factory.mktemp("ctr") / "bundle", name="ctr", sample=frame)


@pytest.mark.parametrize("kind", ["cbm", "json"])
@pytest.mark.parametrize("policy", ["SymmetricTree", "Lossguide"])
@pytest.mark.parametrize(
    ("loss", "types"),
    [
        ("RMSE", None),
        ("RMSE", ALL_TYPES),
        ("RMSE", PRIORS),
        ("MultiClass", ALL_TYPES),
        ("MultiRMSE", ALL_TYPES),
        ("Logloss", ["Buckets", "BinarizedTargetMeanValue", "Counter"]),
        ("MultiLogloss", None),
    ],
    ids=str,
)
def test_margins_and_contributions_are_catboosts(tmp_path, loss, types, policy, kind):
    model, frame = trained(loss, types=types, grow_policy=policy)
    read = import_model(saved(model, tmp_path, kind), ImportOptions(LISTS))
    assert read.forest.tables is not None
    engine = assert_library_agrees(read, tmp_path, onnx=False, most=2_500)
    if kind == "cbm":
        expected = np.asarray(model.predict(frame, prediction_type="RawFormulaVal")).reshape(len(frame), -1)
        np.testing.assert_array_equal(np.array(engine.margins(coded(frame))).reshape(expected.shape), expected)
        if policy == "SymmetricTree":
            reference = np.asarray(
                model.get_feature_importance(cb.Pool(frame[:40], cat_features=NAMED), type="ShapValues")
            )
            reference = reference.reshape(40, -1, 6).transpose(0, 2, 1)
            np.testing.assert_allclose(contributions(engine, coded(frame)[:40]), reference[:, :5], rtol=0, atol=1e-9)
            np.testing.assert_allclose(engine.base, reference[0, 5], rtol=0, atol=1e-9)


@pytest.mark.parametrize("nan_mode", ["Min", "Max"])
def test_combinations_with_numbers_and_exact_categories(tmp_path, nan_mode):
    options = {"iterations": 60, "depth": 5, "max_ctr_complexity": 4, "learning_rate": 0.3}
    model, _ = trained("Logloss", nan_mode=nan_mode, **options)
    read = import_model(model, ImportOptions(LISTS))
    kinds = {part.kind for table in read.forest.tables.tables for part in table.parts}
    assert kinds == set(PartKind)
    assert_library_agrees(read, tmp_path, onnx=False)


@pytest.mark.parametrize(
    ("trained_as", "type_on_gpus"), [("BinarizedTargetMeanValue", "FloatTargetMeanValue"), ("Counter", "FeatureFreq")]
)
def test_types_that_only_training_on_a_gpu_makes(tmp_path, trained_as, type_on_gpus):
    model, _ = trained(types=[trained_as])
    path = saved(model, tmp_path, "json")
    path.write_text(path.read_text().replace(trained_as, type_on_gpus))
    assert_library_agrees(import_model(path, ImportOptions(LISTS)), tmp_path, onnx=False, most=1_000)


def test_json_answers_as_catboost_reads_its_sums_and_says_so(tmp_path):
    model, _ = trained(types=["BinarizedTargetMeanValue:TargetBorderCount=3"])
    read = import_model(saved(model, tmp_path, "json"), ImportOptions(LISTS))
    assert any("sums of targets in a JSON file" in note for note in read.notes)
    assert_library_agrees(read, tmp_path, onnx=False, most=1_000)


@pytest.mark.parametrize("policy", ["Lossguide", "SymmetricTree"])
def test_contributions_are_shapleys_values_by_definition(mixed, tmp_path, policy):
    """A combination is one player; its categories share its value. CatBoost combines categories in symmetric trees only."""
    if policy == "Lossguide":
        model, frame = trained(iterations=8, grow_policy=policy)
    else:
        model, frame = mixed[0].copy(), mixed[1]
        model.shrink(60, ntree_start=52)
    read = import_model(model, ImportOptions(LISTS))
    assert bool(read.forest.tables.groups()) == (policy == "SymmetricTree")
    engine = engine_of(read, tmp_path)
    for row in coded(frame)[:3]:
        np.testing.assert_allclose(contributions(engine, row[None])[0], brute_force(read.forest, row), atol=1e-12)


def test_groups_that_split_a_combination_are_refused(bundle, mixed):
    model, frame = mlrf.load(bundle), mixed[1][:3]
    names = list(frame.columns)
    combined = sorted(
        {
            names[feature]
            for group in import_model(mixed[0], ImportOptions(LISTS)).forest.tables.groups()
            for feature in group
        }
    )
    with pytest.raises(
        InvalidRequestError, match="as one combination, which is one player; put all of them in one group"
    ):
        model.explain(frame, groups={"first": combined[:1]})
    together = model.explain(frame, groups={"together": combined})
    alone = model.explain(frame)
    np.testing.assert_allclose(together.values.sum(axis=1), alone.values.sum(axis=1), rtol=0, atol=1e-9)


def test_golden_rows_find_every_entry(mixed):
    read = import_model(mixed[0], ImportOptions(LISTS))
    rows, tables = rows_of(read, 1_000_000), read.forest.tables
    for table in tables.tables:
        found = find_entries(table, tables.hashes, {feature: rows[:, feature] for feature in table.features})
        assert set(range(len(table.keys))) <= set(found.tolist())


def test_a_wrong_column_of_any_table_is_caught(mixed, tmp_path):
    """The golden rows tell both sides of each column apart."""
    read = import_model(mixed[0], ImportOptions(LISTS))
    rows = rows_of(read, 1_000_000)
    expected = engine_of(read, tmp_path).margins(rows)
    for table in read.forest.tables.tables:
        kept = table.values.copy()
        for column in range(table.n_columns):
            table.values[:, column] = np.where(kept[:, column] > np.median(kept[:, column]), -1e9, 1e9)
            assert engine_of(read, tmp_path).margins(rows) != expected
            table.values[:] = kept


def test_the_bundle_has_no_onnx_file_and_says_why(bundle):
    read = read_bundle(bundle)
    assert "model.onnx" not in read.manifest.files
    assert list(read.manifest.parity) == ["trees"]
    assert any("model.onnx is left out" in note for note in read.manifest.notes)
    cover = read.manifest.coverage
    assert 0 < cover.table_entries == cover.table_entries_found
    with pytest.raises(ConfigError, match=r"was built without model\.onnx.*engine trees"):
        open_engine(read, "onnxruntime")


def test_unseen_categories_are_refused_or_as_in_catboost(bundle, mixed):
    model, frame = mixed
    served = mlrf.load(bundle)
    np.testing.assert_array_equal(served.margin(frame), model.predict(frame))
    for name in ("city", "kind"):
        odd = frame[:50].assign(**{name: "nobody's"})
        with pytest.raises(UnknownCategoryError, match="as-library"):
            served.margin(odd)
        np.testing.assert_array_equal(served.margin(odd, AS_LIBRARY), model.predict(odd))


def test_categories_without_a_name_are_answered_by_their_hash(tmp_path):
    model, frame = trained(types=["Borders"], max_ctr_complexity=1, one_hot_max_size=1)
    named = {**LISTS, "city": LISTS["city"][:4]}
    read = import_model(model, ImportOptions(named))
    assert any("5 of the 9 categories" in note and "not verified" in note for note in read.notes)
    served = mlrf.load(mlrf.build(model, tmp_path / "bundle", name="m", categories=named))
    assert served.schema.features[1].hashing.known == tuple(sorted(map(category_hash, LISTS["city"][4:])))
    np.testing.assert_array_equal(served.margin(frame), model.predict(frame))
    cover = read_bundle(tmp_path / "bundle").manifest.coverage
    assert cover.table_entries_found == cover.table_entries - 5


@pytest.fixture(scope="module")
def combined(mixed, tmp_path_factory):
    """The mixed model with a split of a number in place of each split of a single categorical feature."""
    path = saved(mixed[0], tmp_path_factory.mktemp("combined"), "json")
    document = json.loads(path.read_bytes())
    info = document["features_info"]
    first = sum(len(f["borders"]) for f in info["float_features"])
    first += sum(len(f.get("values", ())) for f in info["categorical_features"])
    is_single = [len(ctr["elements"]) == 1 for ctr in info["ctrs"] for _ in ctr["borders"]]
    border = info["float_features"][0]["borders"][0]
    number = {"border": border, "float_feature_index": 0, "split_index": 0, "split_type": "FloatFeature"}
    for tree in document["oblivious_trees"]:
        tree["splits"] = [
            split if split["split_index"] >= first and not is_single[split["split_index"] - first] else number
            for split in tree["splits"]
        ]
    path.write_text(json.dumps(document))
    return path


def test_feature_used_only_in_combinations_needs_names(combined, tmp_path):
    with pytest.raises(SampleError, match="--categories, or give rows"):
        import_model(combined)
    read = import_model(combined, ImportOptions(LISTS))
    city = read.features[1]
    assert city.hashing.known == ()
    assert not city.hashing.is_open
    assert_library_agrees(read, tmp_path, onnx=False)


@pytest.mark.parametrize("kind", ["one-hot", "statistics"])
def test_unknown_names_are_refused_with_their_count(kind):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"c": rng.choice(["red", "green", "blue"], 300)})
    size = 5 if kind == "one-hot" else 1
    model = cb.CatBoostRegressor(iterations=10, cat_features=["c"], one_hot_max_size=size, **QUIET)
    model.fit(frame, frame["c"].map({"red": 1.0, "green": 5.0, "blue": 2.0}))
    with pytest.raises(SampleError, match=r"\b[23] (of these have the hash of none|categories, and none of them)"):
        import_model(model, ImportOptions({"c": ["Red", "Green", "Blue"]}))
    read = import_model(model, ImportOptions({"c": ["red", "green", "blue", "violet"]}))
    assert any("1 of the listed categories" in note and "'violet'" in note for note in read.notes)
    if kind == "one-hot":
        with pytest.raises(SampleError, match=r"\b1 of these have the hash of none"):
            import_model(model, ImportOptions({"c": ["red", "green"]}))


def test_a_feature_that_no_split_uses_takes_its_own_values(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"num": rng.normal(size=300), "idle": rng.choice(["a", "b"], 300)})
    model = cb.CatBoostRegressor(iterations=5, cat_features=["idle"], ignored_features=["idle"], **QUIET)
    model.fit(frame, frame["num"])
    served = mlrf.load(mlrf.build(model, tmp_path / "bundle", name="m"))
    np.testing.assert_array_equal(served.margin(frame), model.predict(frame))
    np.testing.assert_array_equal(served.margin([{"num": 0.5, "idle": 7}]), model.predict([[0.5, 7]]))


@pytest.mark.parametrize("value", [5, "5", 5.0, True, "1", 1, False, "0", -3, "70000"])
def test_values_are_hashed_as_a_pool_hashes_them(tmp_path, value):
    """1, true and "1" are one category; CatBoost refuses 1.0, which is the number 1 to JSON and to a column of floats."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"c": np.array([5, "1", False, -3, 70_000], object)[rng.integers(5, size=400)]})
    target = frame["c"].map({5: 1.0, "1": 2.0, False: 7.0, -3: 4.0, 70_000: 9.0})
    model = cb.CatBoostRegressor(iterations=20, cat_features=["c"], one_hot_max_size=1, **QUIET).fit(frame, target)
    read = import_model(model, ImportOptions({"c": [5, "1", False, -3, 70_000]}))
    engine = engine_of(read, tmp_path)
    from mlrf.core.schema import Schema  # noqa: PLC0415

    row = Schema(read.features).row({"c": value})
    as_pool = int(value) if isinstance(value, float) else value
    assert engine.margin(row) == [model.predict(cb.Pool([[as_pool]], cat_features=[0]))[0]]


def test_invalid_catboost_category_is_refused(bundle, mixed):
    served = mlrf.load(bundle)
    example = served.schema.example()
    for value in (1.5, [1], {}):
        with pytest.raises(InvalidFeatureError):
            served.margin([example | {"city": value}])


def test_hashes_of_single_categories_are_read_back_from_keys():
    hashes = [category_hash(text) for text in ("", "a", "x" * 70, "ü")]
    keys = []
    for hashed in hashes:
        signed = hashed - 2**32 if hashed >= 2**31 else hashed
        keys.append(0x4906BA494954CB65**2 * signed % 2**64)
    assert single_hashes(np.array([*keys, 12345], np.uint64)) == hashes


def test_float32_rows_and_batches_answer_as_single_rows(mixed, tmp_path):
    model, frame = mixed
    engine = engine_of(import_model(model, ImportOptions(LISTS)), tmp_path)
    rows = coded(frame.assign(num=frame["num"].astype(np.float32).astype(float)))
    margins = engine.margins(rows)
    assert margins == engine.margins(rows.astype(np.float32)) == engine.margins(rows, threads=2)
    assert margins.tolist() == [engine.margin(row)[0] for row in rows.tolist()]
    explained = np.array(engine.contributions_many(rows)).reshape(rows.shape)
    for row, expected in zip(rows[:20], explained, strict=False):
        np.testing.assert_allclose(engine.contributions(row), expected, rtol=0, atol=1e-12)
    rows[:, 1] = HASHED_CODE + category_hash("city 3")
    named = rows.copy()
    named[:, 1] = 3.0
    assert engine.margins(rows) == engine.margins(named)


@pytest.mark.parametrize("level", ["baseline", "avx2", "avx512", "vbmi"])
@pytest.mark.parametrize("loss", ["RMSE", "MultiClass"])
def test_blocks_of_rows_look_up_what_single_rows_look_up(tmp_path, loss, level):
    model, frame = trained(loss, iterations=40, depth=5, max_ctr_complexity=4, types=ALL_TYPES)
    encoded = encode_forest(import_model(model, ImportOptions(LISTS)).forest)
    (tmp_path / "forest.bin").write_bytes(encoded)
    try:
        engine = TreeEngine(tmp_path / "forest.bin", level)
    except ValueError:
        pytest.skip(f"this processor does not run {level}")
    assert "swept" in engine.layout
    rows = np.tile(coded(frame), (2, 1))
    rows[::7, 1] = np.nan  # an unknown category, whose keys are in no table
    rows[::11, 2] = 9.0
    rows[::5, 1] = HASHED_CODE + np.arange(len(rows[::5]))  # of no known category
    rows[::17, 0] = np.inf
    singles = np.array([engine.margin(row) for row in rows.tolist()])
    for n in (1, 7, 64, 127, 128, 129, 400, len(rows)):
        assert np.array_equal(np.array(engine.margins(rows[:n])).reshape(n, -1), singles[:n]), n
    assert engine.margins(rows, threads=2) == engine.margins(rows)
    # More than are looked up together.
    many = engine.margins(np.tile(rows, (5, 1)))
    assert np.array_equal(np.array(many).reshape(-1, singles.shape[1]), np.tile(singles, (5, 1)))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d["ctr_data"].clear(), "whose table is not in the file"),
        (lambda d: next(iter(d["ctr_data"].values())).update(hash_stride=7), "do not match its keys"),
        (lambda d: next(iter(d["ctr_data"].values()))["hash_map"].__setitem__(0, 5), "not text"),
        (lambda d: next(iter(d["ctr_data"].values()))["hash_map"].__setitem__(1, "many"), "not a number"),
        (lambda d: next(iter(d["ctr_data"].values()))["hash_map"].__setitem__(0, "-1"), "not a number"),
        (lambda d: d["features_info"]["ctrs"][0].update(identifier="{}"), "cannot be read"),
        (lambda d: d["features_info"]["ctrs"].clear(), "of a feature that does not exist"),
        (
            lambda d: [c.update(target_border_idx=9) for c in d["features_info"]["ctrs"]],
            "uses class 9, but its table has",
        ),
    ],
)
def test_damaged_tables_are_refused_in_a_sentence(mixed, tmp_path, change, reason):
    path = saved(mixed[0], tmp_path, "json")
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(ModelUnreadableError, match=reason):
        import_model(path, ImportOptions(LISTS))


def test_a_cbm_file_cut_within_its_tables_is_refused(mixed, tmp_path):
    content = saved(mixed[0], tmp_path).read_bytes()
    core = 8 + int.from_bytes(content[4:8], "little")
    for size in (core, core + 2, core + 6, len(content) - 1):
        (tmp_path / "cut").write_bytes(content[:size])
        with pytest.raises(ModelUnreadableError):
            import_model(tmp_path / "cut", ImportOptions(LISTS))


@pytest.mark.parametrize("crafted", ["keys", "codes", "parts"])
def test_a_crafted_file_opens_in_linear_time(mixed, tmp_path, monkeypatch, crafted):
    """Keys that all begin at one slot are a run of slots, in which also the search for every other code begins."""
    forest = import_model(mixed[0], ImportOptions(LISTS)).forest
    kinds = [[part.kind for part in each.parts] for each in forest.tables.tables]
    at = kinds.index([PartKind.CATEGORY])
    table, n_keys = forest.tables.tables[at], 80_000
    if crafted == "codes":
        rng = np.random.default_rng(5)
        hashes = {each: rng.integers(2**32, size=200_000, dtype=np.uint32) for each in forest.tables.hashes}
        forest = dataclasses.replace(forest, tables=dataclasses.replace(forest.tables, hashes=hashes))
    if crafted == "parts":
        feature = next(iter(forest.tables.hashes))
        hashes = forest.tables.hashes | {feature: np.array([], np.uint32)}
        forest = dataclasses.replace(forest, tables=dataclasses.replace(forest.tables, hashes=hashes))
        parts = (*[KeyPart(PartKind.ABOVE, 0)] * 17, *[KeyPart(PartKind.CATEGORY, feature)] * 50_000)
        table = dataclasses.replace(table, parts=parts)
    inverse = pow(0x9E3779B97F4A7C15, -1, 1 << 64)
    keys = np.array([index * inverse % (1 << 64) for index in range(1, n_keys + 1)], np.uint64)
    values = np.vstack([table.values[:1].repeat(n_keys, axis=0), table.values[-1:]])
    changed = dataclasses.replace(table, keys=keys, values=values)
    others = forest.tables.tables
    tables = dataclasses.replace(forest.tables, tables=(*others[:at], changed, *others[at + 1 :]))
    slots_of = table_layout._slots

    def slots_in_order(each):
        if each is not changed:
            return slots_of(each)
        slots = np.zeros(1 << (2 * n_keys).bit_length(), table_layout.SLOT)
        slots["key"][:n_keys], slots["entry"][:n_keys], slots["is_used"][:n_keys] = keys, np.arange(n_keys), 1
        return slots

    monkeypatch.setattr(table_layout, "_slots", slots_in_order)
    path = tmp_path / "crafted.forest"
    path.write_bytes(encode_forest(dataclasses.replace(forest, tables=tables)))
    began_s = time.process_time()
    engine = _kernel.Forest(str(path))
    assert time.process_time() - began_s < 1.0
    rows = np.random.default_rng(3).integers(0, 4, size=(300, engine.n_features)).astype(np.float64)
    alone = [engine.margin(row)[0] for row in rows]
    assert list(engine.margins(rows.tobytes())) == alone
