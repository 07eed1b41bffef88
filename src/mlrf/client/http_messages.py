"""`Request` and `Response` of the client, independent of the HTTP library."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Request(NamedTuple):
    """A request: every one is idempotent, so it may be sent again."""

    method: str
    path: str
    body: bytes | None
    headers: Mapping[str, str] = NO_HEADERS


class Response(NamedTuple):
    """A complete response with status 200."""

    headers: Mapping[str, str]
    content: bytes
