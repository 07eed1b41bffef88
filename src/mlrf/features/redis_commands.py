"""Sends commands to a Redis or Valkey server, each with exclusive use of a connection and a time limit.

A connection whose command did not finish (late, cancelled, broken) is closed: its response may still arrive and would be taken
for that of the next command. Nothing is retried.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mlrf.core.errors import ConfigError, FeaturesUnavailableError
from mlrf.core.value_text import clip
from mlrf.features.circuit_breaker import ProbingBreaker

if TYPE_CHECKING:
    from redis.asyncio import Redis

CONNECT_LIMIT_S = 1.0
_SHORT_BYTES = 1 << 14
"""Length of the longest value that is read, if no row is longer."""
LOAD_TTL_S = 60
"""Seconds after which a bulk load without progress is abandoned."""
_GRACE_S = 0.001
"""Extra seconds for a response that may have arrived while the event loop was blocked."""
_MAX_CONNECTIONS = 4


class RoundTrips:
    """A pool of connections to one server, opened in the background. Belongs to the event loop that first uses it."""

    def __init__(self, url: str) -> None:
        """Check the address; ConfigError when it is invalid or redis is not installed."""
        try:
            from redis.asyncio import Redis  # noqa: PLC0415  an extra
            from redis.asyncio.retry import Retry  # noqa: PLC0415
            from redis.backoff import NoBackoff  # noqa: PLC0415
            from redis.exceptions import ResponseError  # noqa: PLC0415

            from mlrf.features.redis_parser import ValueTooLongError, limited_parser  # noqa: PLC0415
        except ImportError as error:
            raise ConfigError(f"a shared feature store needs redis: pip install 'mlrf[redis]' ({error})") from error

        def client() -> Redis:
            return Redis.from_url(
                url,
                single_connection_client=True,
                socket_timeout=None,
                socket_connect_timeout=CONNECT_LIMIT_S,
                retry=Retry(NoBackoff(), 0),
                protocol=2,
                parser_class=limited_parser(lambda: self.max_value_bytes),
            )

        try:
            client()
        except ValueError as error:
            raise ConfigError(f"--features: not the address of a store: {error}", option="--features") from error
        self.max_value_bytes = _SHORT_BYTES
        """Length of the longest value that is read; the stores that use the pool increase it to that of their rows."""
        self.is_closed = False
        self._too_long: type[Exception] = ValueTooLongError
        self._client = client
        self._refusal: type[Exception] = ResponseError
        self._free: asyncio.Queue[Redis | Exception] = asyncio.Queue()
        self._connections = 0
        """Number of connections: free, busy or being opened."""
        self._waiting = 0
        self._connecting: set[asyncio.Task[None]] = set()
        self.breaker = ProbingBreaker(self._ping, CONNECT_LIMIT_S)

    async def execute(self, *command: Any, limit_s: float, instead: Sequence[Any] = ()) -> Any:
        """Return the server's response to a command; FeaturesUnavailableError when there is none within the limit.

        Fails at once while the breaker is open. If a value of the response is too long, the command `instead` is sent, with a
        limit that allows for opening a connection.
        """
        if self.breaker.is_open:
            raise silent(self.breaker.reason)
        try:
            answer = await self._within(limit_s, *command)
        except _NoAnswerError as error:
            self.breaker.failed(str(error))
            raise silent(str(error)) from error
        except self._too_long as error:
            if not instead:
                raise FeaturesUnavailableError("the feature store sent a value that is too long") from error
            return await self.execute(*instead, limit_s=max(limit_s, CONNECT_LIMIT_S))
        self.breaker.succeeded()
        return answer

    async def connect(self, limit_s: float) -> None:
        """Open a connection in advance, within the limit; never raises."""
        with suppress(_NoAnswerError, FeaturesUnavailableError, self._too_long):
            await self._within(limit_s, "PING")

    async def close(self) -> None:
        """Close all connections."""
        self.is_closed = True
        self.breaker.stop()
        for task in tuple(self._connecting):
            task.cancel()
        while not self._free.empty():
            free = self._free.get_nowait()
            if not isinstance(free, Exception):
                await _drop(free)

    async def _within(self, limit_s: float, *command: Any) -> Any:
        task = asyncio.ensure_future(self._execute(*command))
        try:
            done, _ = await asyncio.wait({task}, timeout=limit_s)
            if not done:
                done, _ = await asyncio.wait({task}, timeout=_GRACE_S)
        finally:
            task.cancel()
        if not done:
            raise _NoAnswerError(f"no response within {limit_s * 1e3:g} ms")
        return task.result()

    async def _execute(self, *command: Any) -> Any:
        client = await self._connection()
        try:
            answer: Any = await client.execute_command(*command)  # type: ignore[no-untyped-call]
        except self._refusal as error:
            # An error reply is a response: the connection works, and so does the server.
            self._free.put_nowait(client)
            raise FeaturesUnavailableError("the feature store refused the command", reason=clip(str(error))) from error
        except BaseException as error:
            self._connections -= 1
            await _drop(client)
            if isinstance(error, Exception) and not isinstance(error, self._too_long):
                raise _NoAnswerError(f"{type(error).__name__}: {error}") from error
            raise
        self._free.put_nowait(client)
        return answer

    async def _connection(self) -> Redis:
        """Return a free connection; another is opened in the background if there are few."""
        if self._free.empty() and self._connections < _MAX_CONNECTIONS:
            self._connections += 1
            task = asyncio.get_running_loop().create_task(self._add_connection())
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)
        self._waiting += 1
        try:
            free = await self._free.get()
        finally:
            self._waiting -= 1
        if isinstance(free, Exception):
            reason = f"{type(free).__name__}: {free}" if str(free) else f"no connection within {CONNECT_LIMIT_S:g} s"
            raise _NoAnswerError(reason) from free
        return free

    async def _add_connection(self) -> None:
        """Open a connection, which may take longer than a command; later commands use it."""
        try:
            client = self._client()
            async with asyncio.timeout(CONNECT_LIMIT_S):
                await client.initialize()
        except BaseException as error:
            self._connections -= 1
            if not isinstance(error, Exception):
                raise
            if self._waiting:
                self._free.put_nowait(error)
            return
        self._free.put_nowait(client)

    async def _ping(self) -> None:
        await self._within(CONNECT_LIMIT_S, "PING")


_known: weakref.WeakValueDictionary[str, RoundTrips] = weakref.WeakValueDictionary()


def round_trips(url: str) -> RoundTrips:
    """Return this process's connection pool for a server, created on first use, so that later stores find open connections."""
    known = _known.get(url)
    if known is None or known.is_closed:
        known = _known[url] = RoundTrips(url)
    return known


class _NoAnswerError(Exception):
    """A command got no response, with the reason."""


async def _drop(client: Redis) -> None:
    """Close a connection without waiting for the other side."""
    connection, client.connection = client.connection, None
    if connection is not None:
        with suppress(OSError, RuntimeError):
            await connection.disconnect(nowait=True)


def silent(reason: str) -> FeaturesUnavailableError:
    """Return the error for a store that does not respond."""
    return FeaturesUnavailableError("the feature store does not answer", reason=clip(reason))
