"""Content codings of the protocol's clients, in both directions: gzip (RFC 1952) and deflate (RFC 1950)."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from mlrf.core.errors import UnsupportedMediaTypeError
from mlrf.core.lazy_pattern import lazy_pattern
from mlrf.serving.http.inflate import WINDOWS, inflate_whole

LEAST_BYTES = 1024
"""A shorter response is sent uncompressed: compressing it costs more than its bytes."""
_LEVEL = 1
_WINDOWS = {name.encode(): bits for name, bits in WINDOWS.items()}
_EITHER_WINDOW = 47
_REFUSED = lazy_pattern(rb";\s*q=0(\.0*)?\s*$")

Code = Callable[[bytes], bytes]


def decoder(encoding: bytes | None, max_bytes: int) -> Code | None:
    """Return the decoder of a Content-Encoding, None if there is none; UnsupportedMediaTypeError for an unsupported one."""
    name = (encoding or b"identity").strip().lower()
    if name == b"identity":
        return None
    if name == b"gzip":
        return lambda body: inflate_whole(body, "gzip", max_bytes)
    if name == b"deflate":
        return lambda body: inflate_whole(body, "deflate", max_bytes)
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
