"""Frames that cost the server more than the client: each kind ends its connection, or waits for its turn."""

from __future__ import annotations

import socket
import struct

import pytest

from http2_frames import CALM, HELLO, LIMIT_S, PREFACE, answered, code_of, opened, setting, word
from http2_server import TRAILERS, Echo, http2_server
from mlrf.serving.http2.header_blocks import HeaderBlocks, encode_fields
from mlrf.serving.runtime.run_queue import RunQueue
from raw_http2 import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)
from running import eventually

N = 5000
PADDED = 8
WINDOW_SETTING = 4
UNREAD = PREFACE + setting(WINDOW_SETTING, 0) + frame(SETTINGS, ACK, 0)
"""The start of a client that opens no window for its answers."""


class _Long(Echo):
    """Answers with a megabyte."""

    __slots__ = ()

    def ended(self):
        self.path = bytes(1 << 20)
        super().ended()


@pytest.fixture(scope="module")
def server():
    # Floods are counted from one check to the next.
    with http2_server(check_s=30.0) as running:
        yield running


def streams(n, flags=END_HEADERS):
    return b"".join(opened(1 + 2 * k, flags) for k in range(n))


def in_turn(*frames):
    """Each frame made of the number of a stream, one stream after another."""
    return b"".join(b"".join(make(1 + 2 * k) for make in frames) for k in range(N))


FLOODS = {
    "window updates of the connection while answers wait": (
        UNREAD + streams(3, END_HEADERS | END_STREAM) + frame(WINDOW_UPDATE, 0, 0, word(1)) * N
    ),
    "window updates of a stream that let a byte pass": (
        UNREAD + opened(1, END_HEADERS | END_STREAM) + frame(WINDOW_UPDATE, 0, 1, word(1)) * N
    ),
    "window updates of another stream while answers wait": (
        UNREAD + opened(1, END_HEADERS | END_STREAM) + opened(3) + frame(WINDOW_UPDATE, 0, 3, word(1)) * N
    ),
    "settings of many entries": (
        HELLO + streams(200) + frame(SETTINGS, 0, 0, struct.pack(">HI", WINDOW_SETTING, 9) * 2000) * 2
    ),
    "windows of many streams changed": HELLO + streams(200) + setting(WINDOW_SETTING, 9) * (N // 10),
    "streams that the server is made to reset": (
        HELLO + in_turn(opened, lambda n: frame(WINDOW_UPDATE, 0, n, word(0)))
    ),
    "streams reset for content after their end": (
        HELLO + in_turn(lambda n: opened(n) + frame(DATA, 0, n, b"a"), lambda n: frame(2, 0, n, bytes(4)))
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FLOODS)
def test_a_flood_ends_its_connection(server, what):
    with http2_server(stream=_Long, check_s=30.0) as other:
        chosen = other if FLOODS[what].startswith(UNREAD) else server
        assert code_of(chosen, FLOODS[what], GOAWAY) == CALM


def test_windows_of_a_kilobyte_are_no_flood():
    read = frame(WINDOW_UPDATE, 0, 1, word(1 << 10)) + frame(WINDOW_UPDATE, 0, 0, word(1 << 10))
    hello = PREFACE + setting(WINDOW_SETTING, 0) + frame(SETTINGS, ACK, 0) + opened(1, END_HEADERS | END_STREAM)
    with http2_server(stream=_Long, check_s=30.0) as server:
        ended = answered(
            server,
            hello + read * 3000,
            lambda kind, flags, *_: kind == GOAWAY or (kind == HEADERS and flags & END_STREAM),
        )
    assert ended[0] == HEADERS


def test_bytes_read_now_and_then_do_not_extend_the_deadline():
    with (
        http2_server(stream=_Long, write_timeout_s=0.2) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT_S) as client,
    ):
        client.sendall(UNREAD + opened(1, END_HEADERS | END_STREAM))
        received = bytearray()

        def is_given_up():
            client.sendall(frame(WINDOW_UPDATE, 0, 1, word(1)))
            received.extend(client.recv(1 << 16))
            return frame(HEADERS, END_HEADERS | END_STREAM, 1, TRAILERS) in received

        eventually(is_given_up, what="the end of an answer that is read by the byte")


def test_short_content_waits_for_its_turn(monkeypatch):
    """A read holds ten thousand frames of content of a byte, each of which takes as long as one of 16 KiB."""
    turns = []
    put = RunQueue.put
    monkeypatch.setattr(RunQueue, "put", lambda queue, run: turns.append(run) or put(queue, run))
    monkeypatch.setattr(RunQueue, "slice_s", lambda _queue, _n: 0.0)
    content = b"".join(frame(DATA, 0, 1, b"x") for _ in range(200)) + frame(DATA, END_STREAM, 1, b"x")
    with http2_server() as server:
        hello = HELLO + frame(SETTINGS, ACK, 0) + opened(1)
        found = answered(server, hello + content, lambda kind, flags, *_: kind == HEADERS and flags & END_STREAM)
    assert found is not None
    assert len(turns) > 100


@pytest.mark.parametrize("n_bytes", [100, 1000, 15_000])
def test_long_header_blocks_are_not_cached(n_bytes):
    n_read = []
    blocks = HeaderBlocks(lambda fields: n_read.append(fields) or fields)
    fields = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/" + bytes(b"a" * n_bytes)))
    for _ in range(3):
        blocks.request(encode_fields(fields))
    assert len(n_read) == (1 if n_bytes < 500 else 3)
