"""The export follows the IR's rules for every float64, also for forests that no library would grow."""

from __future__ import annotations

import base64
from dataclasses import replace

import numpy as np
import onnx
import pytest

import naive_forest as naive
from examples import examples
from forests import margins, odd_rows, random_forest
from mlrf.builder.exporters.onnx.export import LEAF_COVERS, NODE_COVERS, export_onnx
from mlrf.builder.exporters.onnx.rank_columns import rank_columns
from mlrf.builder.parity.exports import run_onnx
from mlrf.core.errors import BuildError
from mlrf.core.forest import LEAF, NOT_NEGATIVE, TRUNCATED
from mlrf.core.link import Link


@pytest.mark.parametrize("seed", range(examples(40)))
def test_margins_follow_the_rules_to_the_bit(seed):
    forest = random_forest(seed, outputs=1 + seed % 3, categorical=seed % 4)
    rows = odd_rows(forest, seed, 400)
    exported = export_onnx(forest, Link())
    onnx.checker.check_model(onnx.load_from_string(exported), full_check=False)
    got, _ = run_onnx(exported, rows)
    np.testing.assert_array_equal(got, margins(forest, rows))


@pytest.mark.parametrize(
    ("rounding", "inputs"), [("float64", "float64"), ("float64", "float32"), ("float32", "float32")]
)
@pytest.mark.parametrize(("base_order", "scale"), [("first", 1.0), ("last", -0.3)])
@pytest.mark.parametrize("no_code_up_to", [TRUNCATED, NOT_NEGATIVE])
def test_every_rounding_rule_is_exported_to_the_bit(rounding, inputs, base_order, scale, no_code_up_to):
    rng = np.random.default_rng(17)
    for n_outputs in (1, 3):
        forest = naive.make_forest(
            rng, n_trees=40, max_leaves=20, n_outputs=n_outputs, divisor=3.0, rounding=rounding, inputs=inputs,
            base_order=base_order, scale=scale, no_code_up_to=no_code_up_to,
        )  # fmt: skip
        if rounding == "float32":
            # ONNX adds the base in float32; only treelite has others, which the tree engine adds in float64.
            forest = replace(forest, base=forest.base.astype(np.float32).astype(np.float64))
        rows = naive.make_rows(rng, forest, 300)
        got, _ = run_onnx(export_onnx(forest, Link()), rows)
        np.testing.assert_array_equal(got, [naive.margins(forest, row) for row in rows])


def test_one_row_is_answered_as_many_are():
    forest = random_forest(2, outputs=2)
    rows = odd_rows(forest, 2, 60)
    exported = export_onnx(forest, Link())
    together, _ = run_onnx(exported, rows)
    alone = np.concatenate([run_onnx(exported, row[None])[0] for row in rows])
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize(
    "link",
    [Link(), Link("sigmoid", 1.7), Link("exp"), Link("signed_square"), Link("log1p_exp"), Link("step"), Link("clip"), Link("softmax"), Link("softmax", 0.25), Link("isolation", -0.5), Link("sigmoid_each", 0.5)],
    ids=lambda link: link.kind,
)  # fmt: skip
def test_the_exported_link_is_the_one_that_serves(link):
    forest = random_forest(4, trees=1, depth=0, outputs=3)
    for scale in (1e-12, 1e-3, 1.0, 30.0, 700.0, 1e4):
        base = np.array([-1.3, 0.2, 0.9]) * scale
        got, predicted = run_onnx(export_onnx(replace(forest, base=base, divisor=1.0), link), np.zeros((1, 5)))
        np.testing.assert_allclose(predicted[0], link.vector()(got[0].tolist()), rtol=1e-14, atol=0)


def test_same_forest_gives_the_same_bytes_with_covers():
    forest = random_forest(3)
    forest = replace(forest, cover=np.abs(forest.value), base=np.zeros(1))
    exported = export_onnx(forest, Link())
    assert exported == export_onnx(replace(random_forest(3), cover=np.abs(forest.value), base=np.zeros(1)), Link())
    kept = {p.key: p.value for p in onnx.load_from_string(exported).metadata_props}
    leaf_covers = np.frombuffer(base64.b64decode(kept[LEAF_COVERS]), "<f8")
    node_covers = np.frombuffer(base64.b64decode(kept[NODE_COVERS]), "<f8")
    trees = next(n for n in onnx.load_from_string(exported).graph.node if n.name == "trees")
    lengths = {a.name: len(a.ints) for a in trees.attribute}
    assert lengths["leaf_targetids"] == len(leaf_covers)
    assert lengths["nodes_featureids"] == len(node_covers)
    weights = next(onnx.numpy_helper.to_array(a.t) for a in trees.attribute if a.name == "leaf_weights")
    bare = int(np.count_nonzero(forest.feature[forest.tree_offsets[:-1]] == LEAF))
    assert np.count_nonzero(leaf_covers != np.abs(weights)) == bare  # the twin of a bare leaf covers no row


def test_sets_that_contain_one_another_share_a_column():
    forest = random_forest(6, trees=1, depth=1, categorical=1)
    nested = [list(range(size)) for size in range(1, 91)]
    n = len(nested)
    chain = replace(
        random_forest(6, trees=n, depth=0, categorical=1),
        tree_offsets=np.arange(0, 3 * n + 1, 3), feature=np.tile(np.array([3, LEAF, LEAF], np.int32), n),
        threshold=np.zeros(3 * n), left=np.array([[3 * i + 1, LEAF, LEAF] for i in range(n)], np.int32).ravel(),
        right=np.array([[3 * i + 2, LEAF, LEAF] for i in range(n)], np.int32).ravel(),
        missing=np.full(3 * n, 2, np.uint8), default_left=np.zeros(3 * n, np.bool_), cover=np.ones(3 * n),
        category_set=np.array([[i, -1, -1] for i in range(n)], np.int32).ravel(),
        value=np.random.default_rng(0).normal(size=3 * n),
        set_offsets=np.cumsum([0, *map(len, nested)]), set_codes=np.array([c for s in nested for c in s], np.int32),
    )  # fmt: skip
    chain.validate()
    ranks = rank_columns(chain)
    assert ranks is not None
    assert ranks.n_columns <= 2  # 90 sets
    rows = odd_rows(forest, 1, 300)
    np.testing.assert_array_equal(run_onnx(export_onnx(chain, Link()), rows)[0], margins(chain, rows))


@pytest.mark.parametrize("seed", range(examples(60)))
def test_no_leaf_shares_the_number_of_its_sibling(seed):
    # ONNX Runtime 1.23 takes a node whose two children have one number for a leaf, even where one child is none.
    forest = random_forest(seed, trees=1 + seed % 7, depth=1 + seed % 3, categorical=0)
    trees = next(n for n in onnx.load_from_string(export_onnx(forest, Link())).graph.node if n.name == "trees")
    ints = {a.name: list(a.ints) for a in trees.attribute}
    for left, right in zip(ints["nodes_truenodeids"], ints["nodes_falsenodeids"], strict=True):
        assert left != right


def test_what_cannot_be_exported_or_run_is_refused():
    with pytest.raises(BuildError, match="ONNX Runtime"):
        run_onnx(b"no model", np.zeros((1, 3)))
