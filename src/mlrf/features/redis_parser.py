"""A parser of Redis' replies that refuses a long value before it is read: who writes to a store must not fill memory."""

from __future__ import annotations

from collections.abc import Callable

from redis._parsers import _AsyncRESP2Parser


class ValueTooLongError(Exception):
    """A reply contains a value that is longer than the limit; the connection cannot be used any more."""


def limited_parser(limit_bytes: Callable[[], int]) -> type[_AsyncRESP2Parser]:
    """Return a parser class of redis-py for RESP2 that raises ValueTooLongError for values longer than the limit."""

    class LimitedParser(_AsyncRESP2Parser):
        async def _read(self, length: int) -> bytes:
            if length > limit_bytes():
                raise ValueTooLongError
            return await super()._read(length)

    return LimitedParser
