"""Messages as they arrive, compressed or not, and their decompression."""

from __future__ import annotations

from typing import NamedTuple

from mlrf.serving.http.inflate import inflate, inflate_whole
from mlrf.serving.runtime.thresholds import INFLATED_BYTES

ENCODINGS = frozenset((b"gzip", b"deflate"))
_WHAT, _HEADER = "message", "grpc-encoding"


class Message(NamedTuple):
    """A message of a call."""

    body: bytes
    coding: str = ""
    """How it is compressed; empty if it is not."""

    def plain_if_short(self, max_bytes: int) -> bytes | None:
        """Return the message itself, or None for one that takes too long to decompress on the event loop.

        Raises BodyTooLargeError or MalformedRequestError.
        """
        if not self.coding:
            return self.body
        return inflate(self.body, self.coding, max_bytes, INFLATED_BYTES, _WHAT, _HEADER)

    def plain(self, max_bytes: int) -> bytes:
        """Return the message itself, decompressed for as long as that takes; errors as of `plain_if_short`."""
        return inflate_whole(self.body, self.coding, max_bytes, _WHAT, _HEADER) if self.coding else self.body
