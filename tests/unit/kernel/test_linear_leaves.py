"""Leaves that are linear functions: the kernel against the reference, forged files, and what the IR refuses."""

from __future__ import annotations

import math
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import naive_forest as naive
from mlrf import _kernel
from mlrf.builder.exporters.forest_file.encode import encode_forest
from mlrf.core.errors import BundleError, ModelUnreadableError
from mlrf.core.forest import LEAF, Forest
from mlrf.engines.interface import Explainer, PiecewiseConstant, WalksTrees
from mlrf.engines.selection import tree_engine
from mlrf.engines.tree_kernel import TreeEngine

SECTION_TABLE = 88
LINEAR_LEAVES, LINEAR_FEATURES, LINEAR_COEFFICIENTS = 32, 33, 34
"""Sections, as kernel/src/format.hpp numbers them."""


def made(seed: int = 3, **shape: object) -> Forest:
    rng = np.random.default_rng(seed)
    return naive.with_linear_leaves(naive.make_forest(rng, **{"n_trees": 6, "max_leaves": 10, **shape}), rng)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), n_outputs=st.integers(1, 3), n_trees=st.integers(1, 30), max_leaves=st.integers(1, 40),
    divisor=st.sampled_from([1.0, 7.0]),
)  # fmt: skip
def test_margins_are_those_of_the_reference_to_the_bit(tmp_path_factory, seed, n_outputs, n_trees, max_leaves, divisor):
    forest = made(seed, n_outputs=n_outputs, n_trees=n_trees, max_leaves=max_leaves, divisor=divisor)
    rows = naive.make_rows(np.random.default_rng(seed), forest, 90)
    want = np.array([naive.margins(forest, row) for row in rows])
    kernel = _kernel.Forest(str(write(tmp_path_factory.mktemp("f") / "forest.bin", encode_forest(forest))), None)
    np.testing.assert_array_equal(np.array([kernel.margin(row.tolist()) for row in rows]), want)
    for threads in (1, 2):
        np.testing.assert_array_equal(np.array(kernel.margins(rows, threads)).reshape(want.shape), want)
    np.testing.assert_array_equal(
        np.array(kernel.margins_from(rows, np.tile(forest.base, (len(rows), 1)))).reshape(want.shape), want
    )


def test_rows_of_float32_are_read_as_their_numbers(tmp_path):
    forest = made()
    rows = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    kernel = _kernel.Forest(str(write(tmp_path / "forest.bin", encode_forest(forest))), None)
    np.testing.assert_array_equal(np.array(kernel.margins(rows)), np.array(kernel.margins(rows.astype(np.float64))))


def test_a_leaf_that_reads_nan_gives_its_constant(tmp_path):
    forest = made(n_trees=1, max_leaves=1)
    linear = replace(
        forest.linear, offsets=np.array([0, 2]), features=np.array([0, 1], np.int32), coefficients=np.array([2.0, -3.0])
    )
    forest = replace(forest, linear=linear, base=np.zeros(1))
    kernel = _kernel.Forest(str(write(tmp_path / "forest.bin", encode_forest(forest))), None)
    constant, value = float(linear.constants[0]), float(forest.value[0])
    assert kernel.margin([1.0, 0.5, math.nan, 0.0, 0.0]) == [constant + 2.0 - 1.5]
    assert kernel.margin([1.0, None, 0.0, 0.0, 0.0]) == [value]
    assert kernel.margin([1e-36, 0.0, 0.0, 0.0, 0.0]) == [constant]


def test_linear_leaves_have_no_contributions_and_no_cuts(tmp_path):
    path = write(tmp_path / "forest.bin", encode_forest(made()))
    engine = tree_engine(path, None)
    assert isinstance(engine, WalksTrees)
    assert not isinstance(engine, Explainer | PiecewiseConstant)
    assert engine.margin([0.5] * 5) == TreeEngine(path).margin([0.5] * 5)
    for ask in (TreeEngine(path).contributions, TreeEngine(path).contributions_many):
        with pytest.raises(ValueError, match="linear leaves"):
            ask(np.full((2, 5) if ask.__name__ == "contributions_many" else 5, 0.5))
    assert TreeEngine(path).has_linear_leaves
    constant = write(tmp_path / "constant.bin", encode_forest(replace(made(), linear=None)))
    assert not TreeEngine(constant).has_linear_leaves


def forged(content: bytes, section: int, at: int, number: bytes) -> bytes:
    offset, _ = struct.unpack_from("<QQ", content, SECTION_TABLE + 16 * section)
    return content[: offset + at] + number + content[offset + at + len(number) :]


def counted(content: bytes, section: int, change: int) -> bytes:
    position = SECTION_TABLE + 16 * section + 8
    (count,) = struct.unpack_from("<Q", content, position)
    return content[:position] + struct.pack("<Q", count + change) + content[position + 8 :]


@pytest.mark.parametrize(
    ("forge", "reason"),
    [
        (lambda file: counted(file, LINEAR_LEAVES, -1), "linear leaves and leaf values do not match"),
        (lambda file: counted(file, LINEAR_FEATURES, -1), "features and coefficients of leaves do not match"),
        (lambda file: counted(counted(file, LINEAR_FEATURES, -1), LINEAR_COEFFICIENTS, -1), "linear leaves are out of order"),
        (lambda file: forged(file, LINEAR_LEAVES, 0, struct.pack("<d", math.nan)), "constant of a linear leaf"),
        (lambda file: forged(file, LINEAR_LEAVES, 8, struct.pack("<I", 1)), "linear leaves are out of order"),
        (lambda file: forged(file, LINEAR_LEAVES, 12, struct.pack("<I", 0xFFFFFFFF)), "linear leaves are out of order"),
        (lambda file: forged(file, LINEAR_FEATURES, 0, struct.pack("<I", 5)), "a linear leaf reads no feature"),
        (lambda file: forged(file, LINEAR_COEFFICIENTS, 0, struct.pack("<d", math.inf)), "a coefficient of a leaf"),
        (lambda file: file[:16] + b"\x01" + file[17:], "a forest of float32"),
        (lambda file: file[:20] + b"\x01" + file[21:], "a forest of float32"),
    ],
)  # fmt: skip
def test_forged_files_are_refused(forge, reason, tmp_path):
    sound = encode_forest(made())
    with pytest.raises(BundleError, match=reason):
        TreeEngine(write(tmp_path / "forest.bin", forge(sound)))


def test_files_with_flipped_bits_are_refused_or_answered(tmp_path):
    sound, rng, refused = encode_forest(made()), np.random.default_rng(1), 0
    for _ in range(600):
        content = bytearray(sound)
        content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
        try:
            engine = TreeEngine(write(tmp_path / "forest.bin", bytes(content)))
        except BundleError:
            refused += 1
            continue
        if engine.n_features == 5:
            engine.margin([0.5] * 5)
            engine.margins(np.full(5 * 70, 0.5))
    assert refused > 80


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"features": np.array([99], np.int32), "coefficients": np.ones(1)}, "terms of leaves do not match"),
        ({"constants": np.zeros(2)}, "linear leaves and nodes do not match"),
        ({"constants": np.full(1, np.inf)}, "a number that is not finite"),
        ({"offsets": np.array([0, -1])}, "terms of leaves do not match"),
    ],
)
def test_unsound_functions_are_refused(change, reason):
    forest = made(n_trees=1, max_leaves=1)
    with pytest.raises(ModelUnreadableError, match=reason):
        replace(forest, linear=replace(forest.linear, **change)).validate()


def test_invalid_functions_of_leaves_are_refused():
    forest = made()
    inner = int(np.flatnonzero(forest.feature != LEAF)[0])
    offsets = forest.linear.offsets.copy()
    offsets[inner + 1 :] += 1
    wrong = {
        "an inner node has terms": replace(
            forest.linear,
            offsets=offsets,
            features=np.append(forest.linear.features, 0).astype(np.int32),
            coefficients=np.append(forest.linear.coefficients, 0.0),
        ),
        "a linear leaf reads no feature": replace(forest.linear, features=forest.linear.features + 5),
    }
    for reason, linear in wrong.items():
        with pytest.raises(ModelUnreadableError, match=reason):
            replace(forest, linear=linear).validate()
    with pytest.raises(ModelUnreadableError, match="forests of float64 without tables"):
        replace(forest, inputs="float32", threshold=np.zeros(forest.n_nodes)).validate()
