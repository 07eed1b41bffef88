"""Margins, predictions and explanations of a table are the same bits whatever kind of table it is."""

from __future__ import annotations

import math
import re
import time
from array import array
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import mlrf
from bundles import ALL_KINDS, rows_of, write_tree_bundle
from mlrf.core.errors import (
    ConfigError,
    FeatureCountError,
    InvalidFeatureError,
    InvalidRequestError,
    MissingFeatureError,
    NonFiniteResultError,
    NotExplainableError,
    UnknownCategoryError,
    UnknownFeatureError,
)
from mlrf.core.feature import Feature
from mlrf.core.leniency import Leniency
from mlrf.core.schema import Schema
from mlrf.model.table_input import read_rows

N = 60


def instances() -> list[dict]:
    """Rows by name, every kind of value and every kind of missing among them."""
    rng = np.random.default_rng(3)

    def sometimes(value: object) -> object:
        return None if rng.random() < 0.2 else value

    return [
        {
            "price": sometimes(float(rng.normal() * 3)),
            "count": sometimes(int(rng.integers(-3, 9))),
            "promo": sometimes(bool(rng.integers(2))),
            "store": sometimes(["north", "süd", "east"][rng.integers(3)]),
            "size": sometimes([10, 20, 30][rng.integers(3)]),
            "code": sometimes(int(rng.integers(9))),
            "depth": float(rng.normal()),
        }
        for _ in range(N)
    ]


ROWS = instances()
CODES = np.array([ALL_KINDS.row(instance) for instance in ROWS])
NAMES = list(ALL_KINDS.names)
SHUFFLED = NAMES[::-1]


def _pandas() -> pd.DataFrame:
    return pd.DataFrame(ROWS)[SHUFFLED]


def _pandas_typed() -> pd.DataFrame:
    frame = pd.DataFrame(ROWS)[SHUFFLED]
    return frame.assign(
        store=frame["store"].astype("category"),
        count=frame["count"].astype("Int64"),
        promo=frame["promo"].astype("boolean"),
        code=frame["code"].astype("Int64"),
    )


TABLES = {
    "list": lambda: ROWS,
    "list by position": lambda: [[None if math.isnan(x) else _by_code(f, x) for f, x in enumerate(r)] for r in CODES],
    "numpy": lambda: CODES,
    "list by position with names of categories": lambda: [_with_names(*pair) for pair in zip(ROWS, CODES, strict=True)],
    "numpy in Fortran order": lambda: np.asfortranarray(CODES),
    "numpy slice": lambda: np.repeat(CODES, 2, axis=0)[::2],
    "pandas": _pandas,
    "pandas typed": _pandas_typed,
    "polars": lambda: pl.DataFrame(ROWS, infer_schema_length=None).select(SHUFFLED),
    "arrow": lambda: pa.Table.from_pylist(ROWS).select(SHUFFLED),
    "list of NumPy's scalars": lambda: [{name: _scalar(value) for name, value in row.items()} for row in ROWS],
    "list of a frame's records": lambda: pd.DataFrame(ROWS).to_dict("records"),
    "list with 0 and 1 for booleans": lambda: [_with_numbers(row) for row in ROWS],
    "list of decimals": lambda: [{name: _decimal(value) for name, value in row.items()} for row in ROWS],
    "numpy of objects": lambda: np.array(
        [[None if math.isnan(x) else _by_code(f, x) for f, x in enumerate(r)] for r in CODES], dtype=object
    ),
    "masked array": lambda: np.ma.masked_invalid(CODES),
    "polars lazy": lambda: pl.DataFrame(ROWS, infer_schema_length=None).lazy().select(SHUFFLED),
    "record batch": lambda: pa.RecordBatch.from_pylist(ROWS).select(SHUFFLED),
    "C stream": lambda: Exported(pa.Table.from_pylist(ROWS).select(SHUFFLED)),
    "C array": lambda: ExportedArray(pa.RecordBatch.from_pylist(ROWS)),
    "arrow in chunks": lambda: pa.concat_tables([pa.Table.from_pylist(ROWS[:7]), pa.Table.from_pylist(ROWS[7:])]),
}


class Exported:
    """What a library of its own may hand over: nothing but Arrow's C stream."""

    def __init__(self, table):
        self._table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self._table.__arrow_c_stream__(requested_schema)


class ExportedArray:
    """The same as one array."""

    def __init__(self, batch):
        self._batch = batch

    def __arrow_c_array__(self, requested_schema=None):
        return self._batch.__arrow_c_array__(requested_schema)


def _scalar(value: object) -> object:
    match value:
        case None:
            return np.float64("nan")
        case bool():
            return np.bool_(value)
        case int():
            return np.int64(value)
        case float():
            return np.float64(value)
    return np.str_(value)


def _with_numbers(row: dict) -> dict:
    return row | {"promo": None if row["promo"] is None else int(row["promo"])}


def _decimal(value: object) -> object:
    if value is None:
        return Decimal("NaN")
    return Decimal(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _with_names(row: dict, codes: np.ndarray) -> list[object]:
    """A row in schema order whose categories are names where they are strings, else codes."""
    coded = [None if math.isnan(x) else _by_code(feature, x) for feature, x in enumerate(codes)]
    return [row[name] if isinstance(row[name], str) else code for name, code in zip(NAMES, coded, strict=True)]


def _by_code(feature: int, x: float) -> object:
    kind = ALL_KINDS.features[feature].kind.value
    return bool(x) if kind == "boolean" else float(x) if kind == "numeric" else int(x)


def bits(values: np.ndarray) -> bytes:
    return np.ascontiguousarray(values).tobytes()


@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("name", ["model", "class_model"])
def test_every_kind_of_table_is_answered_to_the_same_bits(kind, name, request):
    model = request.getfixturevalue(name)
    table = TABLES[kind]()
    k = model.engine.n_outputs
    assert bits(model.margin(table)) == bits(model.margin(CODES))
    assert bits(model.predict(table)) == bits(model.predict(CODES))
    explained = model.explain(table)
    assert bits(explained.values) == bits(model.explain(CODES).values)
    assert bits(explained.data) == bits(CODES)
    assert model.margin(table).shape == model.predict(table).shape == ((N,) if k == 1 else (N, k))
    assert explained.values.shape == ((N, 7) if k == 1 else (N, 7, k))
    assert explained.feature_names == NAMES


@pytest.mark.parametrize("name", ["model", "class_model"])
def test_a_table_is_answered_as_its_rows_one_by_one(name, request):
    model = request.getfixturevalue(name)
    margins = model.margin(CODES).reshape(N, -1)
    predictions = model.predict(CODES).reshape(N, -1).tolist()
    contributions = model.explain(CODES).values.reshape(N, -1)
    for index, row in enumerate(CODES.tolist()):
        assert model.engine.margin(row) == margins[index].tolist()
        one = rows_of(model).predict_row(row)
        assert (one if isinstance(one, list) else [one]) == predictions[index]
        alone = np.array(model.engine.contributions(row))
        assert np.abs(alone - contributions[index]).max() <= 1e-12 * np.abs(alone).max()


@pytest.mark.parametrize("name", ["model", "class_model"])
def test_base_and_contributions_are_the_margin(name, request):
    model = request.getfixturevalue(name)
    explained = model.explain(CODES)
    total = explained.base + explained.values.sum(axis=1)
    scale = np.maximum(1.0, np.maximum(np.abs(explained.base), np.abs(explained.values).sum(axis=1)))
    assert (np.abs(total - model.margin(CODES)) <= 1e-9 * scale).all()
    assert np.abs(explained.values).max() > 0.1


def test_the_two_engines_agree(model, tree_bundle):
    other = mlrf.load(tree_bundle, engine="onnxruntime")
    assert model.engine.name == "trees"
    np.testing.assert_allclose(other.margin(CODES), model.margin(CODES), rtol=0, atol=1e-9)


def test_engine_without_explanations_says_so(tree_bundle):
    model = mlrf.load(tree_bundle, engine="onnxruntime")
    with pytest.raises(NotExplainableError, match="onnxruntime") as refused:
        model.explain(CODES)
    assert refused.value.details == {"engine": "onnxruntime"}


def test_threads_do_not_change_a_bit(model):
    many = np.tile(CODES, (20, 1))
    assert bits(model.explain(many, threads=2).values) == bits(model.explain(many).values)


def test_no_rows_give_no_answers(model, class_model):
    empty = np.empty((0, 7))
    assert model.margin(empty).shape == model.predict(empty).shape == (0,)
    assert class_model.margin(empty).shape == (0, 3)
    assert model.explain(empty).values.shape == (0, 7)
    assert class_model.explain(empty).values.shape == (0, 7, 3)


FRAME = pd.DataFrame([r for r in ROWS if None not in r.values()])


def _with(column: str, row: int, value: object) -> pd.DataFrame:
    changed = FRAME.astype({column: object})
    changed.loc[row, column] = value
    return changed


@pytest.mark.parametrize("ask", ["margin", "predict", "explain"])
@pytest.mark.parametrize(
    ("rows", "error", "details"),
    [
        (np.zeros((2, 6)), FeatureCountError, {"expected": 7, "got": [2, 6]}),
        (np.zeros(7), FeatureCountError, {"got": [7]}),
        (FRAME.drop(columns="size"), MissingFeatureError, {"feature": "size", "missing": ["size"]}),
        (FRAME.assign(colour=1), UnknownFeatureError, {"feature": "colour"}),
        (_with("store", 2, "west"), UnknownCategoryError, {"row": 2, "feature": "store", "value": "west"}),
        (_with("price", 1, "dear"), InvalidFeatureError, {"row": 1, "feature": "price", "value": "dear"}),
        (_with("price", 1, math.inf), InvalidFeatureError, {"row": 1, "feature": "price"}),
        (FRAME.assign(price=-math.inf), InvalidFeatureError, {"row": 0, "feature": "price", "value": "-inf"}),
        (FRAME.assign(depth=math.nan), InvalidFeatureError, {"row": 0, "feature": "depth", "value": None}),
        (FRAME.assign(count=0.5), InvalidFeatureError, {"row": 0, "feature": "count", "value": 0.5}),
        (FRAME.assign(code=0.5), InvalidFeatureError, {"row": 0, "feature": "code", "value": 0.5}),
        (FRAME.assign(promo=2), InvalidFeatureError, {"row": 0, "feature": "promo", "value": 2}),
        (_with("price", 0, True), InvalidFeatureError, {"row": 0, "feature": "price", "value": True}),
        (FRAME.assign(code=True), InvalidFeatureError, {"row": 0, "feature": "code", "value": True}),
        (FRAME.assign(store=[["a"]] * len(FRAME)), InvalidFeatureError, {"row": 0, "feature": "store"}),
        (pd.concat([FRAME, FRAME[["size"]]], axis=1), InvalidRequestError, {"feature": "size"}),
        (FRAME.assign(size=1), UnknownCategoryError, {"row": 0, "feature": "size", "value": 1}),
        (_with("count", 3, 1.5), InvalidFeatureError, {"row": 3, "feature": "count", "value": 1.5}),
        (_with("promo", 0, "yes"), InvalidFeatureError, {"row": 0, "feature": "promo"}),
        (_with("depth", 4, None), InvalidFeatureError, {"row": 4, "feature": "depth", "value": None}),
        ([ROWS[0], {**ROWS[1], "depth": None}], InvalidFeatureError, {"row": 1, "feature": "depth"}),
        ([ROWS[0], 3], InvalidRequestError, {"row": 1}),
        ("rows", InvalidRequestError, {}),
        (None, InvalidRequestError, {}),
    ],
)
def test_invalid_table_names_row_feature_and_value(model, ask, rows, error, details):
    with pytest.raises(error) as refused:
        getattr(model, ask)(rows)
    assert {key: refused.value.details.get(key) for key in details} == details
    for shown in ("row", "feature"):
        if shown in details:
            assert str(details[shown]) in str(refused.value)


@pytest.mark.parametrize("missing", [False, True])
def test_boolean_columns_are_0_and_1_but_json_booleans_not(model, missing):
    flags = [bool(index % 3) for index in range(len(FRAME))]
    shown = [None if missing and index % 5 == 0 else flag for index, flag in enumerate(flags)]
    numbers = FRAME.assign(**{name: pd.array(shown, "boolean").astype("Float64") for name in ("price", "count")})
    expected = bits(model.margin(numbers))
    rest = FRAME.drop(columns=["price", "count"])
    booleans = rest.assign(**dict.fromkeys(("price", "count"), pd.array(shown, "boolean" if missing else "bool")))
    arrow = pa.Table.from_pandas(rest, preserve_index=False)
    for name in ("price", "count"):
        arrow = arrow.append_column(name, pa.array(shown, pa.bool_()))
    for table in (booleans, arrow, pl.from_arrow(arrow)):
        assert bits(model.margin(table)) == expected
    with pytest.raises(InvalidFeatureError, match="price"):
        model.margin([{**ROWS[0], "price": True}])


def test_leniency_lets_pass_what_it_names(model):
    expected = model.margin([{**ROWS[0], "store": None}])
    unknown = {**ROWS[0], "store": "west"}
    assert model.margin([unknown], Leniency(unknown_categories="missing")) == expected
    assert model.margin([{**unknown, "x": 1}], Leniency("ignore", "missing")) == expected
    assert model.margin(pd.DataFrame([{**unknown, "x": 1}]), Leniency("ignore", "missing")) == expected


def test_rows_with_none_become_a_nan_buffer(model):
    table = rows_of(model).table([(1, None, True), [2.5, 3, None], array("d", [4, 5, 6])])
    assert table.typecode == "d"
    np.testing.assert_array_equal(np.array(table).reshape(3, 3), [[1, np.nan, 1], [2.5, 3, np.nan], [4, 5, 6]])


def test_none_and_nan_rows_score_the_same(model):
    with_none = [[None if math.isnan(x) else x for x in row] for row in CODES.tolist()]
    assert bits(np.array(model.engine.margins(rows_of(model).table(with_none)))) == bits(model.margin(CODES))
    assert bits(np.array(model.engine.contributions_many(rows_of(model).table(with_none)))) == bits(
        model.explain(CODES).values
    )
    assert [model.engine.margin(row)[0] for row in with_none] == model.margin(CODES).tolist()


def test_a_result_that_is_not_finite_is_named_by_its_place(model):
    with pytest.raises(NonFiniteResultError, match="instance 1") as refused:
        rows_of(model).predictions([0.0, 1e4, 0.0])
    assert refused.value.details == {"index": 1}
    with pytest.raises(NonFiniteResultError):
        rows_of(model).prediction([1e4])


def test_a_stream_that_can_be_read_once_is_read_once(model):
    assert bits(model.margin(pa.Table.from_pylist(ROWS).to_reader())) == bits(model.margin(CODES))


def array_with(name: str, value: float) -> np.ndarray:
    changed = CODES[:3].copy()
    changed[1, NAMES.index(name)] = value
    return changed


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("price", math.inf, InvalidFeatureError),
        ("price", -math.inf, InvalidFeatureError),
        ("count", 0.5, InvalidFeatureError),
        ("promo", 0.5, InvalidFeatureError),
        ("promo", 2.0, InvalidFeatureError),
        ("store", 3.0, UnknownCategoryError),
        ("store", -1.0, UnknownCategoryError),
        ("store", 0.5, InvalidFeatureError),
        ("code", 0.5, InvalidFeatureError),
        ("depth", math.nan, InvalidFeatureError),
    ],
)
def test_an_array_is_refused_as_the_same_row_in_a_list_is(model, name, value, error):
    rows = array_with(name, value)
    messages = set()
    for given in (rows, np.asfortranarray(rows), rows.tolist(), list(rows), rows.astype(object)):
        with pytest.raises(error, match="row 1") as refused:
            model.predict(given)
        assert (refused.value.details["row"], refused.value.details["feature"]) == (1, name)
        messages.add(str(refused.value))
    assert len(messages) == 1
    # More than one piece of those that a long array is read in.
    many = np.tile(CODES, (100, 1))
    many[-1, NAMES.index(name)] = value
    with pytest.raises(error, match=f"row {len(many) - 1}:"):
        model.predict(many)


def test_unknown_codes_of_an_array_may_be_missing(model):
    expected = model.margin(array_with("store", math.nan))
    for rows in (array_with("store", 7.0), array_with("store", 7.0).tolist()):
        assert bits(model.margin(rows, unknown_categories="missing")) == bits(expected)


def test_predicting_does_not_change_the_array(model):
    rows = array_with("store", 7.0)
    before = rows.copy()
    model.margin(rows, unknown_categories="missing")
    assert bits(rows) == bits(before)


def test_extra_columns_are_ignored_where_the_caller_says_so(model):
    expected = bits(model.margin(CODES))
    more = [{**row, "more": 1} for row in ROWS]
    for rows in (more, pd.DataFrame(more), pl.DataFrame(more, infer_schema_length=None), pa.Table.from_pylist(more)):
        assert bits(model.margin(rows, unknown_features="ignore")) == expected
        with pytest.raises(UnknownFeatureError, match='unknown_features="ignore"'):
            model.margin(rows)


@pytest.mark.parametrize(
    "rows",
    [
        "text", b"bytes", 5, None, {"price": 1}, object(), np.array(["a"] * 7)[None], np.zeros((2, 7), complex),
        np.zeros(7), np.zeros((1, 7), "datetime64[s]"), pd.Series([1.0]), pa.array([1]),
        pl.DataFrame([{**ROWS[0], "price": [1, 2]}]), pa.Table.from_pylist([{**ROWS[0], "price": {"a": 1}}]),
        pd.DataFrame([{**ROWS[0], "price": pd.Timestamp("2026-01-01")}]),
        pl.DataFrame(ROWS[:1]).lazy().select(pl.col("nowhere")), [[object()] * 7], [{**ROWS[0], "price": 1 + 2j}],
    ],
    ids=lambda rows: type(rows).__name__,
)  # fmt: skip
def test_non_tables_are_refused_with_our_error(model, rows):
    with pytest.raises(InvalidRequestError):
        model.predict(rows)


def test_one_row_as_a_table_is_refused_with_a_remedy_that_works(model):
    row = [0.5, 1, 1, 1, 2, 0, 1]
    expected = model.predict([row])
    with pytest.raises(InvalidRequestError, match=re.escape("one row is a list with one list of values, [[...]]")):
        model.predict(row)
    rows = np.array(row, dtype=float)
    with pytest.raises(FeatureCountError, match=re.escape("one row is rows.reshape(1, -1)")):
        model.predict(rows)
    assert model.predict(rows.reshape(1, -1)).tolist() == expected.tolist()


@pytest.mark.timing
def test_array_checks_cost_little_compared_with_prediction(tmp_path):
    names = [f"x{i}" for i in range(63)]
    schema = Schema(tuple(Feature(name) for name in names))
    model = mlrf.load(write_tree_bundle(tmp_path / "b", schema=schema, n_trees=300, max_leaves=31))
    rows = np.random.default_rng(1).normal(size=(5000, 63))
    rows[rows > 1.5] = np.nan

    def cost_s(work):
        began = time.process_time()
        work()
        return time.process_time() - began

    checks = min(cost_s(lambda: read_rows(model.schema, rows, Leniency())) for _ in range(7))
    kernel = min(cost_s(lambda: model.engine.margins(rows.data)) for _ in range(7))
    assert checks < 0.1 * kernel  # 0.05 on a quiet machine


def test_labels_and_probabilities_of_rows(class_model, model):
    predictions = class_model.predict(CODES).tolist()
    assert class_model.label(ROWS) == [rows_of(class_model).label_of(each) for each in predictions]
    assert class_model.probabilities(CODES).tolist() == predictions
    for ask in (model.label, model.probabilities):
        with pytest.raises(ConfigError, match="no classes"):
            ask(CODES)


def test_labels_and_probabilities_follow_the_classes(class_model, model):
    assert rows_of(class_model).label_of([0.1, 0.2, 0.7]) is True
    assert rows_of(class_model).label_of([0.1, 0.7, 0.2]) == 2
    assert rows_of(class_model).probabilities_of([0.1, 0.7, 0.2]) == [0.1, 0.7, 0.2]
    assert (rows_of(model).label_of(0.7), rows_of(model).probabilities_of(0.7)) == (None, None)
