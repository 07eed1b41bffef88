"""A chunked body does not depend on segmentation, and every byte after it belongs to the next request."""

from __future__ import annotations

import itertools

import hypothesis.strategies as st
import pytest
from hypothesis import given

from mlrf.core.errors import BodyTooLargeError, MalformedRequestError
from mlrf.serving.http.chunked_body import ChunkedBody
from raw_http import chunked


def fed(pieces, max_bytes=1 << 20):
    """The body of these pieces, and what they hold beyond it."""
    body, rest = ChunkedBody(max_bytes), b""
    for piece in pieces:
        position = 0 if body.done else body.feed(piece, 0)
        rest += piece[position:] if body.done else b""
    assert body.done
    return bytes(body.body), rest


def cut(data, positions):
    edges = [0, *sorted({position % (len(data) + 1) for position in positions}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@given(
    st.binary(max_size=300),
    st.lists(st.integers(1, 50)),
    st.lists(st.integers(0, 10_000), max_size=12),
    st.binary(max_size=9),
)
def test_cuts_change_nothing(content, sizes, positions, after):
    assert fed(cut(chunked(content, sizes) + after, positions)) == (content, after)


def test_one_byte_at_a_time_changes_nothing():
    stream = b'A;x=y\r\n0123456789\r\n02;q="a; \\"b\\"" ; c\r\nab\r\n0\r\nA: b\r\nC: d\r\n\r\n'
    assert fed([bytes([b]) for b in stream]) == (b"0123456789ab", b"")


def test_a_body_past_the_limit_is_refused_before_it_is_read():
    body = ChunkedBody(10)
    body.feed(b"a\r\n0123456789\r\n", 0)
    with pytest.raises(BodyTooLargeError):
        body.feed(b"1\r\n", 0)
    with pytest.raises(BodyTooLargeError):
        ChunkedBody(10).feed(b"FFFFFFFF\r\n", 0)


@given(st.binary(max_size=40), st.lists(st.integers(0, 100), max_size=5))
def test_body_parsing_is_independent_of_segmentation(data, positions):
    def outcome(pieces):
        body, consumed = ChunkedBody(1 << 10), 0
        try:
            for piece in pieces:
                consumed += body.feed(piece, 0)
                if body.done:
                    break
        except (MalformedRequestError, BodyTooLargeError) as error:
            return type(error)
        return bytes(body.body), body.done, consumed

    assert outcome(cut(data, positions)) == outcome([data])
