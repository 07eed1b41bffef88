"""`mlrf.duckdb`: the bits of `Model.predict` in SQL, and the project's own errors."""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa
import pytest

import mlrf
from bundles import ALL_KINDS, NUMBERS, write_bundle, write_tree_bundle
from mlrf.core.errors import BundleError, ConfigError
from mlrf.core.feature import Feature
from mlrf.core.link import Link
from mlrf.core.schema import Schema

ROWS = 5000  # more than two of DuckDB's vectors


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("duckdb")
    write_tree_bundle(folder / "one")
    multiclass = {"task": "multiclass", "link": Link("softmax"), "classes": ["a", "b", "c"]}
    write_tree_bundle(folder / "three", n_outputs=3, **multiclass)
    write_bundle(folder / "yes", schema=NUMBERS, task="binary", link=Link("sigmoid"), classes=[0, 1])
    return folder


@pytest.fixture(scope="module")
def table():
    random = np.random.default_rng(1)
    rows = []
    for index, (price, depth) in enumerate(random.normal(size=(ROWS, 2)).tolist()):
        row = {"price": None if index % 7 == 0 else price, "depth": depth, "store": ["north", "süd", None][index % 3]}
        rows.append({"id": index, **ALL_KINDS.example(), **row, "promo": bool(index % 2)})
    return pa.Table.from_pylist(rows)


@pytest.fixture
def con(table):
    with duckdb.connect() as connection:
        connection.register("t", table)
        yield connection


def expected(path, table):
    return mlrf.load(path).predict(table, unknown_features="ignore")


def answers(con, query):
    return [row[0] for row in con.sql(query).fetchall()]


def test_a_row_by_name_has_the_bits_of_the_model(folder, table, con):
    mlrf.duckdb.register(con, "sales", folder / "one")
    assert answers(con, "SELECT sales(t) FROM t ORDER BY id") == expected(folder / "one", table).tolist()
    made = ", ".join(f"'{name}': {name}" for name in reversed(ALL_KINDS.names))
    query = f"SELECT sales({{{made}}}) FROM t ORDER BY id"  # noqa: S608
    assert answers(con, query) == expected(folder / "one", table).tolist()


def test_features_in_schema_order_have_the_same_bits(folder, table, con):
    mlrf.duckdb.register(con, "sales", folder / "one")
    con.register("u", table.select(ALL_KINDS.names))
    assert answers(con, "SELECT sales(*COLUMNS(u.*)) FROM u") == expected(folder / "one", table).tolist()


def test_one_feature_is_an_argument(tmp_path, con):
    write_bundle(tmp_path / "b", schema=Schema((Feature("x"),)))
    mlrf.duckdb.register(con, "one", tmp_path / "b")
    assert answers(con, "SELECT one(0.25), one({'x': 0.25})") == expected(tmp_path / "b", pa.table({"x": [0.25]}))


def test_structs_have_probabilities_and_contributions(folder, table, con):
    model = mlrf.load(folder / "three")
    options = {"label": True, "probabilities": True, "margin": True, "contributions": True}
    mlrf.duckdb.register(con, "classes", folder / "three", **options)
    found = answers(con, "SELECT classes(t) FROM t WHERE id < 40 ORDER BY id")
    rows = table.slice(0, 40)
    explained = model.explain(rows, unknown_features="ignore")
    shares = model.probabilities(rows, unknown_features="ignore").tolist()
    margins = model.margin(rows, unknown_features="ignore").tolist()
    labels = model.label(rows, unknown_features="ignore")
    for index, row in enumerate(found):
        assert [*row["prediction"].values()] == [*row["probabilities"].values()] == shares[index]
        assert row["label"] == labels[index]
        assert [*row["margin"].values()] == margins[index]
        assert [*row["base"].values()] == explained.base.tolist()
        by_class = [[*row["contributions"][each].values()] for each in "abc"]
        assert np.array_equal(np.array(by_class).T, explained.values[index])
        assert [*row["contributions"]["a"]] == list(ALL_KINDS.names)


def test_labels_of_a_binary_model_keep_their_type(folder, con):
    mlrf.duckdb.register(con, "yes", folder / "yes", label=True, probabilities=True)
    (answer,) = answers(con, "SELECT yes({'x0': 1, 'x1': 2.0, 'x2': 0.5})")
    assert answer["label"] == 1
    assert answer["probabilities"] == {"0": 1.0 - answer["prediction"], "1": answer["prediction"]}


def test_null_is_missing_and_a_struct_that_is_null_has_no_answer(folder, con):
    mlrf.duckdb.register(con, "yes", folder / "yes")
    query = "SELECT yes(CASE WHEN i % 2 = 0 THEN {'x0': i, 'x1': NULL, 'x2': NULL} END) FROM range(4) r(i)"
    known = pa.table({"x0": [0, 2], "x1": pa.nulls(2), "x2": pa.nulls(2)})
    first, third = expected(folder / "yes", known).tolist()
    assert answers(con, query) == [first, None, third, None]
    assert (
        answers(con, "SELECT yes(CASE WHEN i < 0 THEN {'x0': i, 'x1': 1, 'x2': 1} END) FROM range(2) r(i)")
        == [None] * 2
    )


def test_other_number_types_and_enums_are_read(folder, table, con):
    mlrf.duckdb.register(con, "sales", folder / "one")
    row = {**ALL_KINDS.example(), "price": 9.5, "count": 3, "promo": None, "store": "süd", "depth": 0.25}
    query = (
        "SELECT sales(u) FROM (SELECT * REPLACE (9.5::DECIMAL(18, 4) AS price, 3::HUGEINT AS count, NULL AS promo, "
        "0.25 AS depth, 'süd'::ENUM('north', 'süd') AS store) FROM t LIMIT 1) u"
    )
    assert answers(con, query) == mlrf.load(folder / "one").predict([row]).tolist()


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        ("sales({'price': 1})", "MissingFeatureError: the table has no column 'count'"),
        ("sales(u) FROM (SELECT * REPLACE ('zz' AS price) FROM t) u", "feature 'price': expected a number, got the string \"zz\""),
        ("sales(u) FROM (SELECT * REPLACE ('zz' AS store) FROM t) u", "feature 'store': the string \"zz\" is not one of its"),
        ("sales(u) FROM (SELECT * REPLACE (NULL AS depth) FROM t) u", "feature 'depth'"),
        ("sales(u) FROM (SELECT * REPLACE ([1] AS depth) FROM t) u", "feature 'depth'"),
        ("sales(*COLUMNS(t.*)) FROM t", "sales() has 8 arguments, and the model 7 features; pass the row of a table t by name"),
        ("sales(1)", "sales() has 1 arguments"),
    ],
)  # fmt: skip
def test_wrong_rows_end_the_query_with_our_sentence(folder, con, call, sentence):
    mlrf.duckdb.register(con, "sales", folder / "one")
    with pytest.raises(duckdb.InvalidInputException) as caught:
        con.sql(f"SELECT {call}").fetchall()
    assert sentence in str(caught.value)
    assert "row 0" not in str(caught.value)  # of a vector, which is no row of the table


def test_unknown_categories_are_missing_when_requested(folder, table, con):
    mlrf.duckdb.register(con, "sales", folder / "one", unknown_categories="missing")
    query = "SELECT sales(u) FROM (SELECT * REPLACE ({} AS store) FROM t ORDER BY id) u"
    assert answers(con, query.format("'zz'")) == answers(con, query.format("NULL"))


def test_what_cannot_be_registered_is_a_config_error(folder, tmp_path, con):
    mlrf.duckdb.register(con, "sales", folder / "one")
    with pytest.raises(ConfigError, match=r"con.remove_function\('sales'\)"):
        mlrf.duckdb.register(con, "sales", folder / "one")
    with pytest.raises(ConfigError, match="label: sample has no classes"):
        mlrf.duckdb.register(con, "other", folder / "one", label=True)
    with pytest.raises(ConfigError, match="pass a DuckDB connection"):
        mlrf.duckdb.register("sales.duckdb", "other", folder / "one")
    with pytest.raises(BundleError, match="not 000000000000"):
        mlrf.duckdb.register(con, "other", folder / "one", version="0" * 64)
    write_tree_bundle(tmp_path / "b", schema=Schema((Feature("Price"), Feature("price"))))
    with pytest.raises(ConfigError, match="'Price' and 'price' differ by upper and lower case"):
        mlrf.duckdb.register(con, "other", tmp_path / "b", contributions=True)
