"""Request heads: what is accepted and what is refused."""

from __future__ import annotations

import time

import hypothesis.strategies as st
import pytest
from hypothesis import given

from mlrf.core.errors import ExpectationFailedError, HeadersTooLargeError, MalformedRequestError, RequestError
from mlrf.serving.http.head import Head, has_bare_lf, parse_head


def head(*lines: str, first: str = "POST /predict?a=b HTTP/1.1") -> Head:
    return parse_head("\r\n".join([first, "Host: a", *lines, "", ""]).encode("latin-1"), 10)


def test_a_head_is_understood():
    read = head(
        "Content-Length: 12", "content-type: application/json", "CONTENT-ENCODING: gzip", "X-Request-ID: abc", "X: y"
    )
    assert read == Head(
        b"POST", b"/predict?a=b", True, False, 12, False, b"application/json", b"gzip", False, b"abc", None, host=b"a"
    )


@pytest.mark.parametrize("blanks", ["", " ", " \t "])
def test_blanks_around_a_value_are_stripped(blanks):
    values = {
        "X-Request-ID": b"abc",
        "X-Request-Timeout-Ms": b"250",
        "Content-Encoding": b"gzip",
        "Origin": b"https://a",
    }
    read = head(*(f"{name}:{blanks}{value.decode()}{blanks}" for name, value in values.items()))
    assert [read.request_id, read.timeout_ms, read.content_encoding, read.origin] == list(values.values())


def test_chunks_and_expectations_are_understood():
    read = head("Transfer-Encoding: Chunked", "Expect: 100-Continue")
    assert (read.chunked, read.expects_continue, read.content_length) == (True, True, None)
    with pytest.raises(ExpectationFailedError):
        head("Expect: 101")


def test_an_expectation_of_http_1_0_is_not_met():
    assert not head("Expect: 100-continue", "Content-Length: 1", first="POST / HTTP/1.0").expects_continue


@pytest.mark.parametrize(
    ("connection", "version", "stays"),
    [
        (None, "1.1", True), (None, "1.0", False), ("close", "1.1", False), ("keep-alive", "1.0", True), ("Keep-Alive", "1.1", True),
        ("x, CLOSE", "1.1", False), ("keep-alive, close", "1.0", False), ("upgrade", "1.1", False), ("closed", "1.1", True),
    ],
)  # fmt: skip
def test_the_connection_stays_as_the_client_says(connection, version, stays):
    lines = [] if connection is None else [f"Connection: {connection}"]
    assert head(*lines, first=f"GET / HTTP/{version}").keep_alive is stays


def test_two_connection_headers_count_as_one():
    assert not head("Connection: keep-alive", "Connection: close", first="GET / HTTP/1.1").keep_alive


def test_only_heads_without_unique_fields_are_cached():
    assert head("Content-Length: 1").is_repeatable
    for line in ("X-Request-ID: a", "Transfer-Encoding: chunked", "Expect: 100-continue", "Connection: close"):
        assert not head(line).is_repeatable


def test_the_number_of_fields_is_limited():
    head(*["X: y"] * 9)
    with pytest.raises(HeadersTooLargeError):
        head(*["X: y"] * 10)


@pytest.mark.parametrize("identity", ["", " ", "a b", "ä", 'a"b', "a\tb", "x" * 129, "<script>"])
def test_invalid_request_id_is_replaced(identity):
    assert head(f"X-Request-ID: {identity}").request_id is None


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX:\r\n\tContent-Length: 3\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: y\0z\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX\0: y\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GE\0T / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\0\n\r\n",
    ],
)
def test_folded_lines_and_nul_are_refused(raw):
    """By llhttp, in every version that may be installed."""
    with pytest.raises(MalformedRequestError):
        parse_head(raw, 10)


@pytest.mark.parametrize("digits", ["9" * 19, "0" * 19, "9" * 4000])
def test_a_length_of_more_digits_than_any_length_has_is_refused(digits):
    with pytest.raises(MalformedRequestError):
        head(f"Content-Length: {digits}")


def test_a_length_of_zeros_is_refused_by_its_digits_alone():
    """llhttp takes them: they are not overflow."""
    with pytest.raises(MalformedRequestError, match="Content-Length is not a number"):
        head(f"Content-Length: {'0' * 400}7")


@given(st.binary(max_size=60))
def test_any_bytes_are_a_head_or_refused(noise):
    for raw in (noise + b"\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n" + noise + b"\r\n\r\n"):
        try:
            assert isinstance(parse_head(raw, 10), Head)
        except RequestError:
            continue


@given(st.integers(0, 40), st.integers(0, 255))
def test_one_wrong_byte_never_changes_where_a_body_ends(position, byte):
    raw = bytearray(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n")
    raw[position] = byte
    try:
        read = parse_head(bytes(raw), 10)
    except MalformedRequestError:
        return
    # The length, or an unknown header: then there is no length at all, which a POST must have.
    assert not read.chunked
    assert read.content_length in (7, None)


def test_a_bare_line_feed_is_found_wherever_it_is():
    assert not has_bare_lf(b"GET / HTTP/1.1\r\nHost: a\r\nX: \r")
    assert has_bare_lf(b"GET / HTTP/1.1\r\nHost: a\n")
    assert has_bare_lf(b"GET / HTTP/1.1\nHost: a\r\n")
    assert not has_bare_lf(b"a\nGET / HTTP/1.1\r\n", 2)


def test_head_sent_byte_by_byte_is_cheap_to_scan():
    head = b"GET / HTTP/1.1\r\nX: " + b"a" * 32_000
    began_s = time.thread_time()
    for _ in range(5_000):
        assert not has_bare_lf(head)
    assert time.thread_time() - began_s < 1.0
