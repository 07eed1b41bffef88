"""Rows are counted alike, whatever the route and the transport that they came by."""

from __future__ import annotations

import pytest

from arrow_streams import arrow_table, stream
from bundles import ALL_KINDS, write_tree_bundle
from running import serving

ROWS = [[9.5, 3, 1, 1, 1, 7, depth] for depth in (0.125, 0.375, 0.625)]
"""Categories as codes."""
NAMED = [ALL_KINDS.example() | {"depth": row[-1]} for row in ROWS]
TENSOR = {
    "name": "features",
    "shape": [len(ROWS), len(ROWS[0])],
    "datatype": "FP64",
    "data": [number for row in ROWS for number in row],
}
ARROW = ["Content-Type: application/vnd.apache.arrow.stream"]
JSON = ["Content-Type: application/json"]
REQUESTS = {
    "native": ("/predict/batch", {"instances": [{"features": row} for row in ROWS]}, JSON),
    "native, explained": ("/predict/batch", {"instances": [{"features": row} for row in ROWS], "explain": True}, JSON),
    "Arrow": ("/predict/batch", stream(arrow_table()), ARROW),
    "KServe v1": ("/v1/models/sample:predict", {"instances": NAMED}, JSON),
    "KServe v1, explained": ("/v1/models/sample:explain", {"instances": NAMED}, JSON),
    "inference": ("/v2/models/sample/infer", {"inputs": [TENSOR]}, JSON),
    "inference, explained": (
        "/v2/models/sample/infer",
        {"inputs": [TENSOR], "outputs": [{"name": "shap_values"}]},
        JSON,
    ),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(write_tree_bundle(tmp_path_factory.mktemp("counted") / "sample")) as running:
        yield running


def counts(server):
    metrics = server.metrics()
    return metrics["mlrf_instances_total"], metrics["mlrf_explanations_total"]


@pytest.mark.parametrize("kind", REQUESTS)
def test_rows_of_every_route_are_counted(server, kind):
    path, body, headers = REQUESTS[kind]
    n_instances, n_explanations = counts(server)
    answer = server.ask("POST", path, body, headers)
    assert answer.status == 200, answer.body
    n_explained = len(ROWS) if "explained" in kind else 0
    assert counts(server) == (n_instances + len(ROWS), n_explanations + n_explained)
