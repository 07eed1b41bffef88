"""Frames sent a byte at a time, and connections without calls: both end, whatever else is sent."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest

from http2_frames import BLOCK, CALM, HELLO, PRIORITY, connected, opened, word
from http2_server import http2_server
from raw_http2 import ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, SETTINGS, WINDOW_UPDATE
from raw_http2 import frame as frame_of
from running import eventually

SETTLED = HELLO + frame_of(SETTINGS, ACK, 0)
LONG = bytes(1000)
TICK_S = 0.02
MOST = 500
"""Most times that a client sends something more."""


def dripped(client, content):
    """Send content again and again until the server ends the connection; return its last frame."""
    client.settimeout(0)
    received = b""
    for _ in range(MOST):
        time.sleep(TICK_S)
        with suppress(ConnectionError):
            client.sendall(content)
        try:
            more = client.recv(1 << 16)
        except BlockingIOError:
            continue
        except ConnectionError:
            break
        if not more:
            break
        received += more
    else:
        raise AssertionError("the connection is still open")
    return received[received.rindex(GOAWAY.to_bytes(1, "big") + bytes(5)) - 3 :]


def code_in(goaway):
    return int.from_bytes(goaway[13:17], "big")


INCOMPLETE = {
    "headers": frame_of(HEADERS, END_HEADERS, 1, LONG),
    "continued headers": frame_of(HEADERS, 0, 1, BLOCK) + frame_of(CONTINUATION, END_HEADERS, 1, LONG),
    "of an unknown type": frame_of(99, 0, 0, LONG),
    "settings": frame_of(SETTINGS, 0, 0, bytes(600)),
    "a length": b"\0\0\0",
}


@pytest.mark.parametrize("what", INCOMPLETE)
def test_a_frame_sent_by_the_byte_ends_at_the_header_timeout(what):
    with http2_server(header_timeout_s=0.1) as server, connected(server) as client:
        client.sendall(SETTLED + INCOMPLETE[what][: -len(LONG) + 400 if len(INCOMPLETE[what]) > 500 else 2])
        goaway = dripped(client, b"" if what == "a length" else b"\0")
        assert code_in(goaway) == CALM


def test_content_sent_by_the_byte_ends_at_the_request_timeout():
    with http2_server(request_timeout_s=0.1) as server, connected(server) as client:
        client.sendall(SETTLED + opened() + frame_of(DATA, 0, 1, LONG)[:20])
        assert code_in(dripped(client, b"x")) == CALM


def test_content_may_take_longer_than_headers():
    with http2_server(header_timeout_s=0.1) as server, connected(server) as client:
        content = frame_of(DATA, END_STREAM, 1, b"abc")
        client.sendall(SETTLED + opened() + content[:-1])
        (connection,) = eventually(lambda: tuple(server.server._connections))
        began_s = eventually(lambda: connection._frame_since_s)
        eventually(lambda: connection._idle_since_s > began_s + 0.2)
        client.sendall(content[-1:])
        received = b""
        while b"/abc" not in received:
            more = client.recv(1 << 16)
            assert more
            received += more


def test_headers_have_their_time_from_their_first_byte():
    with http2_server() as server, connected(server) as client:
        headers = frame_of(HEADERS, 0, 1, BLOCK)
        client.sendall(SETTLED + headers[:5])
        (connection,) = eventually(lambda: tuple(server.server._connections))
        began_s = eventually(lambda: connection._frame_since_s)
        client.sendall(headers[5:])
        assert eventually(lambda: connection._block_since_s) == began_s


def test_a_frame_that_is_complete_has_no_more_timeout():
    with http2_server() as server, connected(server) as client:
        ping = frame_of(PING, 0, 0, bytes(8))
        client.sendall(SETTLED + ping[:5])
        (connection,) = eventually(lambda: tuple(server.server._connections))
        first_s = eventually(lambda: connection._frame_since_s)
        client.sendall(ping[5:] + ping[:4])
        eventually(lambda: connection._frame_since_s > first_s)
        client.sendall(ping[4:])
        eventually(lambda: not connection._frame_since_s)


WITHOUT_CALL = {
    "pings": frame_of(PING, 0, 0, bytes(8)),
    "acknowledgements of settings": frame_of(SETTINGS, ACK, 0),
    "windows": frame_of(WINDOW_UPDATE, 0, 0, word(1)),
    "priorities": frame_of(PRIORITY, 0, 1, word(3) + b"\0"),
    "unknown frames": frame_of(99, 0, 0),
}


@pytest.mark.parametrize("what", WITHOUT_CALL)
def test_frames_without_a_call_do_not_keep_a_connection_open(what):
    with http2_server(idle_timeout_s=0.1) as server, connected(server) as client:
        client.sendall(SETTLED)
        assert code_in(dripped(client, WITHOUT_CALL[what])) == 0


def test_a_connection_is_idle_since_its_last_call():
    with http2_server() as server, connected(server) as client:
        client.sendall(SETTLED)
        (connection,) = eventually(lambda: tuple(server.server._connections))
        opened_s = connection._idle_since_s
        client.sendall(opened(1, END_HEADERS | END_STREAM))
        answered_s = eventually(lambda: connection._idle_since_s > opened_s and connection._idle_since_s)
        client.sendall(opened(3))
        eventually(lambda: connection._idle_since_s > answered_s + 0.1)
