"""Listeners of a server's worker slots."""

from __future__ import annotations

import pytest

from mlrf.serving.processes.listeners import bind_listeners


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_addresses_in_the_log_can_be_connected_to(host, shown):
    """`HOST:PORT` as gRPC's clients take it, and a URL: an IPv6 address in brackets."""
    listeners = bind_listeners(host, 0, 1, 16)
    try:
        port = listeners.address[1]
        assert (listeners.host_and_port, listeners.url) == (f"{shown}:{port}", f"http://{shown}:{port}")
    finally:
        for each in listeners.sockets:
            each.close()
