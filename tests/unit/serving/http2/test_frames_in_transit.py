"""Frames that a client sends before it learns that its stream was reset: they are ignored, and other calls are answered."""

from __future__ import annotations

from contextlib import suppress

import pytest

from http2_frames import BLOCK, CALM, CLOSED, HAS_PRIORITY, HELLO, PRIORITY, answered, code_of, connected, opened, word
from http2_server import HEAD, TRAILERS, Echo, http2_server
from raw_http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)
from running import eventually

SETTLED = HELLO + frame(SETTINGS, ACK, 0)
FIELD = b"\x40\x01a\x01b"
"""A field that enters the compression table."""
TABLE_OF_THREE = b"\x83\x86\x84\xc0"
"""A request whose authority is the third entry of the compression table, from the last: an error if there are only two."""


class _Early(Echo):
    """Answers the first content, before the client has finished sending."""

    __slots__ = ()

    def received(self, content):
        super().received(content)
        self.ended()


@pytest.fixture(scope="module")
def server():
    # Floods are counted from one check to the next.
    with http2_server(stream=_Early, max_streams=2, check_s=10.0) as running:
        yield running


RESETS = {
    "answered early": opened(3) + frame(DATA, 0, 3, b"x"),
    "reset for an error": opened(3) + frame(WINDOW_UPDATE, 0, 3, word(0)),
    "malformed": frame(HEADERS, END_HEADERS, 3, BLOCK + b"\0\x01A\x01b"),
    "depends on itself": frame(HEADERS, END_HEADERS | HAS_PRIORITY, 3, word(3) + b"\0" + BLOCK),
}
LATE = {
    "trailers": frame(HEADERS, END_HEADERS | END_STREAM, 3, FIELD),
    "trailers in two frames": frame(HEADERS, END_STREAM, 3, FIELD[:2]) + frame(CONTINUATION, END_HEADERS, 3, FIELD[2:]),
    "all kinds": (
        frame(DATA, 0, 3, b"y") + frame(WINDOW_UPDATE, 0, 3, word(9)) + frame(PRIORITY, 0, 3, word(1) + b"\0")
        + frame(HEADERS, END_HEADERS | END_STREAM, 3, FIELD) + frame(RST_STREAM, 0, 3, word(8))
    ),
}  # fmt: skip


def is_answered(number):
    return lambda kind, flags, stream, _: (
        kind == GOAWAY or (kind == HEADERS and flags & END_STREAM and stream == number)
    )


@pytest.mark.parametrize("late", LATE)
@pytest.mark.parametrize("reset", RESETS)
def test_frames_of_a_reset_stream_are_ignored(server, reset, late):
    after = frame(HEADERS, END_HEADERS | END_STREAM, 5, TABLE_OF_THREE) + frame(DATA, END_STREAM, 1, b"z")
    found = answered(server, SETTLED + opened(1) + RESETS[reset] + LATE[late] + after, is_answered(1))
    assert found[0] == HEADERS


def test_trailers_of_a_refused_stream_are_ignored(server):
    content = SETTLED + opened(1) + opened(3) + opened(5) + frame(HEADERS, END_HEADERS | END_STREAM, 5, FIELD)
    assert answered(server, content + frame(DATA, END_STREAM, 1, b"z"), is_answered(1))[0] == HEADERS


def test_trailers_of_a_call_that_came_after_goaway_are_ignored():
    with http2_server() as server, connected(server) as client:
        client.sendall(SETTLED + opened(1))
        (connection,) = eventually(lambda: tuple(server.server._connections))
        eventually(lambda: connection._streams)
        server.loop.call_soon_threadsafe(connection.end_when_done)
        received = b""
        while b"\x07\0\0\0\0\0" not in received:
            received += client.recv(1 << 16)
        client.sendall(
            opened(3) + frame(HEADERS, END_HEADERS | END_STREAM, 3, FIELD) + frame(DATA, END_STREAM, 1, b"z")
        )
        with suppress(ConnectionError):
            while more := client.recv(1 << 16):
                received += more
        assert frame(HEADERS, END_HEADERS, 1, HEAD) in received
        assert frame(HEADERS, END_HEADERS | END_STREAM, 1, TRAILERS) in received


def test_headers_after_the_end_end_a_call_in_progress():
    class _Never(Echo):
        __slots__ = ()

        def ended(self):
            pass

    content = SETTLED + opened(1, END_HEADERS | END_STREAM) + frame(HEADERS, END_HEADERS, 1, FIELD)
    with http2_server(stream=_Never) as server:
        assert code_of(server, content, RST_STREAM, 1) == CLOSED
        alive = frame(PING, 0, 0, bytes(8))
        assert answered(server, content + alive, lambda kind, flags, *_: kind == PING and flags & ACK)


def test_headers_after_a_reset_by_the_client_end_the_connection(server):
    content = (
        SETTLED + opened(1) + frame(RST_STREAM, 0, 1, word(8)) + frame(HEADERS, END_HEADERS | END_STREAM, 1, FIELD)
    )
    assert code_of(server, content, GOAWAY) == CLOSED


def test_a_flood_of_ignored_headers_ends_the_connection(server):
    content = SETTLED + RESETS["answered early"] + frame(HEADERS, END_HEADERS, 3, FIELD) * 5000
    assert code_of(server, content, GOAWAY) == CALM


def test_few_reset_streams_are_remembered():
    early = b"".join(opened(1 + 2 * n) + frame(DATA, 0, 1 + 2 * n, b"x") for n in range(100))
    with http2_server(stream=_Early, max_streams=8) as server, connected(server) as client:
        client.sendall(SETTLED + early)
        (connection,) = eventually(lambda: tuple(server.server._connections))
        eventually(lambda: connection._last == 199)
        assert len(connection._were_reset) == 8
        client.sendall(frame(HEADERS, END_HEADERS | END_STREAM, 1, FIELD))
        received = b""
        while more := client.recv(1 << 16):
            received += more
        assert b"HEADERS for a stream that has ended" in received
