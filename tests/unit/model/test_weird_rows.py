"""Rows of every odd kind: answered, or refused in mlrf's own words; no error of another library reaches the caller."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse

import mlrf
from bundles import write_tree_bundle
from mlrf.core.errors import MlrfError
from mlrf.core.manifest import LinkEntry
from mlrf.scoring import Scorer
from odd_rows import EXAMPLE, POLARS, ROWS


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weird")
    return write_tree_bundle(folder / "b", task="binary", link=LinkEntry("sigmoid"), classes=["no", "yes"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("call", ["predict", "label", "probabilities", "margin", "explain", "curve", "score"])
def test_odd_rows_are_answered_or_refused_in_our_own_words(path, kind, call):
    model = mlrf.load(path)
    ask = {
        "predict": model.predict,
        "label": model.label,
        "probabilities": model.probabilities,
        "margin": model.margin,
        "explain": model.explain,
        "curve": lambda rows: model.curve(rows, "price"),
        "score": Scorer(path),
    }[call]
    try:
        ask(ROWS[kind]())
    except MlrfError as error:
        assert len(str(error)) < 500


@pytest.mark.parametrize("kind", ["Arrow, no UTF-8", "Arrow, times beyond datetime"])
def test_a_column_that_its_library_cannot_convert_is_named(path, kind):
    with pytest.raises(MlrfError, match=r"feature '(store|price)': the column, of type .*; convert it to numbers"):
        mlrf.load(path).predict(ROWS[kind]())


@pytest.mark.parametrize(
    "column",
    [pd.Series([1.0]), pd.Series(EXAMPLE), POLARS["price"], pa.array([1]), pa.chunked_array([[1]])],
    ids=["pandas", "a row of pandas", "Polars", "Arrow", "Arrow in chunks"],
)
def test_a_column_in_place_of_a_table_is_named(path, column):
    with pytest.raises(
        MlrfError, match=r"a \w+ is one column or one row, not a table; give a table, or a list of instances"
    ):
        mlrf.load(path).predict(column)


def test_what_another_library_says_over_many_lines_is_one_line(path):
    with pytest.raises(MlrfError, match=r"cannot be read from the LazyFrame: .*nope") as refused:
        mlrf.load(path).predict(POLARS.lazy().select("nope"))
    assert "\n" not in str(refused.value)


class Tensor:
    """What tensors of other libraries have in common."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return self.values


def test_tensors_are_read_as_arrays_and_what_turns_other_rows_into_some_is_said(path):
    model = mlrf.load(path)
    array = np.zeros((2, len(model.schema.features)))
    assert model.predict(Tensor(array)).tolist() == model.predict(array).tolist()
    sparse = scipy.sparse.csr_matrix(array)
    row = dict(zip(model.schema.names, [0] * len(model.schema.names), strict=True))
    columns = {name: [0, 0] for name in row}
    for rows, said, advised in (
        (sparse, "pass rows.toarray()", sparse.toarray()),
        (iter(array.tolist()), "pass list(rows)", array.tolist()),
        (columns, "pandas.DataFrame(rows)", None),
        (row, "a list with one dict, [row]", None),
    ):
        with pytest.raises(MlrfError, match=re.escape(said)):
            model.predict(rows)
        if advised is not None:
            assert len(model.predict(advised)) == 2
