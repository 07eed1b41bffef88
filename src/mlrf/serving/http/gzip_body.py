"""Decompression of gzip bodies (RFC 1952): exactly one complete member, never inflated past the body limit."""

from __future__ import annotations

from mlrf.serving.http.inflate import inflate, inflate_whole, too_long
from mlrf.serving.runtime.thresholds import INFLATED_BYTES

_LENGTH_BYTES = 4
_MOST_RATIO = 1032
"""The largest compression ratio of deflate."""
_MAGIC = b"\x1f\x8b\x08"


def unzip_short(body: bytes, max_bytes: int) -> bytes | None:
    """Return the decompressed body, or None for one that takes too long on the event loop.

    Raises BodyTooLargeError or MalformedRequestError. A gzip member ends with its decompressed length. That may be false, but
    where it is above the limit and the body could inflate to that much, the body is refused without decompression.
    """
    claimed = int.from_bytes(body[-_LENGTH_BYTES:], "little")
    if max_bytes < claimed <= _MOST_RATIO * len(body) and body.startswith(_MAGIC):
        raise too_long("body", max_bytes)
    return inflate(body, "gzip", max_bytes, INFLATED_BYTES)


def unzip_whole(body: bytes, max_bytes: int) -> bytes:
    """Return the decompressed body of any size up to the limit; raises BodyTooLargeError or MalformedRequestError."""
    return inflate_whole(body, "gzip", max_bytes)
