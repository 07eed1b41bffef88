"""Bulk load of the shared store: streams rows in key order and makes them current in one step."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Protocol

from mlrf.core.errors import FeaturesUnavailableError
from mlrf.features.bulk_load import counted_rows, is_later
from mlrf.features.external_sort import in_order
from mlrf.features.interface import Key, Loaded, Record, RowsSource
from mlrf.features.redis_commands import LOAD_TTL_S
from mlrf.features.row_format import RowFormat

_ROWS_A_COMMAND = 2000


class LoadedStore(Protocol):
    """The commands of a bulk load, as `RedisStore` has them."""

    format: RowFormat

    async def begin_load(self) -> bytes:
        """Begin a load and return its token."""
        ...

    async def add(self, token: bytes, rows: Sequence[tuple[Key, Record]]) -> None:
        """Add rows with distinct keys; without rows, keep the load alive."""
        ...

    async def finish_load(self, token: bytes, source: str, n_rows: int) -> None:
        """Make the rows current in one step."""
        ...

    async def abandon_load(self, token: bytes) -> None:
        """Remove the rows that were added."""
        ...


async def load_shared(
    store: LoadedStore,
    rows: RowsSource,
    source: str,
    progress: Callable[[int], None] = lambda _rows: None,
) -> Loaded:
    """Replace all rows of a shared store by those of a file, as `load_rows` does for the embedded one."""
    is_over = False

    def report(n_rows: int) -> None:
        if is_over:
            raise asyncio.CancelledError
        progress(n_rows)

    with tempfile.TemporaryDirectory() as folder:
        merged = _Merged(store, in_order(counted_rows(rows, report), Path(folder)))
        token = await store.begin_load()
        try:
            singles = iter(merged)
            async with _renewed(store, token):
                # Sorting the whole file before the first batch may take longer than a load may be idle.
                while some := await asyncio.to_thread(lambda: list(islice(singles, _ROWS_A_COMMAND))):
                    await store.add(token, some)
            await store.finish_load(token, source, merged.n_rows)
        except BaseException:
            is_over = True
            with suppress(FeaturesUnavailableError):  # the store abandons an idle load by itself
                await store.abandon_load(token)
            raise
    return Loaded(merged.n_rows, merged.superseded, 0)


@asynccontextmanager
async def _renewed(store: LoadedStore, token: bytes) -> AsyncIterator[None]:
    """Keep a load alive at intervals; failures are left to the calls that add rows."""

    async def renew() -> None:
        while True:
            await asyncio.sleep(LOAD_TTL_S / 4)
            with suppress(FeaturesUnavailableError):
                await store.add(token, [])

    saying = asyncio.create_task(renew())
    try:
        yield
    finally:
        saying.cancel()


class _Merged:
    """Rows in key order, one per key: the one with the latest as-of time."""

    def __init__(self, store: LoadedStore, rows: Iterable[tuple[Key, Record]]) -> None:
        self._store = store
        self._rows = rows
        self.n_rows = 0
        self.superseded = 0

    def __iter__(self) -> Iterator[tuple[Key, Record]]:
        last: tuple[Key, Record] | None = None
        for key, record in self._rows:
            if last is None or key != last[0]:
                if last is not None:
                    self.n_rows += 1
                    yield last
                last = key, record
                continue
            self.superseded += 1
            if is_later(self._store.format, key, record, last[1]):
                last = key, record
        if last is not None:
            self.n_rows += 1
            yield last
