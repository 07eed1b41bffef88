"""Status lines of responses: one for every status of the status table."""

from __future__ import annotations

from http import HTTPStatus

from mlrf.serving.error_status import INTERNAL, OK, TABLE
from mlrf.serving.http.server import HttpServer

RENAMED = {413: "Content Too Large", 422: "Unprocessable Content"}
"""By RFC 9110; Python has these names since 3.13."""


def phrase_of(status: int) -> str:
    return RENAMED.get(status, HTTPStatus(status).phrase)


def test_every_row_of_the_table_has_its_reason_phrase():
    for each in (*TABLE.values(), INTERNAL):
        assert each.reason == phrase_of(each.http)


def test_every_status_has_its_line():
    assert {OK, INTERNAL.http, *(each.http for each in TABLE.values())} == HttpServer.status_lines.keys()
    for status, line in HttpServer.status_lines.items():
        assert line == f"HTTP/1.1 {status} {phrase_of(status)}\r\n".encode()
