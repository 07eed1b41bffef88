"""Decompression of what clients send: one complete stream, never inflated past a limit."""

from __future__ import annotations

import zlib

from mlrf.core.errors import BodyTooLargeError, MalformedRequestError

WINDOWS = {"gzip": 31, "deflate": 15}
"""zlib's `wbits` of each coding."""


def inflate(
    content: bytes, coding: str, max_bytes: int, most_bytes: int, what: str = "body", header: str = "Content-Encoding"
) -> bytes | None:
    """Return decompressed content, or None if it is longer than `most_bytes` but may be within `max_bytes`.

    Raises BodyTooLargeError or MalformedRequestError, in which `what` is the content and `header` names its coding.
    """
    most_bytes = min(most_bytes, max_bytes)
    inflating = zlib.decompressobj(WINDOWS[coding])
    try:
        plain = inflating.decompress(content, most_bytes + 1)
    except zlib.error as error:
        raise MalformedRequestError(f"the {what} is not {coding}, though its {header} says so") from error
    if len(plain) > most_bytes:
        if most_bytes == max_bytes:
            raise too_long(what, max_bytes)
        return None
    if not inflating.eof or inflating.unused_data:
        raise MalformedRequestError(f"the {coding} {what} is incomplete, or followed by other bytes")
    return plain


def inflate_whole(
    content: bytes, coding: str, max_bytes: int, what: str = "body", header: str = "Content-Encoding"
) -> bytes:
    """Return decompressed content of any length up to the limit; errors as of `inflate`."""
    plain = inflate(content, coding, max_bytes, max_bytes, what, header)
    if plain is None:
        raise too_long(what, max_bytes)
    return plain


def too_long(what: str, max_bytes: int) -> BodyTooLargeError:
    """Return the error of content that inflates past the limit."""
    return BodyTooLargeError(f"the {what} is longer than {max_bytes} bytes once decompressed", max_bytes=max_bytes)
