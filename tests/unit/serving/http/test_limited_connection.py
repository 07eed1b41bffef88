"""Memory that a client may use in a worker: cached heads, closing connections that do not end."""

from __future__ import annotations

import socket

import pytest

from mlrf.serving.error_encoder import ErrorEncoder
from mlrf.serving.http.connection import Connection
from mlrf.serving.http.router import Route, Router
from mlrf.serving.http.server import HttpServer
from mlrf.serving.http.tls_connection import new_connection
from mlrf.serving.request_limits import RequestLimits
from mlrf.serving.telemetry.logs import Log

MOST_HEADS = 1024
LINGER_S = 1.0


class CutsCounted:
    def __init__(self):
        self.cuts = []

    def count_request(self, route, status, elapsed_s):
        pass

    def count_connections(self, change):
        pass

    def count_cut(self, reason):
        self.cuts.append(reason)


class Transport:
    """A client that reads nothing: output beyond `sendable` stays in the buffer."""

    def __init__(self, near: socket.socket) -> None:
        self.near = near
        self.unsent = 0
        self.aborted = self.closed = False

    def get_extra_info(self, _name):
        return self.near

    def set_write_buffer_limits(self, high):
        pass

    def get_write_buffer_size(self):
        return self.unsent

    def write(self, data):
        self.unsent += len(data)

    def can_write_eof(self):
        return True

    def write_eof(self):
        pass

    def close(self):
        self.closed = True

    def abort(self):
        self.aborted = True


@pytest.fixture
def server():
    routes = {"/healthz": Route(1, "/healthz", {b"GET": lambda _body: b"{}"})}
    return HttpServer(Router(routes, 1024), RequestLimits(), CutsCounted(), ErrorEncoder(Log()), lambda: None)


@pytest.fixture
def transport():
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        yield Transport(near)


def connected(server, transport) -> Connection:
    connection = new_connection(server)
    connection.connection_made(transport)
    return connection


def test_heads_are_remembered_but_never_more_than_a_bound(server, transport):
    connection = connected(server, transport)
    for number in range(3 * MOST_HEADS):
        connection.data_received(b"GET /healthz?%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)
        assert 0 < len(server.calls) <= MOST_HEADS
    before = dict(server.calls)
    connection.data_received(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: %b\r\n\r\n" % (b"x" * 4096))
    assert server.calls == before, "a long head is not remembered"


def closing(server, transport, request: bytes) -> Connection:
    connection = connected(server, transport)
    connection.data_received(request)
    return connection


@pytest.mark.parametrize(
    "request_bytes",
    [b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"GARBAGE\r\n\r\n"],
    ids=["asked for", "refused"],
)
@pytest.mark.parametrize("reads", [True, False])
def test_closing_connection_ends_without_the_client(server, transport, request_bytes, reads):
    connection = closing(server, transport, request_bytes)
    transport.unsent = 0 if reads else 10
    limit_s = LINGER_S if reads else server.limits.write_timeout_s
    now = server.clock.now
    connection.check(now + limit_s - 0.1)
    assert not transport.aborted
    # Nothing that it sends extends the time limit.
    connection.data_received(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
    connection.check(now + limit_s + 0.1)
    assert transport.aborted
    assert server.meter.cuts == ([] if reads else ["slow_reader"])
