"""Bodies of other platforms that are no rows: each refused with what is wrong, before any row is read."""

from __future__ import annotations

import pytest

from bundles import write_tree_bundle
from mlrf.core.feature import Feature, Kind
from mlrf.core.schema import Schema
from running import serving

SCHEMA = Schema((Feature("a"), Feature("b"), Feature("c", Kind.CATEGORICAL, ("10", "20"))))
CSV, JSON = "text/csv", "application/json"
V1, INVOCATIONS = "/v1/models/sample:predict", "/invocations"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(
        write_tree_bundle(tmp_path_factory.mktemp("refusals") / "b", schema=SCHEMA), options=["--max-infer-rows", "10"]
    ) as server:
        yield server
        assert server.troubles == []


@pytest.mark.parametrize(
    ("path", "kind", "body", "status", "message"),
    [
        (INVOCATIONS, "text/plain", b"1,2,3", 415, "text/plain"),
        (INVOCATIONS, JSON, b"[1]", 422, "must be an object"),
        (INVOCATIONS, JSON, b'{"dataframe_records": {"a": 1}}', 422, "must be an array of objects"),
        (INVOCATIONS, JSON, b'{"dataframe_records": [5]}', 422, "must be an object by name"),
        (INVOCATIONS, JSON, b'{"inputs": {"a": {"0": 1}, "b": {"1": 2}, "c": {"0": "10"}}}', 422, "row labels"),
        (V1, JSON, b'{"instances": 5}', 422, "must be an array of rows"),
        (V1, JSON, b'{"instances": [[' + b"0," * 20_000 + b"0]]}", 413, " values"),
        (INVOCATIONS, f"{CSV}; header=maybe", b"1,2,10", 422, "header"),
        (INVOCATIONS, f"{CSV}; charset=latin-1", b"a,b,c\n1,2,10", 415, "UTF-8"),
        (INVOCATIONS, f"{CSV}; header=absent", b"1,2,10", 422, "10"),
        (INVOCATIONS, CSV, b",a,b,c\n0,1,2,10\n", 422, "to_csv(index=False)"),
        (INVOCATIONS, CSV, b"Unnamed: 0,a,b,c\n0,1,2,10\n", 422, "to_csv(index=False)"),
        (INVOCATIONS, CSV, b"a,b,c,d\n1,2,10,0\n", 422, "send every name once"),
    ],
)
def test_what_is_no_row_is_refused(server, path, kind, body, status, message):
    answer = server.ask("POST", path, body, [f"Content-Type: {kind}"])
    assert (answer.status, message in answer.json["error"]) == (status, True), answer.body
