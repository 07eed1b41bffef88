"""Status lines of responses: one for every status of the status table."""

from __future__ import annotations

from http import HTTPStatus

from mlrf.serving.error_status import INTERNAL, OK, TABLE
from mlrf.serving.http.server import HttpServer

RENAMED = {413: "Content Too Large", 422: "Unprocessable Content"}
"""By RFC 9110; Python has these names since 3.13."""


def test_every_status_has_its_line():
    assert {OK, INTERNAL.http, *(each.http for each in TABLE.values())} == HttpServer.status_lines.keys()
    for status, line in HttpServer.status_lines.items():
        assert line == f"HTTP/1.1 {status} {RENAMED.get(status, HTTPStatus(status).phrase)}\r\n".encode()
