"""The shared store: rows by key in a hash of a Redis or Valkey server, for several machines.

One hash holds all rows of a model, schema and key: HMGET reads many from one state, and RENAME makes a bulk load current in
one step. Look-ups made within one turn of the event loop go out as one command. Each row carries a digest of its key and bytes,
so that damaged values are detected.

    mlrf:MODEL:FORMAT:rows      field: key, value: row and 8 bytes of its digest
    mlrf:MODEL:FORMAT:meta      format, source
    mlrf:MODEL:FORMAT:loading   the bulk load under way; `:next` holds its rows, `:pending` the rows pushed meanwhile
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Self

from mlrf.core.errors import FeaturesUnavailableError, InvalidStoredRowError
from mlrf.features.as_of import MAX_AS_OF_US, MIN_AS_OF_US
from mlrf.features.interface import TIMEOUT_S, Key, Loaded, Pushed, Record, RowsSource, StoredRow, StoreStats
from mlrf.features.redis_address import wrong_in_redis_address
from mlrf.features.redis_commands import LOAD_TTL_S, RoundTrips, round_trips, silent
from mlrf.features.row_format import RowFormat

SLOW_S = 10.0
"""Seconds for commands outside of requests: pushes, loads, counts."""
_DIGEST_BYTES = 8
_DIGITS = 16
_KEYS_A_COMMAND = 512
MAX_PUSHED = 100_000
_PUT = """
local function later(value, other)
  if not other or #other < 16 then return true end
  local time, stands = struct.unpack('<l', value, 9), struct.unpack('<l', other, 9)
  if stands < FIRST or stands > LAST then return true end
  return time == -9223372036854775808 or stands <= time
end
local function put(name, key, value)
  if later(value, redis.call('HGET', name, key)) then
    redis.call('HSET', name, key, value)
    return 1
  end
  return 0
end
""".replace("FIRST", str(MIN_AS_OF_US)).replace("LAST", str(MAX_AS_OF_US))
_PUSH = (
    _PUT
    + """
local written = 0
local loading = redis.call('EXISTS', KEYS[2]) == 1
for i = 1, #ARGV, 2 do
  written = written + put(KEYS[1], ARGV[i], ARGV[i + 1])
  if loading then put(KEYS[3], ARGV[i], ARGV[i + 1]) end
end
if loading then redis.call('EXPIRE', KEYS[3], redis.call('TTL', KEYS[2]) + 1) end
return written
"""
)
_BEGIN = """
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'EX', ARGV[2]) then return 0 end
redis.call('UNLINK', KEYS[2], KEYS[3])
return 1
"""
_ADD = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
for i = 1, 3 do redis.call('EXPIRE', KEYS[i], ARGV[2]) end
return 1
"""
_ABANDON = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3]) end
"""
_FINISH = (
    _PUT
    + """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
if redis.call('HLEN', KEYS[4]) ~= tonumber(ARGV[4]) then return -1 end
local pushed = redis.call('HGETALL', KEYS[3])
for i = 1, #pushed, 2 do put(KEYS[4], pushed[i], pushed[i + 1]) end
redis.call('UNLINK', KEYS[1])
redis.call('PERSIST', KEYS[4])
if redis.call('EXISTS', KEYS[4]) == 1 then redis.call('RENAME', KEYS[4], KEYS[1]) end
redis.call('UNLINK', KEYS[2], KEYS[3])
redis.call('HSET', KEYS[5], 'format', ARGV[2], 'source', ARGV[3])
return 1
"""
)
_TOO_LONG = 0
"""What the script for short values returns in place of a long one."""
_READ_SHORT = """
local values = {}
for i = 2, #ARGV do
  if redis.call('HSTRLEN', KEYS[1], ARGV[i]) > tonumber(ARGV[1]) then
    values[i - 1] = 0
  else
    values[i - 1] = redis.call('HGET', KEYS[1], ARGV[i])
  end
end
return values
"""
_Waiting = tuple[Sequence[Key], asyncio.Future[list[StoredRow | None]]]


class RedisStore:
    """Rows of one model and format on one server. Belongs to the event loop that first uses it."""

    is_local: ClassVar[bool] = False
    package: ClassVar[str] = "redis"
    extra: ClassVar[str] = "mlrf[redis]"

    @classmethod
    def at(cls, url: str, model: str, rows: RowFormat, timeout_s: float = TIMEOUT_S) -> Self:
        """Return the store at an address, on the process's connections to that server."""
        return cls(url, model, rows, timeout_s, round_trips(url))

    def __init__(
        self, url: str, model: str, rows: RowFormat, timeout_s: float = TIMEOUT_S, trips: RoundTrips | None = None
    ) -> None:
        """Create the store without connecting, with its own connections unless some are given.

        ConfigError when redis is not installed or the address is invalid.
        """
        self.format = rows
        self._url = url
        self._timeout_s = timeout_s
        self._trips = trips or RoundTrips(url)
        self._max_value_bytes = rows.max_row_bytes + _DIGEST_BYTES
        self._trips.max_value_bytes = max(self._trips.max_value_bytes, self._max_value_bytes)
        name = f"mlrf:{model}:{rows.digest[:_DIGITS]}"
        self._rows, self._meta, self._loading = f"{name}:rows", f"{name}:meta", f"{name}:loading"
        self._next, self._pending = f"{name}:next", f"{name}:pending"
        self._waiting: list[_Waiting] = []
        self._asking: set[asyncio.Task[None]] = set()

    @staticmethod
    def wrong_in_address(url: str) -> str | None:
        """Return the fault of an address, None if there is none."""
        return wrong_in_redis_address(url)

    async def fetch(self, keys: Sequence[Key]) -> list[StoredRow | None]:
        """Return the row of each key, or None if it has no row, all from one state of the store."""
        if not keys:
            return []
        if self._trips.breaker.is_open:
            raise silent(self._trips.breaker.reason)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[StoredRow | None]] = loop.create_future()
        self._waiting.append((keys, answer))
        if len(self._waiting) == 1:
            loop.call_soon(self._send)
        return await answer

    async def push(self, rows: Iterable[tuple[Key, Record]]) -> Pushed:
        """Insert or replace rows atomically; a stored row with a later as-of time is kept."""
        given = list(rows)
        if len(given) > MAX_PUSHED:
            raise FeaturesUnavailableError(
                f"a push of {len(given)} rows would block the shared store; push at most {MAX_PUSHED} at once, "
                "or load the file"
            )
        flat = [part for key, record in given for part in (key, record + _digest(key, record))]
        names = (self._rows, self._loading, self._pending)
        written = await self._trips.execute("EVAL", _PUSH, len(names), *names, *flat, limit_s=SLOW_S)
        return Pushed(written, len(given) - written, 0)

    async def stats(self) -> StoreStats:
        """Return the store's size and state."""
        rows = await self._execute_slow("HLEN", self._rows)
        size = await self._execute_slow("MEMORY", "USAGE", self._rows)
        source = await self._execute_slow("HGET", self._meta, "source")
        return StoreStats(
            store=_without_password(self._url),
            rows=rows,
            size_bytes=size or 0,
            transaction=0,
            format_digest=self.format.digest,
            loaded_from=None if source is None else source.decode(errors="replace"),
        )

    async def connect(self, limit_s: float) -> None:
        """Open a connection before the first request needs it; if that fails, the request fails."""
        await self._trips.connect(limit_s)

    async def load(self, rows: RowsSource, source: str, progress: Callable[[int], None]) -> Loaded:
        """Replace all rows by those of a file, in one step."""
        from mlrf.features.redis_bulk_load import load_shared  # noqa: PLC0415  it imports LMDB

        return await load_shared(self, rows, source, progress)

    async def close(self) -> None:
        """Close all connections."""
        for task in tuple(self._asking):
            task.cancel()
        await self._trips.close()

    async def begin_load(self) -> bytes:
        """Begin a bulk load and return its token for `add` and `finish`. FeaturesUnavailableError when another is under way."""
        token = secrets.token_hex(8).encode()
        if not await self._execute_slow("EVAL", _BEGIN, 3, *self._load_keys(), token, LOAD_TTL_S):
            raise FeaturesUnavailableError(
                "another process is loading rows into this store; try again when it has finished"
            )
        return token

    async def add(self, token: bytes, rows: Sequence[tuple[Key, Record]]) -> None:
        """Add rows with distinct keys to a bulk load; call at least every `LOAD_TTL_S`, with no rows to keep the load alive."""
        flat = [part for key, record in rows for part in (key, record + _digest(key, record))]
        if not await self._execute_slow("EVAL", _ADD, 3, *self._load_keys(), token, LOAD_TTL_S, *flat):
            raise _cancelled_load()

    async def finish_load(self, token: bytes, source: str, n_rows: int) -> None:
        """Make a bulk load of `n_rows`, and the rows pushed meanwhile, current in one step."""
        names = (self._rows, self._loading, self._pending, self._next, self._meta)
        arguments = (token, self.format.digest, source, n_rows)
        done = await self._trips.execute("EVAL", _FINISH, len(names), *names, *arguments, limit_s=6 * SLOW_S)
        if done == 0:
            raise _cancelled_load()
        if done < 0:
            raise FeaturesUnavailableError(
                "the store has lost rows during the load; check whether it evicts keys (maxmemory-policy)"
            )

    async def abandon_load(self, token: bytes) -> None:
        """Remove the rows that a bulk load has added, unless another load has replaced it."""
        await self._execute_slow("EVAL", _ABANDON, 3, *self._load_keys(), token)

    def _load_keys(self) -> tuple[str, str, str]:
        return self._loading, self._next, self._pending

    def _send(self) -> None:
        """Send the look-ups that were made in this turn of the event loop."""
        waiting, self._waiting = self._waiting, []
        while waiting:
            some: list[_Waiting] = []
            n_keys = 0
            while waiting and (not some or n_keys + len(waiting[0][0]) <= _KEYS_A_COMMAND):
                some.append(waiting.pop(0))
                n_keys += len(some[-1][0])
            task = asyncio.get_running_loop().create_task(self._answer(some))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _answer(self, waiting: Sequence[_Waiting]) -> None:
        keys = [key for each, _ in waiting for key in each]
        try:
            # Of values that are no rows because they are too long, the other look-ups of this turn must not notice anything.
            instead = ("EVAL", _READ_SHORT, 1, self._rows, self._max_value_bytes, *keys)
            values = await self._trips.execute("HMGET", self._rows, *keys, limit_s=self._timeout_s, instead=instead)
            if not isinstance(values, list) or len(values) != len(keys):
                raise FeaturesUnavailableError("the feature store does not respond as Redis does")
        except FeaturesUnavailableError as error:
            for _, future in waiting:
                if not future.done():
                    future.set_exception(FeaturesUnavailableError(str(error), reason=error.reason))
            return
        start = 0
        for each, future in waiting:
            own = values[start : start + len(each)]
            start += len(each)
            if not future.done():
                try:
                    future.set_result([self._row(key, value) for key, value in zip(each, own, strict=True)])
                except InvalidStoredRowError as error:
                    future.set_exception(error)

    def _row(self, key: Key, value: Any) -> StoredRow | None:
        if value is None:
            return None
        if value == _TOO_LONG:
            raise self.format.invalid(key, "it is longer than a row of this model")
        if not isinstance(value, bytes):
            raise self.format.invalid(key, "it is not a string of bytes")
        record = value[:-_DIGEST_BYTES]
        if _digest(key, record) != value[-_DIGEST_BYTES:]:
            raise self.format.invalid(key, "the bytes are damaged")
        return self.format.unpack(key, record, 0)

    async def _execute_slow(self, *command: Any) -> Any:
        return await self._trips.execute(*command, limit_s=SLOW_S)


def _cancelled_load() -> FeaturesUnavailableError:
    return FeaturesUnavailableError("the load was cancelled: another load replaced it, or it was silent for too long")


def _digest(key: Key, record: Record) -> bytes:
    return hashlib.blake2b(key + record, digest_size=_DIGEST_BYTES).digest()


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
