"""The tree IR: a valid forest passes, and each broken invariant is named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mlrf.core.errors import ModelUnreadableError
from mlrf.core.forest import Forest, Missing


def forest() -> Forest:
    """Two trees: a numeric and a categorical split over three leaves, and a single leaf for the second output."""
    return Forest(
        n_features=2,
        n_outputs=2,
        tree_offsets=np.array([0, 5, 6], dtype=np.int64),
        tree_output=np.array([0, 1], dtype=np.int32),
        feature=np.array([0, -1, 1, -1, -1, -1], dtype=np.int32),
        threshold=np.array([0.5, 0.0, 0.0, 0.0, 0.0, 0.0]),
        left=np.array([1, -1, 3, -1, -1, -1], dtype=np.int32),
        right=np.array([2, -1, 4, -1, -1, -1], dtype=np.int32),
        missing=np.array([Missing.NAN] * 6, dtype=np.uint8),
        default_left=np.array([True] * 6),
        category_set=np.array([-1, -1, 0, -1, -1, -1], dtype=np.int32),
        value=np.array([0.0, 1.0, 0.0, 2.0, 3.0, 10.0]),
        cover=np.array([8.0, 2.0, 6.0, 3.0, 3.0, 8.0]),
        set_offsets=np.array([0, 2], dtype=np.int64),
        set_codes=np.array([1, 4], dtype=np.int32),
        base=np.array([0.5, 0.25]),
    )


def changed(name, index, value):
    array = getattr(forest(), name).copy()
    array[index] = value
    return replace(forest(), **{name: array})


BROKEN = {
    "threshold has": replace(forest(), threshold=np.zeros(5)),
    "cover has": replace(forest(), cover=np.zeros((6, 1))),
    "no features": replace(forest(), n_features=0),
    "base and outputs": replace(forest(), base=np.zeros(3)),
    "tree_offsets and tree_output": replace(forest(), tree_output=np.zeros(3, dtype=np.int32)),
    "do not span": changed("tree_offsets", 2, 5),
    "a tree has no node": replace(forest(), tree_offsets=np.array([0, 0, 6])),
    "a tree has no output": changed("tree_output", 1, 2),
    "tests no feature": changed("feature", 0, 2),
    "a leaf has children": changed("left", 1, 3),
    "before its parent": changed("right", 2, 1),
    "outside its tree": changed("right", 2, 5),
    "no parent, or two": changed("right", 2, 3),
    "threshold is not a number": changed("threshold", 0, np.nan),
    "leaf value is not finite": changed("value", 1, np.nan),
    "cover is negative": changed("cover", 1, -1.0),
    "cover is negative or not finite": changed("cover", 1, np.nan),
    "missing rule": changed("missing", 0, 3),
    "leaf has a category set": changed("category_set", 1, 0),
    "category set is missing": changed("category_set", 2, 1),
    "end early": changed("set_offsets", 1, 1),
    "not ascending": changed("set_codes", 0, 4),
    "is not ascending": changed("set_codes", 0, -1),
    "negative size": replace(forest(), set_offsets=np.array([0, 3, 2])),
    "divisor": replace(forest(), divisor=0.0),
}


def test_valid_forest_passes_the_checks():
    sound = forest()
    sound.validate()
    changed("threshold", 0, np.inf).validate()
    assert (sound.n_trees, sound.n_nodes, sound.n_leaves) == (2, 6, 4)
    assert sound.category_codes(0).tolist() == [1, 4]


@pytest.mark.parametrize("reason", BROKEN)
def test_a_broken_invariant_is_named(reason):
    with pytest.raises(ModelUnreadableError, match=reason):
        BROKEN[reason].validate()


@pytest.mark.parametrize("changes", [
    {"tree_offsets": np.array([], dtype=np.int64), "tree_output": np.array([], dtype=np.int32)},
    {"set_offsets": np.array([], dtype=np.int64), "set_codes": np.array([], dtype=np.int32)},
    {"divisor": float("nan")}, {"base": np.array([np.nan, 0.0])}, {"divisor": float("inf")},
])  # fmt: skip
def test_empty_or_infinite_arrays_raise_only_the_typed_error(changes):
    with pytest.raises(ModelUnreadableError):
        replace(forest(), **changes).validate()


def test_the_expected_margin_weighs_leaves_by_their_cover():
    # 0.5 + (2 x 1 + 3 x 2 + 3 x 3) / 8, and 0.25 + 10
    assert forest().expected_margin() == [0.5 + 17 / 8, 10.25]
    assert replace(forest(), divisor=2.0).expected_margin() == [(0.5 + 17 / 8) / 2, 5.125]


def test_a_node_that_no_row_reached_splits_evenly():
    empty = changed("cover", slice(None), 0.0)
    assert empty.expected_margin() == [0.5 + (1.0 + (2.0 + 3.0) / 2) / 2, 10.25]
