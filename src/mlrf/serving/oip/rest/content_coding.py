"""Content codings of the protocol's clients, in both directions: gzip (RFC 1952) and deflate (RFC 1950)."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable

from mlrf.core.errors import BodyTooLargeError, MalformedRequestError, UnsupportedMediaTypeError
from mlrf.serving.http.gzip_body import unzip_whole

LEAST_BYTES = 1024
"""A shorter response is sent uncompressed: compressing it costs more than its bytes."""
_LEVEL = 1
_WINDOWS = {b"gzip": 31, b"deflate": 15}
_EITHER_WINDOW = 47
_REFUSED = re.compile(rb";\s*q=0(\.0*)?\s*$")

Code = Callable[[bytes], bytes]


def decoder(encoding: bytes | None, max_bytes: int) -> Code | None:
    """Return the decoder of a Content-Encoding, None if there is none; UnsupportedMediaTypeError for an unsupported one."""
    name = (encoding or b"identity").strip().lower()
    if name == b"identity":
        return None
    if name == b"gzip":
        return lambda body: unzip_whole(body, max_bytes)
    if name == b"deflate":
        return lambda body: _inflated(body, max_bytes)
    raise UnsupportedMediaTypeError(
        "the only Content-Encodings supported are gzip and deflate", accepted=["gzip", "deflate", "identity"]
    )


def accepted(accept_encoding: bytes | None) -> bytes | None:
    """Return the coding for a response, or None; gzip is preferred to deflate, whatever their weights."""
    if not accept_encoding:
        return None
    parts = accept_encoding.lower().split(b",")
    names = {part.partition(b";")[0].strip() for part in parts if not _REFUSED.search(part)}
    return next((name for name in _WINDOWS if name in names), None)


def encoded(content: bytes, coding: bytes) -> bytes:
    """Return content in a coding."""
    compressing = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOWS[coding])
    return compressing.compress(content) + compressing.flush()


def unencoded(content: bytes) -> bytes:
    """Return the decoded content, whatever its coding."""
    return zlib.decompress(content, _EITHER_WINDOW)


def _inflated(body: bytes, max_bytes: int) -> bytes:
    inflating = zlib.decompressobj()
    try:
        plain = inflating.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise MalformedRequestError("the body is not deflate (zlib), though its Content-Encoding says so") from error
    if len(plain) > max_bytes:
        raise BodyTooLargeError(f"the body is longer than {max_bytes} bytes once decompressed", max_bytes=max_bytes)
    if not inflating.eof or inflating.unused_data:
        raise MalformedRequestError("the deflate body is incomplete, or followed by other bytes")
    return plain
