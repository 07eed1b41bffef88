"""An LMDB environment that a process opens once and shares, with a time limit for writes and a lock that protects reads.

LMDB forbids opening the same files twice in one process, and inheriting them through a fork, so workers open them and the
arbiter never does. The map takes 1 TiB of address space, not of disk. If address space is limited, the map is as large as
allowed and grows when it is full; processes with a smaller map then follow (MapResizedError). Growing moves the map, so reads
and growth exclude each other.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import lmdb

from mlrf.core.errors import ConfigError, FeaturesUnavailableError

T = TypeVar("T")
MAP_BYTES = 1 << 40
_LEAST_MAP_BYTES = 1 << 28
_MAX_READERS = 1024
_MAX_DATABASES = 8
_SPARE_TRANSACTIONS = 4
_GROWTHS = 12
WRITE_LIMIT_S = 10.0
"""Seconds that a writer waits for another writing process."""
_POLL_S = 0.002
_FULL_BYTES = 1 << 20


class Environment:
    """One environment; `open_environment` makes it."""

    def __init__(self, path: Path, map_bytes: int = MAP_BYTES, *, durable: bool = True) -> None:
        self.path = path
        self._map_bytes = map_bytes
        self._durable = durable
        self.write_limit_s = WRITE_LIMIT_S
        self._env, self.is_writable = self._open()
        self.reading = threading.Lock()
        """Acquired for each read: the memory map is not moved meanwhile."""
        self._writing = threading.Lock()
        self.holders = 1
        self.check_readers()

    def begin(self) -> lmdb.Transaction[bytes]:
        """Return a read transaction; the caller must have acquired `reading`, and aborts the transaction."""
        try:
            return self._env.begin()
        except lmdb.MapResizedError:
            # A process with a larger map has written beyond the end of this one.
            self._env.set_mapsize(0)
        except lmdb.ReadersFullError:
            self._env.reader_check()
        return self._env.begin()

    def database(self, name: bytes) -> lmdb._Database:
        """Return a named database, created when it is missing and this process may write."""
        return self._env.open_db(name, create=self.is_writable)

    def write(self, work: Callable[[lmdb.Transaction[bytes]], T]) -> T:
        """Run `work` in one write transaction, synced to disk when this returns.

        `work` may be called again from the start when the map had to grow. FeaturesUnavailableError when the disk is full or
        read-only, or another process has been writing for `WRITE_LIMIT_S`.
        """
        if not self.is_writable:
            raise FeaturesUnavailableError("the feature store is on a read-only disk, so no rows can be stored")
        if not self._writing.acquire(timeout=self.write_limit_s):
            raise self._busy()
        try:
            with self._sole_writer():
                return self._write(work)
        except (lmdb.Error, OSError) as error:
            raise unavailable("written", self._cause(error)) from error
        finally:
            self._writing.release()

    def _write(self, work: Callable[[lmdb.Transaction[bytes]], T]) -> T:
        for _ in range(_GROWTHS):
            try:
                with self._env.begin(write=True) as transaction:
                    return work(transaction)
            except lmdb.MapResizedError:
                self._resize(0)
            except lmdb.MapFullError:
                self._resize(2 * self._env.info()["map_size"])
        raise lmdb.MapFullError("the map is full")

    def check_readers(self) -> None:
        """Free the slots of readers that were killed, for which the store would keep an old state forever."""
        if self.is_writable:
            with suppress(lmdb.Error):
                self._env.reader_check()

    @property
    def size_bytes(self) -> int:
        """Size of the environment on disk, in bytes."""
        return (self.path / "data.mdb").stat().st_blocks * 512

    def close(self) -> None:
        """Release the environment; the last user closes it."""
        with _registry_lock:
            self.holders -= 1
            if self.holders == 0:
                _registry.pop(_identity(self.path), None)
                self._env.close()

    def _cause(self, error: Exception) -> Exception:
        """Return the cause of a failed write: for a full disk, LMDB reports an I/O error if a part of the last page fits."""
        free = os.statvfs(self.path)
        if _errno(error) == errno.EIO and free.f_bavail * free.f_frsize < _FULL_BYTES:
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return error

    def _busy(self) -> FeaturesUnavailableError:
        limit_s = self.write_limit_s
        return FeaturesUnavailableError(f"another process has been writing to the feature store for {limit_s:g} s")

    def _resize(self, size: int) -> None:
        with self.reading:
            self._env.set_mapsize(size)

    @contextmanager
    def _sole_writer(self) -> Iterator[None]:
        """Acquire an additional lock for a write, because LMDB's lock has no time limit, and a stopped process may own it."""
        descriptor = os.open(self.path / "writing.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        deadline = time.monotonic() + self.write_limit_s
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise self._busy() from None
                    time.sleep(_POLL_S)
            yield
        finally:
            os.close(descriptor)

    def _open(self) -> tuple[lmdb.Environment, bool]:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            return self._map(read_only=False), True
        except (lmdb.Error, OSError) as error:
            if _errno(error) != errno.EROFS or not (self.path / "data.mdb").exists():
                raise _unusable(self.path, error) from error
        try:
            return self._map(read_only=True), False
        except lmdb.Error as error:
            raise _unusable(self.path, error) from error

    def _map(self, *, read_only: bool) -> lmdb.Environment:
        size = self._map_bytes
        while True:
            try:
                return lmdb.open(
                    str(self.path),
                    map_size=size,
                    max_dbs=_MAX_DATABASES,
                    max_readers=_MAX_READERS,
                    max_spare_txns=_SPARE_TRANSACTIONS,
                    readonly=read_only,
                    sync=self._durable,
                    mode=0o644,
                )
            except lmdb.MemoryError:
                if size <= _LEAST_MAP_BYTES:
                    raise
                size //= 4


_registry: dict[str, Environment] = {}
_registry_lock = threading.Lock()


def open_environment(path: Path, map_bytes: int = MAP_BYTES, *, durable: bool = True) -> Environment:
    """Return the environment at `path`, created when it is missing; each call needs its own `close`.

    ConfigError names the directory and the reason when it cannot be used. A read-only disk is allowed if
    there is an environment on it. An environment that is not `durable` is for temporary use: a power cut may damage it.
    """
    with _registry_lock:
        known = _registry.get(_identity(path))
        if known is not None:
            known.holders += 1
            return known
        made = Environment(path, map_bytes, durable=durable)
        _registry[_identity(path)] = made
        return made


def unavailable(what: str, error: Exception) -> FeaturesUnavailableError:
    """Return the error for a store that cannot be read or written: callers see a cause of the system, but no text of LMDB."""
    if number := _errno(error):
        return FeaturesUnavailableError(f"the feature store cannot be {what}: {os.strerror(number)}")
    return FeaturesUnavailableError(f"the feature store cannot be {what}", reason=str(error).rpartition(": ")[2])


def _identity(path: Path) -> str:
    return str(path.resolve())


def _unusable(path: Path, error: Exception) -> ConfigError:
    number = _errno(error)
    reason = os.strerror(number) if number else str(error)
    remedy = {
        errno.EROFS: "; its rows were never loaded, and the disk is read-only: load them before mounting it, or choose another",
        errno.EACCES: "; give this user write permission, or choose another",
        errno.ENOSPC: "; free disk space, or choose another",
    }.get(number or 0, "")
    return ConfigError(f"--state-dir: {path} cannot be used as a feature store: {reason}{remedy}", option="--state-dir")


def _errno(error: Exception) -> int | None:
    """Return the errno of an error, which py-lmdb reports only as text."""
    if isinstance(error, OSError):
        return error.errno
    words = str(error)
    return next((number for number in _KNOWN_ERRORS if os.strerror(number) in words), None)


_KNOWN_ERRORS = (
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EIO,
    errno.ENOMEM,
    errno.ENOLCK,
)
