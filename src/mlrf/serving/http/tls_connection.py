"""Connections over TLS, and the choice between them and plain ones for a server."""

from __future__ import annotations

import asyncio

from mlrf.serving.http.connection import Connection
from mlrf.serving.http.server import HttpServer


class TlsConnection(Connection):
    """A connection over TLS: writes go through the transport, which encrypts them."""

    __slots__ = ("__weakref__",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport once the handshake has ended."""
        self._server.handshake_ended(self)
        super().connection_made(transport)

    def _write(self, answer: bytes) -> None:
        self._transport.write(answer)


def new_connection(server: HttpServer) -> Connection:
    """Return the protocol for a newly accepted connection."""
    if not server.tls_options:
        return Connection(server)
    connection = TlsConnection(server)
    server.handshake_began(connection)
    return connection
