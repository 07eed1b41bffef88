"""The kernel's reader of Python rows reads what the schema accepts, to the same bits, and leaves all other rows to it."""

from __future__ import annotations

import math
import struct
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from mlrf import _kernel
from mlrf.core.errors import InvalidRequestError
from mlrf.core.feature import CategoryHashing, Feature, Kind
from mlrf.core.infinities import LARGEST_FLOAT32, Infinities, OnInfinity
from mlrf.core.leniency import Leniency
from mlrf.core.schema import Schema
from mlrf.model.instance_rows import instance_rows
from mlrf.model.table_input import read_rows

FEATURES = (
    Feature("plain"),
    Feature("required", nullable=False),
    Feature("bounded", least=0.0, most=2.0),
    Feature("float32", infinities=Infinities(OnInfinity.NUMBER, OnInfinity.MISSING, from_float32=True)),
    Feature("whole", Kind.INTEGER),
    Feature("flag", Kind.BOOLEAN),
    Feature("code", Kind.CATEGORICAL),
    Feature("shop", Kind.CATEGORICAL, ("east", "west", 2, True)),
    Feature("hashed", Kind.CATEGORICAL, ("east", "5"), hashing=CategoryHashing(is_open=True)),
)
VALUES = (
    *(0.0, -0.0, 1.0, 1.5, 2.0, -1.0, 1e300, LARGEST_FLOAT32, 3.5e38, math.inf, -math.inf, math.nan, None),
    *(0, 1, 2, -3, 1 << 53, (1 << 53) + 1, 1 << 2000, True, False, "east", "5", "north", "", "1.5", "\ud800", b"east"),
    *(
        np.float64(1.5),
        np.float32(1.0),
        np.int64(1),
        np.bool_(True),
        np.str_("east"),
        Decimal("1.5"),
        pd.NA,
        pd.NaT,
        [1.0],
    ),
)
NATURAL = Leniency(caller="python", natural=True)
LENIENCIES = [
    NATURAL,
    Leniency(caller="python", natural=True, unknown_categories="as-library"),
    Leniency(caller="python"),
]


def bits_or_error(schema, rows, leniency, reader):
    try:
        return struct.pack("<d", read_rows(schema, rows, leniency, None, reader)[0, 0])
    except InvalidRequestError as error:
        return str(error)


@pytest.mark.parametrize("leniency", LENIENCIES, ids=["natural", "as-library", "strict"])
@pytest.mark.parametrize("feature", FEATURES, ids=[each.name for each in FEATURES])
def test_values_are_those_of_the_schema(feature, leniency):
    schema = Schema((feature,))
    reader = instance_rows(schema)
    for value in VALUES:
        cell = np.empty((1, 1), object)
        cell[0, 0] = value
        frame = pd.DataFrame({feature.name: pd.Series(cell[0], dtype=object)})
        for rows in ([[value]], [(value,)], ((value,),), [{feature.name: value}], cell, frame):
            expected = bits_or_error(schema, rows, leniency, None)
            assert bits_or_error(schema, rows, leniency, reader) == expected, repr(rows)


def test_what_is_common_is_not_left_to_python():
    schema = Schema(FEATURES)
    row = [None, 1, 0.5, math.nan, 3.0, True, 7, "west", "5"]
    rows = [row, tuple(row), dict(zip(schema.names, row, strict=True)), [*row[:7], "north", "5"], row[:8]]
    table = np.zeros((len(rows), len(row)))
    assert instance_rows(schema).read(rows, table) == [3, 4]
    for read in table[:3]:
        assert [str(each) for each in read] == ["nan", "1.0", "0.5", "nan", "3.0", "1.0", "7.0", "1.0", "1.0"]


def test_errors_name_the_first_invalid_row_among_valid_ones():
    schema = Schema((Feature("shop", Kind.CATEGORICAL, ("east", "west")),))
    reader = instance_rows(schema)
    texts = ["west", "east", "north", "east", "south"]
    for rows in (
        [[each] for each in texts],
        np.array([[each] for each in texts], object),
        pd.DataFrame({"shop": texts}),
    ):
        with pytest.raises(InvalidRequestError, match="row 2: feature 'shop': the string \"north\""):
            read_rows(schema, rows, NATURAL, None, reader)
    faults = {}
    read_rows(schema, pd.DataFrame({"shop": texts}), NATURAL, faults, reader)
    assert list(faults) == [2, 4]


class Scaled(list):
    """Rows that are made when the list is iterated."""

    def __iter__(self):
        return iter([[10.0 * row[0], row[1]] for row in super().__iter__()])


class Paired(tuple):  # noqa: SLOT001  a test
    """A tuple that has more rows when it is iterated."""

    def __iter__(self):
        return iter([*super().__iter__(), [7.0, 8.0]])


def test_sequences_that_make_their_rows_are_iterated():
    schema = Schema((Feature("a"), Feature("b")))
    reader = instance_rows(schema)
    assert read_rows(schema, Scaled([[1.0, 2.0]]), NATURAL, None, reader).tolist() == [[10.0, 2.0]]
    assert read_rows(schema, Paired([[1.0, 2.0]]), NATURAL, None, reader).tolist() == [[1.0, 2.0], [7.0, 8.0]]
    with pytest.raises(TypeError, match="a list or a tuple"):
        reader.read(Scaled([[1.0, 2.0]]), np.empty((1, 2)))


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_matrices_and_unaligned_arrays_of_objects_are_read():
    schema = Schema((Feature("a"), Feature("shop", Kind.CATEGORICAL, ("east", "west"))))
    reader = instance_rows(schema)
    values = np.array([[1.5, "west"], [np.float32(2.5), "east"]], object)
    record = np.zeros(2, dtype=[("pad", "i1"), ("values", "O", (2,))])
    record["values"] = values
    assert not record["values"].flags.aligned
    texts = np.matrix([["east", "west"]])
    for rows in (np.asmatrix(values), record["values"]):
        assert read_rows(schema, rows, NATURAL, None, reader).tolist() == [[1.5, 1.0], [2.5, 0.0]]
    two = Schema((Feature("x", Kind.CATEGORICAL, ("east", "west")), Feature("y", Kind.CATEGORICAL, ("east", "west"))))
    assert read_rows(two, texts, NATURAL, None, instance_rows(two)).tolist() == [[0.0, 1.0]]


def test_rows_and_tables_of_other_sizes_are_errors():
    reader = instance_rows(Schema((Feature("a"), Feature("b"))))
    with pytest.raises(ValueError, match="the table does not have so many rows"):
        reader.read([[1.0, 2.0]], np.empty((2, 2)))
    with pytest.raises(TypeError, match="a list or a tuple"):
        reader.read(iter([]), np.empty((0, 2)))
    with pytest.raises(ValueError, match="the table does not have so many rows"):
        reader.read_array(np.empty((1, 3), object), np.empty((1, 2)))
    with pytest.raises(TypeError, match="an array of objects"):
        reader.read_array(np.empty((1, 2)), np.empty((1, 2)))
    with pytest.raises(ValueError, match="no such column"):
        reader.read_column(2, [], np.empty(0))
    with pytest.raises(ValueError, match="not so many float64"):
        reader.read_column(1, [1.0], np.empty(2))
    with pytest.raises(TypeError, match="codes are a dict"):
        _kernel.InstanceRows([("a", 0.0, 1.0, False, True, True, False, [])])


def test_a_dict_whose_keys_change_the_list_is_read_safely():
    class Key(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other):
            rows.clear()
            return str.__eq__(self, other)

    rows = [{Key("a"): 1.0}, [1.0]]
    with pytest.raises(IndexError):
        instance_rows(Schema((Feature("a"),))).read(rows, np.empty((2, 1)))
