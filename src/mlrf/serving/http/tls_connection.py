"""Connections over TLS, and the choice between them and plain ones for a server."""

from __future__ import annotations

import asyncio

from mlrf.serving.http.connection import Connection
from mlrf.serving.http.server import HttpServer

_WRITE_BYTES = 128 << 10
"""Most bytes written at once. What is encrypted goes to the socket's own transport, whose buffer the one of TLS does not count:
a response written whole was neither unsent nor unread, whatever its length, and `--write-timeout` did not end it. Pieces above
that transport's limit (64 KiB) are sent at once, and the first that the socket does not take makes it pause."""


class TlsConnection(Connection):
    """A connection over TLS: writes go through the transport, which encrypts them."""

    __slots__ = ("__weakref__",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport once the handshake has ended."""
        self._server.handshake_ended(self)
        super().connection_made(transport)

    def _write(self, answer: bytes) -> None:
        if len(answer) <= _WRITE_BYTES:
            self._transport.write(answer)
            return
        rest = memoryview(answer)
        for start in range(0, len(answer), _WRITE_BYTES):
            self._transport.write(rest[start : start + _WRITE_BYTES])
        if self._paused_since:
            self._server.unsent.note(self, self.unsent_bytes())


def new_connection(server: HttpServer) -> Connection:
    """Return the protocol for a newly accepted connection."""
    if not server.tls_options:
        return Connection(server)
    connection = TlsConnection(server)
    server.handshake_began(connection)
    return connection
