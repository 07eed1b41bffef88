"""Connections accepted beyond `--max-connections`: each stays open briefly, for health probes, and then gets a 503.

Their number is bounded too: one more closes the oldest, which by then has been answered if its client sent a request at once.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from mlrf.serving.http.file_descriptors import OVER_LIMIT
from mlrf.serving.runtime.admission import Admission

_MOMENT_S = 0.1


class RefusableConnection(Protocol):
    """A connection that can be refused or closed."""

    def refuse_connection(self) -> None:
        """Send 503 for too many connections, and close."""
        ...

    def cut(self) -> None:
        """Close without a response."""
        ...


class OverLimit:
    """The connections beyond the limit of one server."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._connections: dict[RefusableConnection, None] = {}

    def add(self, connection: RefusableConnection) -> None:
        """Add a connection; close the oldest when there are too many."""
        if len(self._connections) >= OVER_LIMIT:
            oldest = next(iter(self._connections))
            self.discard(oldest)
            oldest.cut()
        self._connections[connection] = None
        self._admission.note_over_limit(len(self._connections))
        asyncio.get_running_loop().call_later(_MOMENT_S, self._end, connection)

    def discard(self, connection: RefusableConnection) -> None:
        """Remove a connection that has closed."""
        self._connections.pop(connection, None)
        self._admission.note_over_limit(len(self._connections))

    def _end(self, connection: RefusableConnection) -> None:
        if connection in self._connections:
            self.discard(connection)
            connection.refuse_connection()
