"""Decompression of gRPC messages: gzip and deflate, never inflated past the limit of messages."""

from __future__ import annotations

import zlib

from mlrf.core.errors import BodyTooLargeError, MalformedRequestError

ENCODINGS = frozenset((b"gzip", b"deflate"))
_ANY_HEADER = 47
"""zlib's and gzip's headers, whichever is there."""


def inflate(body: bytes, max_bytes: int) -> bytes:
    """Return the decompressed message; raises BodyTooLargeError or MalformedRequestError."""
    inflating = zlib.decompressobj(_ANY_HEADER)
    try:
        plain = inflating.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise MalformedRequestError("the message is not compressed as its grpc-encoding says") from error
    if len(plain) > max_bytes:
        raise BodyTooLargeError(f"the message is longer than {max_bytes} bytes once decompressed", max_bytes=max_bytes)
    if not inflating.eof or inflating.unused_data:
        raise MalformedRequestError("the compressed message is incomplete, or followed by other bytes")
    return plain
