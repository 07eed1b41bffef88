"""The port of feature stores, and what comes out of one. Names, JSON and status codes are not its concern.

A store on this machine is read at once (`read`, a few microseconds); one that machines share is awaited (`fetch`). Both
answer several keys from ONE state of the store. Keys are what `EntityKey.encode` returns, rows what `RowFormat.pack` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import msgspec

Key = bytes
Record = bytes


class Batch(NamedTuple):
    """Some rows on their way into a store."""

    keys: list[Key]
    records: list[Record]


class StoredRow(msgspec.Struct, frozen=True, gc=False, eq=False):
    """One row as it was read.

    `values` [F] float64 in schema order as an engine takes them: missing is NaN, categories are codes. It is a view of
    `record`; `list(values)` is a copy that may be changed.
    """

    record: bytes
    """All of the row: two reads of a row that did not change are equal here."""
    values: memoryview[float]
    as_of_us: int | None
    """When the row was true, in microseconds since 1970 in UTC; None where that is unknown."""
    absent: tuple[int, ...]
    """Features that the row does not hold, by their place in the schema; their values are NaN, but not missing."""
    transaction: int
    """The store's last transaction when the row was read; 0 where machines share the store, which has none."""


class Pushed(msgspec.Struct, frozen=True):
    """What became of the rows of one push."""

    written: int
    older: int
    """Rows that were left as they stand, for those given were true earlier."""
    transaction: int
    """The store's transaction that holds them; 0 where machines share the store."""


class StoreStats(msgspec.Struct, frozen=True):
    """What an operator wants to know of a store."""

    store: str
    """Which it is and where: a directory, or a URL without its password."""
    rows: int
    size_bytes: int
    transaction: int
    format_digest: str
    loaded_from: str | None
    """What its last bulk load read: a file's name and the sha256 of it."""


class FeatureStore(Protocol):
    """Rows by key. Any call raises FeaturesUnavailableError when the store does not answer."""

    is_local: ClassVar[bool]

    async def fetch(self, keys: Sequence[Key]) -> list[StoredRow | None]:
        """Return the row of each key, None where there is none, all from one state of the store."""
        ...

    async def push(self, rows: Iterable[tuple[Key, Record]]) -> Pushed:
        """Insert or replace rows, all in one transaction: readers see none of them, then all."""
        ...

    async def stats(self) -> StoreStats:
        """Return the store's size and state."""
        ...

    async def close(self) -> None:
        """Give up connections and files."""
        ...


@runtime_checkable
class LocalStore(FeatureStore, Protocol):
    """A store on this machine, read without waiting."""

    def read(self, key: Key) -> StoredRow | None:
        """Return the row of a key; None where there is none."""
        ...

    def read_many(self, keys: Sequence[Key]) -> list[StoredRow | None]:
        """Return the row of each key, all from one transaction."""
        ...

    def transaction(self) -> int:
        """Return the number of the store's last transaction: while it stands, no row has changed."""
        ...

    def release(self) -> None:
        """Give the files back."""
        ...

    def upsert(self, rows: Iterable[tuple[Key, Record]]) -> Pushed:
        """Do what `push` does and wait for the disk; from any thread."""
        ...


class ExplanationStore(Protocol):
    """Contributions that were computed when the bundle was built, of one model."""

    def read(self, key: Key, row: StoredRow) -> memoryview[float] | None:
        """Return the contributions [F x K] of exactly this row, as the engine's `contributions`; None where there are none.

        None too where the row has changed since they were computed: they are bound to its values.
        """
        ...

    def release(self) -> None:
        """Give the files back."""
        ...
