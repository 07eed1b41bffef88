"""Bulk load: replaces all rows of the embedded store at once, while it is read and even while rows are pushed.

Rows go into the table that is not current, one batch per transaction, so that only one batch is in memory; the last
transaction makes the table current. Rows pushed meanwhile are written to the current table and to a pending table, and the last
transaction adds them to the new table. A load that fails or is killed leaves the store unchanged.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice, pairwise

import lmdb

from mlrf.core.errors import FeaturesUnavailableError, RowsError
from mlrf.features.external_sort import in_order
from mlrf.features.interface import Key, Loaded, Record, RowsSource
from mlrf.features.lmdb_environment import unavailable
from mlrf.features.lmdb_store import (
    LOADING_KEY,
    LOADING_LOCK,
    SOURCE_KEY,
    STATE,
    STATE_KEY,
    LmdbStore,
    clear,
    put_rows,
    read_state,
)
from mlrf.features.row_format import NO_TIME, RowFormat, as_of_us_of

_BATCH_ROWS = 1 << 15
"""Rows per transaction, about 9 MB; each transaction is synced to disk."""


def load_rows(
    store: LmdbStore,
    rows: RowsSource,
    source: str,
    progress: Callable[[int], None] = lambda _rows: None,
) -> Loaded:
    """Replace all rows of a store by those of a file; `progress` receives the number of rows read.

    Of rows with the same key the one with the latest as-of time is kept; RowsError if it cannot be determined. `source` is
    stored as the origin of the rows. FeaturesUnavailableError when the disk is full, or another load is under way.
    """
    with _sole_load(store):
        environment = store.environment
        target = environment.write(lambda t: _begin(t, store))
        try:
            superseded = _add_directly(store, target, counted_rows(rows, progress))
            if superseded is None:
                environment.write(lambda t: t.drop(store.tables[target], delete=False))
                merged = in_order(counted_rows(rows, progress), environment.path)
                superseded = _add_all(store, target, _batched(merged))
        except OSError as error:
            environment.write(lambda t: clear(t, store, target))
            raise unavailable("written", error) from error
        except BaseException:
            environment.write(lambda t: clear(t, store, target))
            raise

        def finish(transaction: lmdb.Transaction[bytes]) -> Loaded:
            with transaction.cursor(store.pending) as pushed:
                put_rows(transaction, store.tables[target], list(pushed))
            current, changes = read_state(transaction, store.meta)
            transaction.put(STATE_KEY, STATE.pack(target, changes + 1), db=store.meta)
            transaction.put(SOURCE_KEY, source.encode(), db=store.meta)
            clear(transaction, store, current)
            return Loaded(transaction.stat(store.tables[target])["entries"], superseded, changes + 1)

        return environment.write(finish)


_Rows = list[tuple[Key, Record]]


class _OutOfOrderError(Exception):
    """The rows are not sorted by key."""


def counted_rows(rows: RowsSource, progress: Callable[[int], None]) -> Iterator[_Rows]:
    """Yield the rows of a source in batches, and report the number read."""
    read = 0
    for batch in rows.batches():
        yield list(zip(batch.keys, batch.records, strict=True))
        read += len(batch.keys)
        progress(read)


def _followed(batches: Iterable[_Rows]) -> Iterator[_Rows]:
    """Yield the batches while keys ascend or repeat; raise _OutOfOrderError when one does not."""
    last = b""
    for batch in batches:
        keys = [last, *(key for key, _ in batch)]
        if any(key < before for before, key in pairwise(keys)):
            raise _OutOfOrderError
        last = keys[-1]
        yield batch


def _batched(rows: Iterable[tuple[Key, Record]]) -> Iterator[_Rows]:
    singles = iter(rows)
    while batch := list(islice(singles, _BATCH_ROWS)):
        yield batch


def _begin(transaction: lmdb.Transaction[bytes], store: LmdbStore) -> int:
    """Empty the table that is not current, and record that a load is under way."""
    current, _ = read_state(transaction, store.meta)
    target = 1 - current
    clear(transaction, store, target)
    transaction.put(LOADING_KEY, b"%d" % os.getpid(), db=store.meta)
    return target


def _add_directly(store: LmdbStore, target: int, batches: Iterator[_Rows]) -> int | None:
    """Add batches that are sorted by key, as `_add_all` does; None when they are not."""
    try:
        return _add_all(store, target, _batched(chain.from_iterable(_followed(batches))))
    except _OutOfOrderError:
        return None


def _add_all(store: LmdbStore, target: int, batches: Iterator[_Rows]) -> int:
    """Append batches to the table, one per transaction; return the number of superseded rows."""
    superseded = 0
    for batch in batches:
        superseded += store.environment.write(lambda t, batch=batch: _add(t, store, target, batch))  # type: ignore[misc]
    return superseded


def _add(transaction: lmdb.Transaction[bytes], store: LmdbStore, target: int, batch: _Rows) -> int:
    table = store.tables[target]
    superseded = 0
    for key, record in batch:
        # Appending fills pages completely, and refuses an existing key.
        if transaction.put(key, record, overwrite=False, append=True, db=table):
            continue
        superseded += 1
        if is_later(store.format, key, record, transaction.get(key, b"", table)):
            transaction.put(key, record, db=table)
    return superseded


def is_later(rows: RowFormat, key: Key, record: Record, stands: Record) -> bool:
    """Return whether a row has a later as-of time than `stands`, a row with the same key; RowsError if that is unknown."""
    mine, other = as_of_us_of(record), as_of_us_of(stands)
    if mine == other:
        named = rows.key.decode(key)
        when = "without an as-of time" if mine == NO_TIME else "of the same as-of time"
        remedy = "; keep one, or name the --as-of-column" if mine == NO_TIME else "; keep one"
        raise RowsError(
            f"two rows have the key {named}, both {when}, so it is unclear which one is current{remedy}", key=named
        )
    return mine > other


@contextmanager
def _sole_load(store: LmdbStore) -> Iterator[None]:
    descriptor = os.open(store.environment.path / LOADING_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise FeaturesUnavailableError(
            "another process is loading rows into this store; try again when it has finished"
        ) from None
    finally:
        os.close(descriptor)
