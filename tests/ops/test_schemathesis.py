"""Row 19: requests made from the server's own OpenAPI document, valid and not: no 5xx, and every answer is as the document says.

`make ops` makes 10,000 of them, `make test` a hundred.
"""

from __future__ import annotations

import os

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from bundles import NUMBERS, write_bundle, write_tree_bundle
from mlrf.core.bundle import LinkEntry
from running import serving

N_CASES = 10_000 if os.environ.get("OPS_FULL") else 120
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("described")
    bundles = [
        write_tree_bundle(folder / "sample", name="sample"),
        write_bundle(
            folder / "three",
            name="three",
            schema=NUMBERS,
            task="multiclass",
            link=LinkEntry("softmax"),
            classes=[0, 1, "x"],
            n_outputs=3,
        ),
    ]
    with serving(*bundles, workers=2) as running:
        yield running
        assert running.troubles == []


def test_every_answer_is_as_the_document_says(server):
    url = f"http://127.0.0.1:{server.port}"
    described = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = [each.ok() for each in described.get_all_operations()]
    posts = [each for each in operations if each.method == "post"]
    assert len(posts) >= 6
    statuses: dict[int, int] = {}
    with requests.Session() as session:
        for operation in operations:
            if operation.method == "get":
                # There is nothing to get wrong.
                ask(operation, GenerationMode.POSITIVE, 1, url, session, statuses)
                continue
            for mode in GenerationMode:
                ask(operation, mode, N_CASES // (2 * len(posts)) + 1, url, session, statuses)
    n_asked = sum(statuses.values())
    n_failed = sum(count for status, count in statuses.items() if status >= 500)
    print(f"\nrow 19: {n_asked} cases, {n_failed} answered with 5xx (bar 0), all as described; by status {statuses}")
    assert n_failed == 0
    assert statuses[200] > n_asked // 10
    assert n_asked - statuses[200] > n_asked // 10


def ask(operation, mode, n, url, session, statuses):
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=n, deadline=None, database=None, phases=[Phase.generate],
        derandomize=not os.environ.get("OPS_FULL"), suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def each(case):
        answer = case.call(base_url=url, session=session)
        statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
        case.validate_response(answer, checks=CHECKS)

    each()
