"""The limits of HTTP/2 connections: streams, header bytes and control frames that a client may send, and timeouts."""

from __future__ import annotations

from dataclasses import dataclass

MAX_LIST_BYTES = 16 << 10
"""Most bytes of a header list, counted with 32 for each field, that a call may have."""
MAX_BLOCK_BYTES = 16 << 10
"""Most bytes of a compressed header block."""
MAX_CONTROL_FRAMES = 2_000
"""Most frames within half a second that open no stream and carry no content: pings, settings, resets and so on.
A frame that takes longer counts as several."""


@dataclass(frozen=True, slots=True)
class Http2Limits:
    """Limits of clients in bytes and seconds, as over HTTP/1.1."""

    max_connections: int
    header_timeout_s: float
    """Seconds for the handshake, for the acknowledgement of settings, for a header block from its first byte, and for any
    other frame except content."""
    request_timeout_s: float
    """Seconds for a frame of content."""
    idle_timeout_s: float
    """Seconds for a connection without requests."""
    write_timeout_s: float
    max_streams: int = 256
    """Most concurrent requests of one connection; clients hold further ones back, or have them refused unprocessed."""
    max_all_streams: int = 16_384
    """Most concurrent requests of all connections together."""
