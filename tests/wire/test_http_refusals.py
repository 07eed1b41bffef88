"""Requests that HTTP forbids, or for unknown resources: a specific status, and never two answers for one request."""

from __future__ import annotations

import time

import pytest

from bundles import ALL_KINDS
from raw_http import request

BODY = {"features": ALL_KINDS.example()}


def post(*headers: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([b"POST /predict HTTP/1.1", b"Host: a", *headers, b"", b""]) + body


def get(*lines: bytes, first: bytes = b"GET /healthz HTTP/1.1") -> bytes:
    return b"\r\n".join([first, *lines, b"", b""])


CHUNKED = b"Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    ("stream", "fault"),
    [
        (b"GET /" + b"a" * 4000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", "a long line"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 200_000 + b"\r\n\r\n", "a huge header"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 3000, "a head without an end"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 21 + b"\r\n", "many fields"),
        (b"\r\n" * 3000, "empty lines"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_head_over_the_limit_is_431(strict, stream, fault):
    with strict.client() as client:
        client.send(stream)
        answer = client.answer()
        assert (answer.status, answer.code) in ((431, "HEADERS_TOO_LARGE"), (400, "MALFORMED_REQUEST"))
        assert answer.status == 431 or fault == "empty lines"
        assert client.is_closed()


@pytest.mark.parametrize("path", ["/predict/", "/predictions", "/models/", "/models/sample", "/a" * 500])
def test_no_route_is_404(server, path):
    answer = server.ask("GET", path)
    assert (answer.status, answer.code) == (404, "ROUTE_NOT_FOUND")


def test_no_model_is_404_and_says_which_there_are(server):
    answer = server.ask("POST", "/models/nobody/predict", BODY)
    assert (answer.status, answer.code) == (404, "MODEL_NOT_FOUND")
    assert answer.json["details"] == {"model": "nobody"}
    assert "sample, binary, three, exp" in answer.json["error"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/predict", "POST"),
        ("HEAD", "/predict/batch", "POST"),
        ("PUT", "/predict", "POST"),
        ("DELETE", "/models/sample/predict", "POST"),
        ("POST", "/models", "GET, HEAD"),
        ("PATCH", "/metrics", "GET, HEAD"),
        ("OPTIONS", "/healthz", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_405_and_lists_the_right_ones(server, method, path, allow):
    with server.client() as client:
        answer = client.ask(method, path)
        assert (answer.status, answer.headers["allow"]) == (405, allow)
        if method != "HEAD":
            assert answer.code == "METHOD_NOT_ALLOWED"
        assert client.ask("GET", "/healthz").status == 200


def test_a_post_without_a_length_is_411(server):
    with server.client() as client:
        client.send(b"POST /predict HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = client.answer()
        assert (answer.status, answer.code) == (411, "LENGTH_REQUIRED")
        assert client.is_closed()


def test_bodyless_post_needs_no_content_length(server):
    with server.client() as client:
        index = b"POST /v2/repository/index HTTP/1.1\r\nHost: a\r\n\r\n"
        client.send(index + request("GET", "/healthz") + index)
        first, second, third = client.answer(), client.answer(), client.answer()
        assert (first.status, second.status, third.status) == (200, 200, 200)
        assert first.json == third.json != second.json


@pytest.mark.parametrize("length", [b"Content-Length: 2", CHUNKED], ids=["declared", "chunked"])
@pytest.mark.parametrize(
    ("first", "headers", "status"),
    [
        (b"POST /nowhere HTTP/1.1", [], 404),
        (b"PUT /predict HTTP/1.1", [], 405),
        (b"POST /predict HTTP/1.1", [b"Content-Type: text/plain"], 415),
        (b"POST /predict HTTP/1.1", [b"Content-Encoding: br"], 415),
    ],
)
def test_refused_expect_continue_is_answered_at_once(server, first, headers, status, length):
    with server.client() as client:
        client.send(get(b"Host: a", b"Expect: 100-continue", length, *headers, first=first))
        answer = client.answer()
        assert (answer.status, answer.headers["connection"]) == (status, "close")
        assert client.is_closed(), (
            "the body may or may not follow: what comes next cannot be distinguished from a request"
        )


@pytest.mark.parametrize(
    "head",
    [b"GET /healthz HTTP/1.1\nHost: a\n\n", b"GET /healthz HTTP/1.1\r\nHost: a\n", b"GET /healthz HTTP/1.1\n"],
)
def test_bare_lf_is_refused_before_the_timeout(server, head):
    with server.client() as client:
        client.send(head)
        assert (answer := client.answer()).status == 400
        assert "bare LF" in answer.json["error"]
        assert client.is_closed()


def test_a_line_end_in_two_pieces_is_a_line_end(server):
    with server.client() as client:
        for piece in (b"GET /healthz HTTP/1.1\r", b"\nHost: a\r", b"\n\r", b"\n"):
            client.send(piece)
            time.sleep(0.02)
        assert client.answer().status == 200


@pytest.mark.parametrize("chunks", [False, True], ids=["declared", "chunked"])
def test_a_body_over_the_limit_is_413(strict, chunks):
    with strict.client() as client:
        if chunks:
            client.send(post(CHUNKED) + b"400\r\n" + b" " * 1024 + b"\r\n")
            client.send((b"400\r\n" + b" " * 1024 + b"\r\n") * 4)
        else:
            client.send(post(b"Content-Length: 4097") + b" " * 4097)
        answer = client.answer()
        assert (answer.status, answer.code) == (413, "BODY_TOO_LARGE")
        assert answer.json["details"] == {"max_bytes": 4096}
        assert client.is_closed()


def test_a_body_at_the_limit_is_read(strict):
    assert strict.ask("POST", "/predict", b" " * 4096).code == "MALFORMED_REQUEST"


def test_refusal_of_a_large_body_arrives_during_upload(strict):
    """A server that closed at once would reset the connection and take the answer with it."""
    with strict.client() as client:
        client.send(post(b"Content-Length: 3000000"))
        for _ in range(30):
            client.send(b" " * 100_000)
        assert client.answer().status == 413


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=UTF-8", 200),
        ('application/json;charset="utf-8"', 200),
        ("application/json; charset=latin-1", 415),
        ("application/json; foo=1; charset=latin1", 415),
        ('application/json; foo=1 ;charset = "Latin1"', 415),
        ("application/json; foo=charset=latin1; charset=utf-8", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/jsonp", 415),
        ("", 415),
    ],
)
def test_a_declared_type_must_be_json(server, content_type, status):
    with server.client() as client:
        answer = client.ask("POST", "/predict", BODY, [f"Content-Type: {content_type}"])
        assert answer.status == status
        assert answer.code in (None, "UNSUPPORTED_MEDIA_TYPE")
        assert client.ask("GET", "/healthz").status == 200


def test_random_bytes_never_get_an_answer_of_success(server):
    import random  # noqa: PLC0415

    chance = random.Random(7)
    whole = request("POST", "/predict", BODY)
    for _ in range(150):
        stream = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            stream[chance.randrange(len(whole) // 2)] = chance.randrange(256)
        with server.client() as client:
            client.send(bytes(stream))
            client.socket.shutdown(1)
            rest = client.rest()
            assert rest.count(b"HTTP/1.1 ") <= 2
            assert b"HTTP/1.1 5" not in rest
