"""Connections beyond `--max-connections`: open for a moment each, so that health can be asked for, and refused then.

Their number is bounded too: one more ends the oldest. A client that asks at once is answered before that, even in a flood.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from mlrf.serving.http.file_descriptors import OVER_LIMIT
from mlrf.serving.runtime.admission import Admission

_MOMENT_S = 0.1


class Ending(Protocol):
    """A connection that can be ended."""

    def refuse_connection(self) -> None:
        """Answer that there are too many connections, and close."""
        ...

    def cut(self) -> None:
        """Close without an answer."""
        ...


class OverLimit:
    """The connections beyond the limit of one server."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._connections: dict[Ending, None] = {}

    def add(self, connection: Ending) -> None:
        """Let a connection stay for a moment."""
        if len(self._connections) >= OVER_LIMIT:
            oldest = next(iter(self._connections))
            self.discard(oldest)
            oldest.cut()
        self._connections[connection] = None
        self._admission.note_over_limit(len(self._connections))
        asyncio.get_running_loop().call_later(_MOMENT_S, self._end, connection)

    def discard(self, connection: Ending) -> None:
        """Forget a connection."""
        self._connections.pop(connection, None)
        self._admission.note_over_limit(len(self._connections))

    def _end(self, connection: Ending) -> None:
        if connection in self._connections:
            self.discard(connection)
            connection.refuse_connection()
