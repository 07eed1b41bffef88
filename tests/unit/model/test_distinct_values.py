"""Columns of strings and categoricals are converted once for each distinct value, with the errors of single rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from mlrf.core.errors import InvalidRequestError, UnknownCategoryError
from mlrf.core.feature import Feature, Kind
from mlrf.core.leniency import Leniency
from mlrf.core.schema import Schema
from mlrf.model.table_input import read_rows

SCHEMA = Schema((Feature("shop", Kind.CATEGORICAL, ("east", "west")), Feature("size", Kind.CATEGORICAL, (10, 20))))
LENIENT = Leniency(natural=True)
SIZES = pa.array([10, 20, None, 20, 10])


def column(kind):
    texts = ["west", None, "east", "east", "west"]
    match kind:
        case "string":
            return pa.array(texts)
        case "chunks":
            return pa.chunked_array([texts[:2], [], texts[2:]], pa.large_string())
        case "unused":
            return pa.DictionaryArray.from_arrays(pa.array([1, None, 2, 2, 1]), pa.array(["nowhere", "west", "east"]))
    parts = [pa.array(texts[:2]).dictionary_encode(), pa.array(texts[2:]).dictionary_encode()]
    return pa.chunked_array(parts)


@pytest.mark.parametrize("kind", ["string", "chunks", "unused", "several dictionaries"])
def test_strings_are_categories_however_they_are_encoded(kind):
    rows = read_rows(SCHEMA, pa.table({"shop": column(kind), "size": SIZES}), LENIENT)
    assert [str(value) for value in rows[:, 0]] == ["1.0", "nan", "0.0", "0.0", "1.0"]
    assert [str(value) for value in rows[:, 1]] == ["0.0", "1.0", "nan", "1.0", "0.0"]


def test_the_first_unknown_category_is_named_or_all_are_noted():
    table = pa.table({"shop": ["east", "north", "south", "north", "west"], "size": [10, 10, 30, 10, 10]})
    with pytest.raises(UnknownCategoryError, match="row 1: feature 'shop': the string \"north\" is not"):
        read_rows(SCHEMA, table, LENIENT)
    faults = {}
    rows = read_rows(SCHEMA, table, LENIENT, faults)
    assert {row: fault.details["value"] for row, fault in faults.items()} == {1: "north", 2: "south", 3: "north"}
    assert rows[0].tolist() == [0.0, 0.0]


def test_a_table_without_rows_has_none():
    assert read_rows(
        SCHEMA, pa.table({"shop": pa.chunked_array([], pa.string()), "size": SIZES[:0]}), LENIENT
    ).shape == (0, 2)


@pytest.mark.parametrize(
    "categories", [["a", "b", "c"], ["c", "a", "b", "unused"], ["a", "b", "c", "d"], [1, 2, 3], [True, False]]
)
@pytest.mark.parametrize("n", [3, 40])
def test_categoricals_of_pandas_are_read_as_their_values(categories, n):
    schema = Schema((Feature("kind", Kind.CATEGORICAL, ("a", "b", "c")),))
    codes = np.resize([0, 1, -1, 0, len(categories) - 1], n)
    column = pd.Series(pd.Categorical.from_codes(codes, categories))

    def read(frame, leniency, faults=None):
        try:
            table = read_rows(schema, frame, leniency, faults)
        except InvalidRequestError as error:
            return type(error), str(error), error.details
        return table.tobytes(), {row: str(fault) for row, fault in (faults or {}).items()}

    for leniency in (Leniency(natural=True), Leniency(unknown_categories="missing", natural=True)):
        for faults in (None, {}):
            found = [read(pd.DataFrame({"kind": each}), leniency, faults) for each in (column, column.astype(object))]
            assert found[0] == found[1]
