"""Bounds the memory of gRPC connections that have not acknowledged the server's settings yet.

1. Until then grpcio's core takes 16 MB of metadata in each call, which are 480 KB on the wire: an index of HPACK's table is one
   byte there and up to 128 in memory. Nothing reports them to Python before the last of them has come.
2. The core ends a connection that has acknowledged nothing after `--header-timeout`: only younger ones can do this.
3. The kernel knows how many bytes a connection has sent, and the calls how many of them were messages. Young connections whose
   other bytes could be more memory than a bound are closed, those with most first; the bound falls when the process has grown.

Twenty connections of 480 KB each made a worker grow by 620 MB, forty that sent on by 2.4 GB.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from time import perf_counter

from mlrf.serving.oip.grpc.connections import close_connections, received_bytes
from mlrf.serving.oip.grpc.footprint import footprint_bytes, trim_memory

_CHECK_S = 0.05
_SMOOTHING = _CHECK_S / 10
"""Growth is what exceeds the average of the last ten seconds; a connection can be young for no longer by default."""
_GROWN_BYTES, _MUCH_GROWN_BYTES = 64 << 20, 192 << 20
"""From the first on, connections in which no message is being read are closed; from the second, all of them: the bytes of an
incomplete message are not known, and count against a limit of their own (unfinished_messages.py)."""
_STEP_BYTES = 16 << 20
"""Further growth after which connections are looked at again at once."""
_PAUSE_S, _PAUSE_SHARE = 0.5, 50
"""Time between looks without growth, and its least ratio to the time that a look takes: 15 ms for ten thousand connections."""
_BYTES_PER_BYTE = 128
_KEPT_BYTES, _USUAL_BYTES = (32 << 20) // _BYTES_PER_BYTE, (128 << 20) // _BYTES_PER_BYTE
"""What may have been sent in all outside messages: when the process has grown, and when not."""
_LEAST_FORGOTTEN = 1024


class UnacknowledgedConnections:
    """Watches the connections of a worker's gRPC port."""

    def __init__(self, young_s: float, count_cut: Callable[[], None]) -> None:
        """Take connections as young for `young_s`; `count_cut` is called for each that is closed."""
        self._young_s = young_s
        self._count_cut = count_cut
        self._port = 0
        self._reading: Callable[[], Collection[str]] = frozenset
        self._known: dict[str, _Known] = {}
        self._n_to_forget = _LEAST_FORGOTTEN
        self._usual_bytes = self._looked_bytes = self._look_at_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self, port: int, reading: Callable[[], Collection[str]]) -> None:
        """Start to watch; call it on the event loop. `reading` returns the peers that a message is being read from."""
        self._port = port
        self._reading = reading
        self._usual_bytes = self._looked_bytes = footprint_bytes()
        self._check()

    def stop(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()

    def note_message(self, peer: str, n_bytes: int) -> None:
        """Record that a peer's message is complete."""
        known = self._known.get(peer)
        if known is None:
            self._known[peer] = known = _Known(perf_counter())
        known.message_bytes += n_bytes

    def _check(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_CHECK_S, self._check)
        footprint = footprint_bytes()
        self._looked_bytes = min(self._looked_bytes, footprint)
        grown_bytes = footprint - self._usual_bytes
        self._usual_bytes += grown_bytes if grown_bytes < 0 else grown_bytes * _SMOOTHING
        has_grown = grown_bytes > _GROWN_BYTES and footprint > self._looked_bytes + _STEP_BYTES
        began_s = perf_counter()
        if has_grown or began_s > self._look_at_s:
            self._looked_bytes = footprint
            spared = () if grown_bytes > _MUCH_GROWN_BYTES else self._reading()
            self._close_some(_KEPT_BYTES if grown_bytes > _GROWN_BYTES else _USUAL_BYTES, spared)
            now_s = perf_counter()
            self._look_at_s = now_s + max(_PAUSE_S, _PAUSE_SHARE * (now_s - began_s))

    def _close_some(self, n_kept_bytes: int, spared: Collection[str]) -> None:
        received = received_bytes(self._port)
        if len(self._known) > self._n_to_forget:
            self._known = {peer: known for peer, known in self._known.items() if peer in received}
            self._n_to_forget = max(_LEAST_FORGOTTEN, 2 * len(self._known))
        young_since_s = perf_counter() - self._young_s
        unknown = _Known(young_since_s)
        others = {}
        for peer, n_bytes in received.items():
            known = self._known.get(peer, unknown)
            if known.since_s >= young_since_s and peer not in spared:
                others[peer] = n_bytes - known.message_bytes
        n_left_bytes = sum(others.values())
        closed = set()
        for peer in sorted(others, key=others.__getitem__, reverse=True):
            if n_left_bytes <= n_kept_bytes:
                break
            n_left_bytes -= others[peer]
            closed.add(peer)
        if closed:
            for _ in range(close_connections(self._port, closed)):
                self._count_cut()
            trim_memory()


class _Known:
    """What the calls of one connection have reported."""

    __slots__ = ("message_bytes", "since_s")

    def __init__(self, since_s: float) -> None:
        self.since_s = since_s
        self.message_bytes = 0
