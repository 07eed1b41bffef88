"""The embedded store: rows by key in an LMDB environment that all workers map, and update while they serve.

There are two tables of rows; `state` names the current one. A bulk load fills the other and then makes it current, in one
transaction (`bulk_load.py`). `state` also counts the changes that a reader can see: this count is the store's transaction
number.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import weakref
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import ClassVar, NamedTuple

import lmdb

from mlrf.core.errors import ConfigError, FeaturesUnavailableError
from mlrf.features.interface import Batch, Key, Pushed, Record, StoredRow, StoreStats
from mlrf.features.lmdb_environment import MAP_BYTES, open_environment, unavailable
from mlrf.features.row_format import NO_TIME, RowFormat, as_of_us_of

TABLES = (b"rows.a", b"rows.b")
META, PENDING = b"meta", b"pending"
FORMAT_KEY, STATE_KEY, SOURCE_KEY, LOADING_KEY = b"format", b"state", b"source", b"loading"
LOADING_LOCK = "loading.lock"
"""Lock file of the process that loads rows."""
STATE = struct.Struct("<BQ")
"""Key of the record with the current table and the number of changes."""


class _Seen(NamedTuple):
    """The state of the environment as of one of its commits."""

    commit: int
    table: lmdb._Database
    changes: int


class LmdbStore:
    """Rows of one format in one environment."""

    is_local: ClassVar[bool] = True

    def __init__(self, path: Path, rows: RowFormat, map_bytes: int = MAP_BYTES, *, durable: bool = True) -> None:
        """Open the environment at `path`, created when it is missing; only after the fork.

        ConfigError when the directory cannot be used, or holds rows of another schema or key.
        """
        self.format = rows
        self.environment = open_environment(path, map_bytes, durable=durable)
        # A store that is dropped without `release`, with a replaced generation of models, closes its files too.
        self._release = weakref.finalize(self, self.environment.close)
        self._release.atexit = False
        try:
            self._open()
        except (lmdb.Error, FeaturesUnavailableError) as error:
            self.release()
            reason = error.explained if isinstance(error, FeaturesUnavailableError) else error
            raise ConfigError(f"--state-dir: {path} is not a feature store: {reason}", option="--state-dir") from error
        except BaseException:
            self.release()
            raise

    def read(self, key: Key) -> StoredRow | None:
        """Return the row of a key; None if it has no row."""
        environment = self.environment
        try:
            with environment.reading:
                transaction = environment.begin()
                try:
                    seen = self._state_seen(transaction)
                    record = transaction.get(key, None, seen.table)
                finally:
                    transaction.abort()
            return None if record is None else self.format.unpack(key, record, seen.changes)
        except lmdb.Error as error:
            raise unavailable("read", error) from error

    def read_many(self, keys: Sequence[Key]) -> list[StoredRow | None]:
        """Return the row of each key, all from one transaction."""
        environment, unpack = self.environment, self.format.unpack
        try:
            with environment.reading:
                transaction = environment.begin()
                try:
                    seen = self._state_seen(transaction)
                    records = [transaction.get(key, None, seen.table) for key in keys]
                finally:
                    transaction.abort()
            return [
                None if record is None else unpack(key, record, seen.changes)
                for key, record in zip(keys, records, strict=True)
            ]
        except lmdb.Error as error:
            raise unavailable("read", error) from error

    def transaction(self) -> int:
        """Return the number of the last change; while it is the same, no row has changed."""
        environment = self.environment
        try:
            with environment.reading:
                transaction = environment.begin()
                try:
                    return self._state_seen(transaction).changes
                finally:
                    transaction.abort()
        except lmdb.Error as error:
            raise unavailable("read", error) from error

    def upsert(self, rows: Iterable[tuple[Key, Record]]) -> Pushed:
        """Insert or replace rows in one transaction, synced to disk when this returns; any thread may call it.

        A row with an earlier as-of time than the stored row is skipped. FeaturesUnavailableError when nothing was written.
        """
        given = list(rows)
        self.environment.check_readers()

        def work(transaction: lmdb.Transaction[bytes]) -> Pushed:
            meta = self.meta
            current, changes = read_state(transaction, meta)
            written = put_rows(transaction, self.tables[current], given)
            if transaction.get(LOADING_KEY, db=meta) is not None:
                if self._is_loaded():
                    # A running load began before this push: these rows are added to it before it becomes current.
                    put_rows(transaction, self.pending, given)
                else:
                    # A load was killed: remove its rows and the pending pushes, which would stay until the next load.
                    clear(transaction, self, 1 - current)
            changes += 1
            transaction.put(STATE_KEY, STATE.pack(current, changes), db=meta)
            return Pushed(written, len(given) - written, changes)

        return self.environment.write(work)

    def count(self) -> StoreStats:
        """Return the store's size and state."""
        environment = self.environment
        try:
            with environment.reading:
                transaction = environment.begin()
                try:
                    seen = self._state_seen(transaction)
                    rows = transaction.stat(seen.table)["entries"]
                    source = transaction.get(SOURCE_KEY, db=self.meta)
                finally:
                    transaction.abort()
        except lmdb.Error as error:
            raise unavailable("read", error) from error
        return StoreStats(
            store=str(environment.path),
            rows=rows,
            size_bytes=environment.size_bytes,
            transaction=seen.changes,
            format_digest=self.format.digest,
            loaded_from=None if source is None else source.decode(errors="replace"),
        )

    async def fetch(self, keys: Sequence[Key]) -> list[StoredRow | None]:
        """Return the row of each key, as `read_many` does."""
        return self.read_many(keys)

    async def push(self, rows: Iterable[tuple[Key, Record]]) -> Pushed:
        """Run `upsert` in a worker thread."""
        return await asyncio.to_thread(self.upsert, rows)

    async def stats(self) -> StoreStats:
        """Return the store's size and state."""
        return self.count()

    async def close(self) -> None:
        """Close the environment."""
        self.release()

    def in_order(self, batch_rows: int) -> Iterator[Batch]:
        """Yield all rows sorted by key, from one long transaction; for offline work only."""
        with self.environment.reading:
            transaction = self.environment.begin()
        try:
            with transaction.cursor(self._state_seen(transaction).table) as cursor:
                rows = iter(cursor)
                while some := list(islice(rows, batch_rows)):
                    yield Batch([key for key, _ in some], [record for _, record in some])
        finally:
            transaction.abort()

    def release(self) -> None:
        """Close the environment."""
        self._release()

    def _open(self) -> None:
        environment = self.environment
        self.meta, self.pending = environment.database(META), environment.database(PENDING)
        self.tables = tuple(environment.database(name) for name in TABLES)
        digest = self.format.digest.encode()
        with environment.reading:
            transaction = environment.begin()
            try:
                found = transaction.get(FORMAT_KEY, db=self.meta)
            finally:
                transaction.abort()
        if found is None:
            found = environment.write(self._start_over)
        if found != digest:
            raise ConfigError(
                f"--state-dir: {environment.path} contains rows of another schema or key; choose another directory, or "
                "remove it",
                option="--state-dir",
            )
        self._seen = _Seen(-1, self.tables[0], 0)

    def _start_over(self, transaction: lmdb.Transaction[bytes]) -> bytes:
        """Bind an empty environment to this format, unless another process was faster; return its format."""
        digest = self.format.digest.encode()
        if transaction.put(FORMAT_KEY, digest, overwrite=False, db=self.meta):
            transaction.put(STATE_KEY, STATE.pack(0, 0), db=self.meta)
            return digest
        return transaction.get(FORMAT_KEY, db=self.meta) or b""

    def _is_loaded(self) -> bool:
        """Return whether a process that loads rows is alive, by the lock that it holds."""
        descriptor = os.open(self.environment.path / LOADING_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _state_seen(self, transaction: lmdb.Transaction[bytes]) -> _Seen:
        """Return the state of the environment in a transaction; it is read again only after a commit."""
        commit = transaction.id()
        seen = self._seen
        if seen.commit != commit:
            current, changes = read_state(transaction, self.meta)
            seen = self._seen = _Seen(commit, self.tables[current], changes)
        return seen


def read_state(transaction: lmdb.Transaction[bytes], meta: lmdb._Database) -> tuple[int, int]:
    """Return which table is current and how many changes there have been; lmdb.CorruptedError when the record is damaged."""
    raw = transaction.get(STATE_KEY, db=meta)
    if raw is None or len(raw) != STATE.size:
        raise lmdb.CorruptedError("the store does not say which of its tables is current")
    current, changes = STATE.unpack(raw)
    if current >= len(TABLES):
        raise lmdb.CorruptedError(f"the store has no table {current}")
    return current, changes


def clear(transaction: lmdb.Transaction[bytes], store: LmdbStore, table: int) -> None:
    """End a load: empty a table and the pending pushes, and record that no load is under way."""
    transaction.drop(store.tables[table], delete=False)
    transaction.drop(store.pending, delete=False)
    transaction.delete(LOADING_KEY, db=store.meta)


def put_rows(transaction: lmdb.Transaction[bytes], table: lmdb._Database, rows: Iterable[tuple[Key, Record]]) -> int:
    """Write rows to a table, except those with an earlier as-of time than the stored row; return the number written."""
    written = 0
    for key, record in rows:
        time = as_of_us_of(record)
        if time != NO_TIME:
            stands = transaction.get(key, db=table)
            if stands is not None and as_of_us_of(stands) > time:
                continue
        transaction.put(key, record, db=table)
        written += 1
    return written
