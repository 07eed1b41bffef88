"""A backend of the feature store that only tests have: a file for each row, in a folder that several processes share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from mlrf.features.interface import Key, Loaded, Pushed, Record, RowsSource, StoredRow, StoreStats
from mlrf.features.row_format import RowFormat


class FolderStore:
    """Rows of one model as files, named by their keys."""

    is_local: ClassVar[bool] = False
    package: ClassVar[str] = "pathlib"
    extra: ClassVar[str] = "mlrf[folder]"

    def __init__(self, folder: Path, rows: RowFormat) -> None:
        self.folder, self.format = folder, rows
        folder.mkdir(parents=True, exist_ok=True)

    @classmethod
    def at(cls, url: str, model: str, rows: RowFormat, timeout_s: float) -> FolderStore:
        """Return the store of a model."""
        return cls(Path(url.partition("://")[2]) / model, rows)

    @staticmethod
    def wrong_in_address(url: str) -> str | None:
        """Return the fault of an address."""
        return None if url.startswith("folder:///") else "the address is not folder:///PATH"

    async def connect(self, limit_s: float) -> None:
        """Leave a mark, so that a test sees the call."""
        (self.folder.parent / "connected").touch()

    async def fetch(self, keys: Sequence[Key]) -> list[StoredRow | None]:
        """Return the row of each key."""
        paths = [self.folder / key.hex() for key in keys]
        return [
            self.format.unpack(key, path.read_bytes(), 0) if path.exists() else None
            for key, path in zip(keys, paths, strict=True)
        ]

    async def push(self, rows: Iterable[tuple[Key, Record]]) -> Pushed:
        """Write rows."""
        written = [(self.folder / key.hex()).write_bytes(record) for key, record in rows]
        return Pushed(len(written), 0, 0)

    async def load(self, rows: RowsSource, source: str, progress: Callable[[int], None]) -> Loaded:
        """Replace all rows."""
        for each in self.folder.iterdir():
            each.unlink()
        n_rows = 0
        for batch in rows.batches():
            n_rows += (await self.push(zip(batch.keys, batch.records, strict=True))).written
            progress(n_rows)
        return Loaded(n_rows, 0, 0)

    async def stats(self) -> StoreStats:
        """Return the number of rows."""
        n_rows = len(list(self.folder.iterdir()))
        return StoreStats(str(self.folder), n_rows, 0, 0, self.format.digest, None)

    async def close(self) -> None:
        """Nothing is open."""
