"""Connections over TLS, and the choice between them and plain ones for a server."""

from __future__ import annotations

import asyncio

from mlrf.serving.http.connection import Connection
from mlrf.serving.http.server import HttpServer

_WRITE_BYTES = 128 << 10
"""Most bytes written at once. The TLS transport passes encrypted bytes to the socket's transport and does not count what waits
in that one's buffer. A response written at once therefore never counted as unread, however long it was, and `--write-timeout`
did not end it. Of pieces that are longer than the buffer limit of the socket's transport (64 KiB), the first that the socket
does not accept makes that transport pause writing."""


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
