"""The hostile corpus, sent directly: refused with the expected status, once, and the connection closed."""

from __future__ import annotations

import time

import pytest

from hostile_corpus import HIDDEN, read_corpus

CODES = {
    400: "MALFORMED_REQUEST",
    411: "LENGTH_REQUIRED",
    413: "BODY_TOO_LARGE",
    417: "EXPECTATION_FAILED",
    431: "HEADERS_TOO_LARGE",
}
CORPUS = read_corpus()


@pytest.mark.parametrize("hostile", CORPUS, ids=lambda hostile: hostile.name)
@pytest.mark.parametrize("in_two_pieces", [False, True])
def test_smuggled_request_is_refused_and_never_read(server, hostile, in_two_pieces):
    content = hostile.content + HIDDEN
    with server.client() as client:
        if in_two_pieces:
            half = len(hostile.content) // 2
            client.send(content[:half])
            time.sleep(0.002)
            content = content[half:]
        try:
            client.send(content)
        except (BrokenPipeError, ConnectionResetError):
            assert in_two_pieces, "refused at its first half"
        answer = client.answer()
        assert (answer.status, answer.code) == (hostile.status, CODES[hostile.status])
        assert answer.headers["connection"] == "close"
        assert set(answer.json) == {"error", "code", "details", "request_id"}
        assert answer.headers["x-request-id"] != "hidden"
        assert client.is_closed()


def test_samples_are_many_and_distinct():
    assert len(CORPUS) >= 60
    assert len({hostile.content for hostile in CORPUS}) == len(CORPUS)
