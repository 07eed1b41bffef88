"""The connections of a port, as the kernel knows them, and the answers that clients leave unsent."""

from __future__ import annotations

import contextlib
import socket

import pytest

from mlrf.serving.oip.grpc.connections import close_connections, received_bytes
from mlrf.serving.oip.grpc.unsent_answers import UnsentAnswers
from running import eventually


class Context:
    def __init__(self, peer):
        self._peer = peer

    def peer(self):
        return self._peer


@contextlib.contextmanager
def connected(host, family):
    with socket.create_server((host, 0), family=family, dualstack_ipv6=host == "::") as listener:
        port = listener.getsockname()[1]
        address = "::1" if host == "::1" else "127.0.0.1"
        with socket.create_connection((address, port)) as client, listener.accept()[0] as accepted:
            yield port, client, accepted


@pytest.mark.parametrize(
    ("host", "family", "name"),
    [
        ("127.0.0.1", socket.AF_INET, "ipv4:127.0.0.1:{}"),
        ("::1", socket.AF_INET6, "ipv6:%5B::1%5D:{}"),
        ("::", socket.AF_INET6, "ipv4:127.0.0.1:{}"),
    ],
)
def test_bytes_are_counted_by_peer(host, family, name):
    with connected(host, family) as (port, client, _):
        client.sendall(bytes(1000))
        peer = name.format(client.getsockname()[1])
        assert eventually(lambda: received_bytes(port).get(peer)) == 1000
        assert received_bytes(port + 1) == {}


def test_closed_connection_keeps_no_received_bytes():
    with connected("127.0.0.1", socket.AF_INET) as (port, client, accepted):
        client.sendall(bytes(1000))
        (peer,) = received_bytes(port)
        assert close_connections(port, {"ipv4:127.0.0.1:1"}) == 0
        assert close_connections(port, {peer}) == 1
        with contextlib.suppress(OSError):
            assert accepted.recv(1) == b""
        with pytest.raises(ConnectionError):
            eventually(lambda: client.recv(1) and None)


def test_longest_unsent_answers_are_closed_beyond_the_bound():
    closed = []
    unsent = UnsentAnswers(60.0, closed.append, max_bytes=100)
    contexts = [Context(f"ipv4:10.0.0.{n}:1") for n in range(5)]
    for context in contexts[:4]:
        unsent.add(context, 25)
    assert closed == []
    unsent.forget(contexts[0])
    unsent.forget(contexts[0])
    unsent.add(contexts[4], 25)
    assert closed == []
    unsent.add(contexts[0], 25)
    assert closed == [{"ipv4:10.0.0.1:1", "ipv4:10.0.0.2:1"}]


def test_only_late_answers_are_swept():
    closed = []
    late, soon = UnsentAnswers(0.0, closed.append), UnsentAnswers(60.0, closed.append)
    for each in (late, soon):
        each.add(Context("ipv4:10.0.0.1:1"), 1)
    soon.sweep()
    assert closed == []
    late.sweep()
    assert closed == [{"ipv4:10.0.0.1:1"}]
