"""Row 19: valid and invalid requests generated from the server's own OpenAPI document; every answer is compared with the document."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from bundles import NUMBERS, write_bundle, write_tree_bundle
from mlrf.core.manifest import LinkEntry
from running import serving
from scoreboard import Bar, Finding, Row

_CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
_PART_CASES = 50
"""Cases that hypothesis generates at a time: it stores what it tried, and becomes slower and larger."""
_MISSPELT = """
from mlrf.serving.http.response_writer import ResponseWriter
write = ResponseWriter._write
def misspelt(self, answer):
    head, end, content = answer.partition(b'\\r\\n\\r\\n')
    if content.startswith(b'{"prediction'):
        content = content.replace(b'"version"', b'"Version"')
    if content.startswith(b'{"model_name'):
        content = content.replace(b'"model_version"', b'"model_Version"')
    write(self, head + end + content)
ResponseWriter._write = misspelt
"""


class _CaseResults:
    """The result of some cases: their numbers by status, and answers that differ from the document."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.wrong: list[str] = []
        self.n_inferred = 0

    def run(self, operation: Any, mode: GenerationMode, n: int, first_seed: int, session: requests.Session) -> None:
        @seed(first_seed)
        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=n, deadline=None, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def each(case: Any) -> None:
            if mode is GenerationMode.POSITIVE:
                _make_fit(case, operation, first_seed)
            answer = case.call(session=session)
            self.statuses[answer.status_code] += 1
            self.n_inferred += answer.status_code == 200 and operation.path.endswith("/infer")
            try:
                case.validate_response(answer, checks=_CHECKS)
            except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001  whatever a check raises is a finding
                self.wrong.append(f"{operation.method} {operation.path}: {error}"[:500])

        each()


def _make_fit(case: Any, operation: Any, first_seed: int) -> None:
    """Set a case's version to the served one, and its tensors to some that the model accepts.

    The schema cannot express which names and shapes match. The rest of the generated body is kept.
    """
    if "version" in (case.path_parameters or {}):
        case.path_parameters["version"] = "1"
    if not operation.path.endswith("/infer"):
        return
    media_type = operation.definition.raw["requestBody"]["content"]["application/json"]
    inputs = media_type["examples"][case.path_parameters["name"]]["value"]["inputs"]
    n = 1 + first_seed % 3
    kept = {name: value for name, value in case.body.items() if name != "outputs"}
    case.body = kept | {"inputs": [each | {"shape": [n], "data": each["data"] * n} for each in inputs]}


def _part(port: int, share: int, shares: int, n_cases: int) -> _CaseResults:
    """Send this share of the cases: for each operation with a body, as many valid ones as invalid ones."""
    described = schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json")
    operations = [each.ok() for each in described.get_all_operations()]
    with_body = [each for each in operations if each.method == "post"]
    results = _CaseResults()
    with requests.Session() as session:
        for operation in operations:
            if operation.method == "get" and share == 0:
                # No invalid request is possible.
                results.run(operation, GenerationMode.POSITIVE, 1, 0, session)
        each_n = n_cases // (2 * len(with_body) * shares) + 1
        for operation in with_body:
            for mode in GenerationMode:
                for first in range(0, each_n, _PART_CASES):
                    n = min(_PART_CASES, each_n - first)
                    results.run(operation, mode, n, share * each_n + first, session)
    return results


def _found(n_cases: int, shares: int, broken_by: str = "") -> Finding:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        bundles = [
            write_tree_bundle(Path(folder) / "sample", name="sample"),
            write_bundle(
                Path(folder) / "three",
                name="three",
                schema=NUMBERS,
                task="multiclass",
                link=LinkEntry("softmax"),
                classes=[0, 1, "x"],
                n_outputs=3,
            ),
        ]
        with serving(*bundles, workers=2, broken_by=broken_by) as server:
            if shares == 1:
                parts = [_part(server.port, 0, 1, n_cases)]
            else:
                with ProcessPoolExecutor(shares, mp_context=multiprocessing.get_context("spawn")) as apart:
                    futures = [apart.submit(_part, server.port, share, shares, n_cases) for share in range(shares)]
                    parts = [each.result() for each in futures]
            troubles = len(server.troubles)
    statuses = sum((each.statuses for each in parts), Counter())
    wrong = [each for part in parts for each in part.wrong]
    for kind, n in Counter(wrong).most_common(5):
        print(f"  {n} times: {kind}")
    n_cases_run = statuses.total()
    print(f"  row 19 by status {dict(statuses)}, {n_cases_run / (time.monotonic() - began):.0f} cases a second")
    return Finding.of(
        Bar("5xx", sum(n for status, n in statuses.items() if status >= 500), 0),
        Bar("answers that differ from the document", len(wrong), 0),
        Bar("cases", n_cases_run, n_cases, at_least=True),
        Bar("answered with 200", statuses[200], n_cases / 10, at_least=True),
        Bar("tensors answered", sum(each.n_inferred for each in parts), n_cases / 25, at_least=True),
        Bar("refused", n_cases_run - statuses[200], n_cases / 10, at_least=True),
        Bar("unexpected log events", troubles, 0),
    )


def measure(planted: bool) -> Finding:
    """Send valid and invalid requests; with the fault, answers misspell a member."""
    return _found(100, 1, _MISSPELT) if planted else _found(10_000, 2)


def brief(planted: bool) -> Finding:
    """Send a hundred."""
    return _found(100, 1, _MISSPELT if planted else "")


ROW = Row(
    19,
    "10,000 schemathesis cases against the server's own OpenAPI document",
    "0 5xx, every answer matches its schema",
    "answers misspell a member",
    measure,
    brief,
)
