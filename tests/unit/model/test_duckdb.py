"""Relations of DuckDB are tables: predicted by column name, and refused with a typed error."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bundles import ALL_KINDS
from mlrf.core.errors import InvalidRequestError, MissingFeatureError

duckdb = pytest.importorskip("duckdb")


@pytest.fixture
def connection():
    with duckdb.connect() as opened:
        yield opened


@pytest.fixture
def relation(connection, tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([ALL_KINDS.example(), ALL_KINDS.example()]))
    return connection.read_json(str(path))


def test_a_relation_is_answered_as_its_rows_are(model, relation):
    expected = model.predict([ALL_KINDS.example(), ALL_KINDS.example()])
    np.testing.assert_array_equal(model.predict(relation), expected)


def test_a_relation_without_a_feature_is_refused_by_its_name(model, relation):
    with pytest.raises(MissingFeatureError, match="no column 'price'"):
        model.predict(relation.project("* exclude (price)"))


def test_a_query_that_fails_while_it_is_read_is_our_error(model, connection):
    failing = connection.sql("select error('planted') as price")
    with pytest.raises(InvalidRequestError, match=r"cannot be read from the DuckDBPyRelation: .*planted"):
        model.predict(failing)
