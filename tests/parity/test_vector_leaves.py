"""XGBoost's trees with vector leaves, and its models of several labels at once: margins to the bit, leaves, explanations."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import xgboost as xgb
from xgboost.testing.updater import ResetStrategy

import mlrf
from mlrf.builder.covers import NO_COVERS
from mlrf.builder.exporters.forest_file.encode import encode_forest
from mlrf.builder.importers.detect import import_model
from mlrf.core.errors import BuildError, ModelUnreadableError
from mlrf.engines.tree_kernel import TreeEngine
from test_xgboost_models import assert_parity
from xgboost_models import VECTOR_LEAVES, data, train

FLOATS = ["float"] * 5
VERSION = tuple(map(int, xgb.__version__.split(".")[:2]))


def vectors(objective: str = "reg:squarederror", **options) -> xgb.Booster:
    return train(objective, types=FLOATS, targets=3, **VECTOR_LEAVES, **options)


def document_of(booster: xgb.Booster) -> dict:
    return json.loads(booster.save_raw("json"))


def trees_of(document: dict) -> list[dict]:
    return document["learner"]["gradient_booster"]["model"]["trees"]


def leaves_of(tree: dict) -> np.ndarray:
    return np.flatnonzero(np.array(tree["left_children"]) == -1)


def leaf_vectors(tree: dict) -> np.ndarray:
    """The vectors of the leaves, wherever this XGBoost writes them."""
    leaves, size = leaves_of(tree), int(tree["tree_param"]["size_leaf_vector"])
    if "leaf_weights" in tree:
        return np.reshape(tree["leaf_weights"], (-1, size))[np.array(tree["right_children"])[leaves]]
    return np.reshape(tree["base_weights"], (-1, size))[leaves]


@pytest.mark.parametrize(
    ("objective", "options"),
    [
        ("reg:squarederror", {}),
        ("reg:squarederror", {"num_parallel_tree": 3, "subsample": 0.6}),
        ("reg:logistic", {}),
        ("multi:softprob", {}),
        ("binary:logistic", {}),
        ("binary:hinge", {}),
    ],
)
def test_vector_leaves_are_answered_to_the_bit(objective, options):
    assert_parity(import_model(vectors(objective, **options)))


def test_trees_of_both_kinds_in_a_model_are_bit_equal():
    rows, target = data(0)
    matrix = xgb.DMatrix(rows, np.stack([target, target**2], axis=1))
    booster = xgb.train({"nthread": 1} | VECTOR_LEAVES, matrix, 6, callbacks=[ResetStrategy()])
    sizes = {tree["tree_param"]["size_leaf_vector"] for tree in trees_of(document_of(booster))}
    assert sizes == {"1", "2"}
    assert_parity(import_model(booster))


@pytest.mark.parametrize("objective", ["binary:logistic", "binary:hinge", "binary:logitraw"])
def test_several_labels_with_a_tree_each_are_answered_to_the_bit(objective):
    model = import_model(train(objective, targets=3))
    assert_parity(model)
    assert (model.task, model.classes, model.forest.n_outputs) == ("raw", None, 3)


def test_a_multilabel_wrapper_has_a_probability_per_label(tmp_path):
    rows, target = data(1)
    labels = np.stack([target > 0.5, target > 0.7], axis=1).astype(int)
    wrapper = xgb.XGBClassifier(n_estimators=4, max_depth=3).fit(rows, labels)
    served = mlrf.load(mlrf.build(wrapper, tmp_path / "labels", name="labels"))
    np.testing.assert_allclose(served.predict(rows), wrapper.predict_proba(rows), rtol=1e-6)
    assert any("2 outputs are the probability of a label each" in note for note in served.bundle.manifest.notes)


def test_the_shapley_values_are_those_of_a_tree_for_each_output(tmp_path):
    """XGBoost itself explains vector leaves since 3.4; here it explains the same trees with one value a leaf."""
    booster, (rows, _) = vectors(), data(2)
    document = document_of(booster)
    single, copies = copy.deepcopy(document), []
    for tree in trees_of(document):
        covers = tree.get("sum_hessian") or np.ones(len(tree["left_children"])).tolist()
        for values in leaf_vectors(tree).T.tolist():
            one = {**tree, "sum_hessian": covers, "base_weights": [0.0] * len(covers), "id": len(copies)}
            one.pop("leaf_weights", None)
            one["split_conditions"], one["right_children"] = (
                list(tree["split_conditions"]),
                list(tree["right_children"]),
            )
            for leaf, value in zip(leaves_of(tree).tolist(), values, strict=True):
                one["split_conditions"][leaf], one["right_children"][leaf] = value, -1
            one["tree_param"] = {**tree["tree_param"], "size_leaf_vector": "1"}
            one["loss_changes"] = [0.0] * len(covers)
            copies.append(one)
    model = single["learner"]["gradient_booster"]["model"]
    model |= {"trees": copies, "tree_info": [0, 1, 2] * (len(copies) // 3)}
    model["iteration_indptr"] = list(range(0, len(copies) + 1, 3))
    model["gbtree_model_param"]["num_trees"] = str(len(copies))
    known = xgb.Booster()
    known.load_model(bytearray(json.dumps(single).encode()))
    forest = import_model(known).forest
    if "sum_hessian" in trees_of(document)[0]:
        np.testing.assert_array_equal(import_model(booster).forest.cover, forest.cover)
    (tmp_path / "f").write_bytes(encode_forest(forest))
    served = np.array(TreeEngine(tmp_path / "f").contributions_many(rows[:100])).reshape(100, 5, 3)
    library = known.predict(xgb.DMatrix(rows[:100]), pred_contribs=True)[:, :, :5].transpose(0, 2, 1)
    np.testing.assert_allclose(served, library, rtol=0, atol=1e-5 * np.abs(library).sum(axis=1).max())
    np.testing.assert_array_equal(import_model(booster).forest.value, forest.value)


def test_early_stopping_counts_rounds_of_vector_trees():
    rows, target = data(3)
    both = np.stack([target, -target], axis=1)
    wrapper = xgb.XGBRegressor(n_estimators=40, learning_rate=1.0, early_stopping_rounds=2, **VECTOR_LEAVES)
    wrapper.fit(rows[:200], both[:200], eval_set=[(rows[200:], both[200:])], verbose=False)
    document = document_of(wrapper.get_booster())
    expected = 2 * (wrapper.best_iteration + 1)
    assert import_model(wrapper).forest.n_trees == expected < 2 * len(trees_of(document))


def test_files_of_older_versions_are_read(tmp_path):
    """Up to XGBoost 3.1 the vectors are those of all nodes, and the sums of hessians are missing."""
    document = document_of(vectors())
    newest = import_model(_write(tmp_path, document))
    for tree in trees_of(document):
        size, leaves = int(tree["tree_param"]["size_leaf_vector"]), leaves_of(tree)
        weights = np.reshape(tree["base_weights"], (-1, size))
        weights[leaves] = leaf_vectors(tree)
        tree["base_weights"] = weights.reshape(-1).tolist()
        right = np.array(tree["right_children"])
        right[leaves] = -1
        tree["right_children"] = right.tolist()
        for key in ("leaf_weights", "sum_hessian"):
            tree.pop(key, None)
    older = import_model(_write(tmp_path, document))
    np.testing.assert_array_equal(older.forest.value, newest.forest.value)
    assert older.covers == "none"
    if VERSION >= (3, 2):
        with pytest.raises(
            ModelUnreadableError, match=r"XGBoost 3\.\d+\.\d+ crashes on vector leaves that XGBoost 3\.1"
        ):
            mlrf.build(tmp_path / "m.json", tmp_path / "b", name="older")
    else:
        bundle = mlrf.load(mlrf.build(tmp_path / "m.json", tmp_path / "b", name="older"))
        assert NO_COVERS in bundle.bundle.manifest.notes


def _write(tmp_path, document):
    path = tmp_path / "m.json"
    path.write_text(json.dumps(document))
    return path


def _short(tree):
    tree["leaf_weights"] = tree["leaf_weights"][:-3]


def _beyond(tree):
    tree["right_children"][int(leaves_of(tree)[0])] = 1 << 20


def _below(tree):
    tree["right_children"][int(leaves_of(tree)[0])] = -7


def _other_size(tree):
    tree["tree_param"]["size_leaf_vector"] = "4"


def _uneven(tree):
    tree["leaf_weights"].append(0.5)


def _huge(tree):
    tree["tree_param"]["size_leaf_vector"] = str(1 << 40)


@pytest.mark.parametrize("damage", [_short, _beyond, _below, _other_size, _uneven, _huge])
def test_damaged_vectors_are_refused(damage, tmp_path):
    document = document_of(vectors(rounds=2))
    tree = trees_of(document)[0]
    if "leaf_weights" not in tree:
        tree["leaf_weights"] = leaf_vectors(tree).reshape(-1).tolist()
        for index, leaf in enumerate(leaves_of(tree).tolist()):
            tree["right_children"][leaf] = index
    damage(tree)
    with pytest.raises(ModelUnreadableError, match=r"values for each leaf|leaves of \d+ values for 3 outputs"):
        import_model(_write(tmp_path, document))


def test_damaged_files_of_vector_leaves_are_refused_or_read(tmp_path):
    rng, sound = np.random.default_rng(0), bytes(vectors(rounds=2).save_raw("ubj"))
    for _ in range(150):
        content = bytearray(sound)
        for _ in range(int(rng.integers(1, 6))):
            content[int(rng.integers(len(content)))] = int(rng.integers(256))
        (tmp_path / "m").write_bytes(content)
        try:
            encode_forest(import_model(tmp_path / "m").forest)
        except BuildError as error:
            assert str(error).strip()
