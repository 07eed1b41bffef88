"""Decompression of gzip bodies (RFC 1952): exactly one complete member, never inflated past the body limit."""

from __future__ import annotations

import zlib

from mlrf.core.errors import BodyTooLargeError, MalformedRequestError
from mlrf.serving.runtime.thresholds import INFLATED_BYTES

_GZIP_WINDOW = 31
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
        raise _too_long(max_bytes)
    return _inflate(body, min(max_bytes, INFLATED_BYTES), max_bytes)


def unzip_whole(body: bytes, max_bytes: int) -> bytes:
    """Return the decompressed body of any size up to the limit; raises BodyTooLargeError or MalformedRequestError."""
    plain = _inflate(body, max_bytes, max_bytes)
    if plain is None:
        raise _too_long(max_bytes)
    return plain


def _inflate(body: bytes, most_bytes: int, max_bytes: int) -> bytes | None:
    inflating = zlib.decompressobj(_GZIP_WINDOW)
    try:
        plain = inflating.decompress(body, most_bytes + 1)
    except zlib.error as error:
        raise _not_gzip() from error
    if len(plain) > most_bytes:
        if most_bytes == max_bytes:
            raise _too_long(max_bytes)
        return None
    if not inflating.eof or inflating.unused_data:
        raise MalformedRequestError("the gzip body is incomplete, or followed by other bytes")
    return plain


def _not_gzip() -> MalformedRequestError:
    return MalformedRequestError("the body is not gzip, though its Content-Encoding says so")


def _too_long(max_bytes: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"the body is longer than {max_bytes} bytes once decompressed", max_bytes=max_bytes)
