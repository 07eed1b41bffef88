"""Guards of the shared cache that no request meets in a run with a healthy store."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Connection

from mlrf.serving.cache import redis_cache
from mlrf.serving.cache.settings import CacheSettings


def test_a_closed_connection_fails_instead_of_connecting_again():
    """The library would open it in the request's time; our error is not the library's."""
    connection = Connection(host="127.0.0.1", port=1)
    with pytest.raises(ConnectionError, match="was closed"):
        asyncio.run(redis_cache._command(connection, (b"PING",)))


def test_a_cache_size_that_is_none_is_no_number_of_bytes():
    with pytest.raises(ValueError, match="lots"):
        CacheSettings(cache="lots").size_bytes  # noqa: B018
