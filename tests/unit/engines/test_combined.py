"""Combinations whose manifest entry does not fit its forest are refused as damaged bundles, whatever is wrong with it."""

from __future__ import annotations

import pytest

from bundles import write_tree_bundle
from mlrf.core.errors import BundleError
from mlrf.core.manifest import FOREST, CalibratorEntry, CombinationEntry, LinkEntry, MemberEntry
from mlrf.engines.selection import tree_engine

IDENTITY = LinkEntry("identity")
NUMBER = MemberEntry(1, IDENTITY)
DAMAGED = {
    "no members": CombinationEntry("mean", []),
    "another number of outputs": CombinationEntry("mean", [NUMBER, NUMBER]),
    "a negative number of outputs": CombinationEntry("each", [MemberEntry(2, IDENTITY), MemberEntry(-1, IDENTITY)]),
    "an unknown link": CombinationEntry("mean", [MemberEntry(1, LinkEntry("nothing"))]),
    "a divisor of zero": CombinationEntry("mean", [MemberEntry(1, IDENTITY, divisor=0.0)]),
    "weights of others": CombinationEntry("weighted_mean", [NUMBER], weights=[1.0, 2.0]),
    "weights that add up to zero": CombinationEntry("weighted_mean", [NUMBER], weights=[0.0]),
    "no weight": CombinationEntry("weighted_median", [NUMBER]),
    "coefficients of others": CombinationEntry("linear", [NUMBER], coefficients=[[1.0, 2.0]], intercepts=[0.0]),
    "row coefficients of others": CombinationEntry(
        "linear", [NUMBER], coefficients=[[1.0]], intercepts=[0.0], row_coefficients=[[1.0] * 99]
    ),
    "no row coefficients for a margin": CombinationEntry(
        "linear", [NUMBER, NUMBER], coefficients=[[1.0]] * 2, intercepts=[0.0] * 2, row_coefficients=[[1.0]]
    ),
    "final trees that are missing": CombinationEntry("each", [NUMBER], final="answers"),
    "no margin": CombinationEntry("linear", [NUMBER]),
    "intercepts of others": CombinationEntry("linear", [NUMBER], coefficients=[[1.0]], intercepts=[]),
    "offsets of others": CombinationEntry("mean", [MemberEntry(1, IDENTITY, offsets=[1.0, 2.0])]),
    "a line without values": CombinationEntry(
        "mean", [MemberEntry(1, IDENTITY, calibrators=[CalibratorEntry(x=[0.0, 1.0])])]
    ),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_combination_is_a_damaged_bundle(what, tmp_path):
    path = write_tree_bundle(tmp_path / "b") / FOREST
    with pytest.raises(BundleError, match=r"forest\.bin.*build the bundle again"):
        tree_engine(path, DAMAGED[what])


@pytest.mark.parametrize("final", ["answers", "none"])
def test_final_trees_of_other_columns_are_a_damaged_bundle(final, tmp_path):
    path = write_tree_bundle(tmp_path / "b") / FOREST
    with pytest.raises(BundleError, match="final trees"):
        tree_engine(path, CombinationEntry("each", [NUMBER], final=final), path)
