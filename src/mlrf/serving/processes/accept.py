"""Accepts connections: from the worker's own listener, and from those of slots that have no worker.

The kernel continues to give a slot its share of connections when its worker is gone. If no other worker accepted them, they
would wait for the replacement, which in a crash loop may take half a minute to start.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

ACCEPTS_A_TURN = 16
"""Connections that a listener may accept in one iteration of the event loop.

libuv accepts one for each handle on a listener: with one handle, a new connection waits one iteration for each connection
before it. A connection also wakes the handles that find nothing to accept. Measured while a thousand clients connect and send
bursts: a new connection waits at most 125 ms with 8 handles, 69 with 16, 51 with 32; one request on a connection of its own
costs 179, 180 and 197 us of processor time.
"""


def covered_by(slot: int, ready: set[int], n_slots: int) -> set[int]:
    """Return the slots without a ready worker that the worker of `slot` accepts for, spread over the ready ones."""
    if slot not in ready:
        return set()
    willing = sorted(ready)
    return {orphan for orphan in set(range(n_slots)) - ready if willing[orphan % len(willing)] == slot}


class ConnectionAcceptor:
    """The listeners of a worker for one protocol."""

    def __init__(
        self,
        new_connection: Callable[[], asyncio.Protocol],
        tls_options: Mapping[str, Any],
        own: socket.socket,
        siblings: Mapping[int, socket.socket],
        backlog: int,
    ) -> None:
        """Accept connections of one protocol; `siblings` are the listeners of other slots."""
        self._new_connection = new_connection
        self._tls_options = tls_options
        self._own = own
        self._siblings = siblings
        self._backlog = backlog
        self._accepting: list[asyncio.Server] = []
        self._covering: dict[int, list[asyncio.Server]] = {}
        self._to_cover: set[int] = set()
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(self) -> None:
        """Accept from this worker's own listener."""
        self._accepting = await self._accept_from(self._own)

    def cover(self, orphans: set[int]) -> None:
        """Accept for exactly these other slots from now on."""
        if orphans != self._to_cover:
            self._to_cover = orphans
            task = asyncio.get_running_loop().create_task(self._follow())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def end(self, orphans: set[int]) -> None:
        """Stop listening, but accept the connections already queued, those of `orphans` too, since the kernel accepted them."""
        self._to_cover = set()
        await self._follow()
        _close(self._accepting)
        for slot, listener in self._siblings.items():
            if slot in orphans:
                await self._take_queued(listener)
            listener.close()
        await self._take_queued(self._own)
        self._own.close()

    async def _follow(self) -> None:
        async with self._turn:
            for slot in self._covering.keys() - self._to_cover:
                _close(self._covering.pop(slot))
            for slot in self._to_cover - self._covering.keys():
                self._covering[slot] = await self._accept_from(self._siblings[slot])

    async def _accept_from(self, listener: socket.socket) -> list[asyncio.Server]:
        # Duplicates, because the event loop closes its socket and the accept queue must outlive it.
        loop = asyncio.get_running_loop()
        return [
            await loop.create_server(
                self._new_connection, sock=listener.dup(), backlog=self._backlog, **self._tls_options
            )
            for _ in range(ACCEPTS_A_TURN)
        ]

    async def _take_queued(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        while True:
            try:
                client, _ = listener.accept()
            except ConnectionAbortedError:
                continue
            except OSError:
                # The queue is empty, or no file descriptor is left.
                return
            taking = loop.create_task(self._take(client))
            self._tasks.add(taking)
            taking.add_done_callback(self._tasks.discard)
            if self._tls_options:
                # Only started here: a slow TLS handshake must not delay the others.
                await asyncio.sleep(0)
            else:
                await taking

    async def _take(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        # A failed handshake or a closed connection is ignored.
        with suppress(OSError):
            await loop.connect_accepted_socket(self._new_connection, client, **self._tls_options)


class Acceptors:
    """The acceptors of a worker, one for each protocol."""

    def __init__(self, *each: ConnectionAcceptor) -> None:
        self._each = list(each)

    def add(self, acceptor: ConnectionAcceptor) -> None:
        """Add one."""
        self._each.append(acceptor)

    async def begin(self) -> None:
        """Accept from this worker's own listeners."""
        for each in self._each:
            await each.begin()

    def cover(self, orphans: set[int]) -> None:
        """Accept for exactly these other slots from now on."""
        for each in self._each:
            each.cover(orphans)

    async def end(self, orphans: set[int]) -> None:
        """Stop listening, but accept the connections already queued, those of `orphans` too."""
        for each in self._each:
            await each.end(orphans)


def _close(servers: list[asyncio.Server]) -> None:
    for server in servers:
        server.close()
