"""The interface of feature stores, and the rows that they return. Names, JSON and status codes are handled elsewhere.

An embedded store is read synchronously (`read`, a few microseconds); a shared store is awaited (`fetch`). Both read several
keys from ONE state of the store. Keys are encoded by `EntityKey.encode`, rows by `RowFormat.pack`. What a
store on another machine offers besides is in `shared_store.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, Protocol, runtime_checkable

import msgspec

TIMEOUT_S = 0.005
"""Seconds to wait for a response from a shared store, unless set."""

Key = bytes
Record = bytes


class Batch(msgspec.Struct, frozen=True):
    """A batch of rows to be written to a store."""

    keys: list[Key]
    records: list[Record]


class StoredRow(msgspec.Struct, frozen=True, gc=False, eq=False):
    """One row as it was read.

    `values` [F] float64 in schema order, the input of an engine: missing is NaN, categories are codes. It is a view of
    `record`; `list(values)` is a copy that may be changed.
    """

    record: bytes
    """The bytes of the row: equal for two reads of an unchanged row."""
    values: memoryview[float]
    as_of_us: int | None
    """As-of time in microseconds since 1970 in UTC; None if unknown."""
    absent: tuple[int, ...]
    """Indices of features that are absent from the row; their values are NaN, but absent is not the same as missing."""
    transaction: int
    """The store's last transaction when the row was read; 0 for a shared store."""


class Pushed(msgspec.Struct, frozen=True):
    """The result of one push."""

    written: int
    older: int
    """Rows that were not written, because the stored row has a later as-of time."""
    transaction: int
    """The transaction that wrote them; 0 for a shared store."""


class StoreStats(msgspec.Struct, frozen=True):
    """Size and state of a store."""

    store: str
    """Location of the store: a directory, or a URL without its password."""
    rows: int
    size_bytes: int
    transaction: int
    format_digest: str
    loaded_from: str | None
    """Source of the last bulk load: a file's name and sha256."""


class RowsSource(Protocol):
    """Rows that can be read more than once, such as a `RowsFile`."""

    def batches(self) -> Iterator[Batch]:
        """Yield the rows in the source's order."""
        ...


class Loaded(msgspec.Struct, frozen=True):
    """The result of a load."""

    rows: int
    superseded: int
    """Rows of the file that were superseded by a later row with the same key."""
    transaction: int


class FeatureStore(Protocol):
    """Rows by key. Any call raises FeaturesUnavailableError when the store does not answer."""

    is_local: ClassVar[bool]

    async def fetch(self, keys: Sequence[Key]) -> list[StoredRow | None]:
        """Return the row of each key, or None if it has no row, all from one state of the store."""
        ...

    async def push(self, rows: Iterable[tuple[Key, Record]]) -> Pushed:
        """Insert or replace rows in one transaction: readers see either none or all of them."""
        ...

    async def stats(self) -> StoreStats:
        """Return the store's size and state."""
        ...

    async def close(self) -> None:
        """Close connections and files."""
        ...


@runtime_checkable
class LocalStore(FeatureStore, Protocol):
    """A store on this machine, read without waiting."""

    def read(self, key: Key) -> StoredRow | None:
        """Return the row of a key; None if it has no row."""
        ...

    def read_many(self, keys: Sequence[Key]) -> list[StoredRow | None]:
        """Return the row of each key, all from one transaction."""
        ...

    def transaction(self) -> int:
        """Return the number of the store's last transaction; while it is the same, no row has changed."""
        ...

    def release(self) -> None:
        """Close the files."""
        ...

    def upsert(self, rows: Iterable[tuple[Key, Record]]) -> Pushed:
        """Write rows as `push` does, synced to disk; any thread may call it."""
        ...


class ExplanationStore(Protocol):
    """Contributions that were computed when the bundle was built, of one model."""

    def read(self, key: Key, row: StoredRow) -> memoryview[float] | None:
        """Return the stored contributions [F x K] of exactly this row; None if there are none.

        None also if the row has changed since they were computed: they are bound to its values.
        """
        ...

    def release(self) -> None:
        """Close the files."""
        ...
