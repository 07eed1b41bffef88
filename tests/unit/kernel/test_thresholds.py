"""Values are ranked among a feature's thresholds, in blocks and in single rows: one at each threshold, beside it, and beyond all."""

from __future__ import annotations

import itertools
import struct

import numpy as np
import pytest

import naive_forest as naive
from kernel_levels import LEVELS, engines
from mlrf.core.forest import Missing
from mlrf.engines.tree_kernel import TreeEngine
from split_forests import forest_of_splits


@pytest.mark.parametrize(
    "n", [1, 2, 15, 16, 17, 31, 32, 33, 240, 254, 255, 256, 257, 300, 507, 508, 509, 1016, 1017, 4095, 4096]
)
@pytest.mark.parametrize("has_infinity", [False, True])
@pytest.mark.parametrize("inputs", ["float64", "float32"])
def test_every_threshold_is_counted(tmp_path, n, has_infinity, inputs):
    splits = np.unique(np.random.default_rng(n).normal(size=n).astype(inputs))
    if has_infinity:
        splits[-1] = np.inf
    near = [splits, np.nextafter(splits, splits.dtype.type(-np.inf)), np.nextafter(splits, splits.dtype.type(np.inf))]
    special = np.array([-np.inf, np.inf, np.nan, 0.0, -0.0, np.finfo(inputs).smallest_subnormal], inputs)
    values = np.concatenate([*near, special]).astype(np.float64)
    expected = (values[:, None] > splits[None, :].astype(np.float64)).sum(axis=1).astype(np.float64)
    for engine in engines(forest_of_splits(splits, inputs), tmp_path):
        block = np.array(engine.margins(np.tile(values, 3).reshape(-1, 1)))
        assert block.tolist() == np.tile(expected, 3).tolist()
        some = slice(None, None, 1 + len(values) // 1000)
        assert [engine.margins(row.reshape(1, 1))[0] for row in values[some]] == expected[some].tolist()


@pytest.mark.parametrize("n", [254, 255, 700])
def test_missing_values_take_their_side_of_all_thresholds(tmp_path, n):
    """Of NaN, and of zero where the model says so, whichever of the lane columns a node tests."""
    values = np.array([[np.nan], [0.0], [-0.0], [1e-36], [-5.0], [float(n)], [2.5]])
    for missing, default_left in itertools.product(Missing, [True, False]):
        forest = forest_of_splits(np.arange(n) - 2.0)
        roots = slice(0, None, 3)
        forest.missing[roots], forest.default_left[roots] = missing, default_left or missing == Missing.NONE
        expected = [naive.margins(forest, row)[0] for row in values]
        for engine in engines(forest, tmp_path):
            assert np.array(engine.margins(np.tile(values, (20, 1)))).reshape(-1).tolist() == expected * 20
            assert [engine.margin(row.tolist())[0] for row in values] == expected


def test_a_rank_beyond_the_thresholds_reads_no_other_column(tmp_path):
    """The levels of symmetric trees are taken from nodes that walk; a block is swept by nodes that a file holds apart from them."""
    rng = np.random.default_rng(6)
    forest = naive.make_forest(rng, n_trees=4, max_leaves=8, symmetric_share=1.0, category_share=0.0)
    rows = naive.make_rows(rng, forest, 128)  # a whole block
    expected = np.array(engines(forest, tmp_path)[0].margins(rows)).tolist()
    path = tmp_path / "forest.bin"
    content = bytearray(path.read_bytes())
    trees, nodes = (struct.unpack_from("<QQ", content, 88 + 16 * section)[0] for section in (14, 16))
    for tree in range(forest.n_trees):
        root = struct.unpack_from("<I", content, trees + 20 * tree + 4)[0]
        if struct.unpack_from("<I", content, nodes + 8 * root + 4)[0] != root:  # not a leaf
            struct.pack_into("<H", content, nodes + 8 * root + 2, 60_000)
    path.write_bytes(content)
    for level in LEVELS:
        try:
            engine = TreeEngine(path, level)
        except ValueError:
            continue
        if not engine.is_packed:
            assert np.array(engine.margins(rows)).tolist() == expected
