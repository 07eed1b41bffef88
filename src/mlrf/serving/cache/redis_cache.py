"""A response cache that machines share through Redis or Valkey, with short timeouts and verified values.

1. A request uses a connection that is already open and waits at most `DEADLINE_S`; otherwise it continues without the shared
   cache. Nothing is retried. A connection whose command was cancelled or late is closed, because its answer may still arrive.
2. After a few failures in a row no request uses the cache (a circuit breaker), until the background task, which opens
   connections and probes the server, gets an answer in time.
3. A value contains the hash of its key and a message authentication code. Both are keyed by a secret that only servers with the
   same bundle and options have, so values written by others are ignored. Values are bytes and are never unpickled.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from hmac import compare_digest
from time import perf_counter
from typing import TYPE_CHECKING, Any

from mlrf.core.errors import ConfigError
from mlrf.features.circuit_breaker import PROBE_EVERY_S, Breaker
from mlrf.serving.cache.cache_namespace import CacheNamespace

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

DEADLINE_S = 4e-3
"""Seconds that a request waits for the store."""
_CONNECTIONS = 8
_CONNECT_S = 1.0
_PROBE_S = 0.1
_SMOOTHING = 0.2
_LIFE_S = 86_400
_MAX_VALUE_BYTES = 1 << 20
_HASH_BYTES = 16
_MAGIC = b"mlrf2"
_MAX_STORED_BYTES = _MAX_VALUE_BYTES + 128
"""An answer with what stands before it."""


@dataclass(frozen=True, slots=True)
class SharedCounts:
    """A worker's counters of answers found, answers not found and failed commands, and the gauge of whether it is in use."""

    hits: Callable[[int], None]
    misses: Callable[[int], None]
    failures: Callable[[int], None]
    set_up: Callable[[int], None]


class RedisCache:
    """The shared cache. It belongs to one event loop, and connects at its first use there."""

    def __init__(self, url: str, life_s: float | None, counts: SharedCounts) -> None:
        """Take the address; ConfigError if it is not a Redis address, or the client is not installed."""
        try:
            from redis.asyncio import ConnectionPool  # noqa: PLC0415  an extra, and 0.1 s to import
            from redis.asyncio.retry import Retry  # noqa: PLC0415
            from redis.backoff import NoBackoff  # noqa: PLC0415
            from redis.exceptions import ResponseError  # noqa: PLC0415
        except ImportError as error:
            raise ConfigError("--shared-cache: needs `pip install 'mlrf[redis]'`", option="--shared-cache") from error
        self._refused_error: type[Exception] = ResponseError
        try:
            self._pool: Any = ConnectionPool.from_url(
                url, retry=Retry(NoBackoff(), 0), protocol=2, socket_connect_timeout=_CONNECT_S, health_check_interval=0
            )
        except ValueError as error:
            raise ConfigError(
                f"--shared-cache: not the address of a Redis server: {error}", option="--shared-cache"
            ) from error
        self._life_s = math.ceil(life_s or _LIFE_S)
        self._counts = counts
        self._idle: list[AbstractConnection] = []
        self._n_open = 0
        self._keeper: asyncio.Task[None] | None = None
        self._storing: set[asyncio.Task[None]] = set()
        # Not used before the first probe was answered.
        self._breaker = Breaker(is_open=True)
        self.round_trip_s = math.inf
        """Average of the store's recent response times, in seconds."""

    def is_worthwhile(self, cost_s: float) -> bool:
        """Whether an answer of this cost is worth a round trip; starts the background task at the first call."""
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.get_running_loop().create_task(self._keep())
        return not self._breaker.is_open and bool(self._idle) and cost_s > self.round_trip_s

    async def get(self, of: CacheNamespace, key: bytes) -> bytes | None:
        """Return the response stored under a key; None if there is none or it fails verification."""
        began = perf_counter()
        # One byte more than a value may have, so that a longer one fails its verification without being read whole.
        value = await self._execute(b"GETRANGE", _name(of, key), b"0", b"%d" % _MAX_STORED_BYTES)
        if value is _NOTHING:
            return None
        self._note_round_trip(perf_counter() - began)
        answer = _opened(value, of, key) if value else None
        if answer is None:
            self._counts.misses(1)
            if value:
                self._counts.failures(1)
            return None
        self._counts.hits(1)
        return answer

    def put(self, of: CacheNamespace, key: bytes, answer: bytes) -> None:
        """Store a response in the background; dropped if no connection is free."""
        if self._breaker.is_open or not self._idle or len(answer) > _MAX_VALUE_BYTES:
            return
        value = _sealed(answer, of, key)
        task = asyncio.get_running_loop().create_task(self._store(_name(of, key), value))
        self._storing.add(task)
        task.add_done_callback(self._storing.discard)

    async def _store(self, name: bytes, value: bytes) -> None:
        await self._execute(b"SET", name, value, b"EX", b"%d" % self._life_s)

    async def _execute(self, *command: bytes) -> Any:
        """Send a command over an idle connection; `_NOTHING` if there was no usable answer."""
        if not self._idle:
            return _NOTHING
        connection = self._idle.pop()
        try:
            async with asyncio.timeout(DEADLINE_S):
                value = await _command(connection, command)
        except self._refused_error:
            # The server refused the command (full, read-only, loading), but the connection works.
            self._counts.failures(1)
            self._idle.append(connection)
            return _NOTHING
        except asyncio.CancelledError:
            self._discard(connection)
            raise
        except Exception as error:  # noqa: BLE001  whatever the client library raises, the request does without it
            self._discard(connection)
            self._fail(error)
            return _NOTHING
        self._breaker.succeeded()
        self._idle.append(connection)
        return value

    async def _keep(self) -> None:
        """Open missing connections and probe the server periodically."""
        while True:
            # Whatever the error is, the server is unavailable: try again later.
            with contextlib.suppress(Exception):
                await self._probe()
                while self._n_open < (1 if self._breaker.is_open else _CONNECTIONS):
                    await self._connect()
            await asyncio.sleep(PROBE_EVERY_S)

    async def _connect(self) -> None:
        connection: AbstractConnection = self._pool.make_connection()
        try:
            async with asyncio.timeout(_CONNECT_S):
                await connection.connect()  # type: ignore[no-untyped-call]
        except Exception as error:
            await _close(connection)
            self._fail(error)
            raise
        self._n_open += 1
        self._idle.append(connection)

    async def _probe(self) -> None:
        """Ping the server; a reply in time closes the circuit breaker."""
        if not self._idle:
            return
        connection = self._idle.pop()
        try:
            async with asyncio.timeout(_PROBE_S):
                began = perf_counter()
                await _command(connection, (b"PING",))
        except BaseException as error:
            self._discard(connection)
            self._fail(error)
            raise
        self._idle.append(connection)
        took_s = perf_counter() - began
        if not self._breaker.is_open:
            self._note_round_trip(took_s)
        elif took_s <= DEADLINE_S:
            self.round_trip_s = took_s
            self._breaker.close()
            self._counts.set_up(1)

    def _fail(self, error: BaseException) -> None:
        self._counts.failures(1)
        if self._breaker.failed(str(error)):
            self._counts.set_up(0)
            # Idle connections were opened before the server failed; use new ones from now on.
            while self._idle:
                self._discard(self._idle.pop())

    def _discard(self, connection: AbstractConnection) -> None:
        self._n_open -= 1
        closing = asyncio.get_running_loop().create_task(_close(connection))
        self._storing.add(closing)
        closing.add_done_callback(self._storing.discard)

    def _note_round_trip(self, took_s: float) -> None:
        self.round_trip_s += (took_s - self.round_trip_s) * _SMOOTHING


_NOTHING = object()
"""The store did not answer, so it is unknown whether it has the value."""


async def _command(connection: AbstractConnection, command: tuple[bytes, ...]) -> Any:
    if not connection.is_connected:
        # The library would connect here, and a request would wait for it.
        raise ConnectionError("the connection was closed")
    await connection.send_command(*command, check_health=False)
    return await connection.read_response(disable_decoding=True)


async def _close(connection: AbstractConnection) -> None:
    with contextlib.suppress(Exception):
        await connection.disconnect(nowait=True)


def _hash(of: CacheNamespace, key: bytes) -> bytes:
    return blake2b(key, digest_size=_HASH_BYTES, key=of.secret).digest()


def _name(of: CacheNamespace, key: bytes) -> bytes:
    return b"mlrf:%b:%b" % (of.version.encode(), _hash(of, key).hex().encode())


def _sealed(answer: bytes, of: CacheNamespace, key: bytes) -> bytes:
    head = _MAGIC + bytes.fromhex(of.version) + _hash(of, key)
    return head + _code(head, answer, of) + answer


def _opened(value: bytes, of: CacheNamespace, key: bytes) -> bytes | None:
    """Return the answer in a value; None if its code shows that no server with the same bundle wrote it for this key."""
    head = _MAGIC + bytes.fromhex(of.version) + _hash(of, key)
    start = len(head) + _HASH_BYTES
    answer = value[start:]
    is_authentic = value.startswith(head) and compare_digest(value[len(head) : start], _code(head, answer, of))
    return answer if is_authentic else None


def _code(head: bytes, answer: bytes, of: CacheNamespace) -> bytes:
    code = blake2b(head, digest_size=_HASH_BYTES, key=of.secret)
    code.update(answer)
    return code.digest()
