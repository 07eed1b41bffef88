"""Rows that the engine accepts and refuses; rows that run Python code while they are read."""

from __future__ import annotations

import numpy as np
import pytest

import naive_forest as naive
from mlrf._kernel import WholeColumns
from mlrf.builder.exporters.forest_file.encode import encode_forest
from mlrf.engines.tree_kernel import TreeEngine


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    forest = naive.make_forest(np.random.default_rng(3), n_trees=30, max_leaves=20)
    path = tmp_path_factory.mktemp("inputs") / "forest.bin"
    path.write_bytes(encode_forest(forest))
    return TreeEngine(path)


def row_of(engine, seed):
    return np.random.default_rng(seed).normal(size=engine.n_features).tolist()


def test_reentrant_row_reading_keeps_the_answer(engine):
    outer, inner = row_of(engine, 1), row_of(engine, 2)

    class Nosy:
        def __float__(self):
            engine.margin(inner)
            return outer[-1]

    assert engine.margin([*outer[:-1], Nosy()]) == engine.margin(outer)
    assert engine.contributions([*outer[:-1], Nosy()]) == engine.contributions(outer)


def test_none_is_a_missing_value_and_booleans_are_numbers(engine):
    row = row_of(engine, 3)
    assert engine.margin([None, True, *row[2:]]) == engine.margin([float("nan"), 1.0, *row[2:]])


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int64, np.bool_])
def test_numbers_of_another_type_are_refused_not_read_as_bytes(engine, kind):
    table = np.ones((8, engine.n_features), kind)
    with pytest.raises(TypeError, match="float64 or float32"):
        engine.margins(table)


def test_the_bytes_of_float64_are_taken_as_such(engine):
    row = row_of(engine, 4)
    assert list(engine.margins(np.array(row).tobytes())) == engine.margin(row)


def test_table_of_another_width_is_refused(engine):
    f = engine.n_features
    with pytest.raises(ValueError, match="values"):
        engine.margins(np.ones((f, f - 1)))
    with pytest.raises(ValueError, match="values"):
        engine.margin(np.ones((f, 1)))


@pytest.mark.parametrize("make", [set, dict.fromkeys, iter])
def test_unordered_collections_are_not_rows(engine, make):
    with pytest.raises(TypeError):
        engine.margin(make(row_of(engine, 5)))


INF = float("inf")


@pytest.mark.parametrize("kind", [tuple, list])
@pytest.mark.parametrize(
    ("value", "fits"),
    [
        (4.0, True), (4, True), (True, True), (None, True), (0.0, True), (-7.0, True), (2.0**53, True), (-1e300, True), (1e300, True),
        (-0.0, False), (0.5, False), (-4.25, False), (2.0**51 + 0.5, False), (5e-324, False), (float("nan"), False),
    ],
)  # fmt: skip
def test_integer_columns_admit_only_integers(kind, value, fits):
    assert WholeColumns([(1, -INF, INF)]).admit(kind((0.5, value))) is fits


@pytest.mark.parametrize(("value", "fits"), [(0.0, True), (2.0, True), (3.0, False), (-1.0, False), (1e300, False)])
def test_integer_columns_have_a_range(value, fits):
    assert WholeColumns([(0, 0.0, 2.0)]).admit((value,)) is fits


def test_integer_columns_refuse_invalid_rows():
    columns = WholeColumns([(1, 0.0, 2.0)])
    with pytest.raises(IndexError):
        columns.admit((1.0,))
    with pytest.raises(TypeError):
        columns.admit(b"12345678")
    with pytest.raises(TypeError):
        columns.admit((1.0, "x"))
    with pytest.raises(ValueError, match="0 or more"):
        WholeColumns([(-1, 0.0, 2.0)])
