"""Writes records to a file or pipe in a separate thread, which may block.

A full disk, an unread pipe or a burst makes it drop records, which it counts, but never delays a response.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Generic, TypeVar

_R = TypeVar("_R")
_BATCH = 256
"""Number of records handed to the thread at a time."""


class LogThread(Generic[_R]):
    """Writes records with `write`, which returns how many it could not write. Only the event loop's thread adds records."""

    def __init__(self, name: str, write: Callable[[Sequence[_R]], int], max_records: int, max_bytes: int) -> None:
        self._write = write
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._batch: list[_R] = []
        self._batch_bytes = 0
        self._queue: SimpleQueue[tuple[list[_R], int] | None] = SimpleQueue()
        # Each number has one writer: the loop counts queued records, the thread written ones.
        self._in_records = self._in_bytes = self._refused = 0
        self._out_records = self._out_bytes = self._lost = 0
        self._reported = (0, 0)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, record: _R, size_bytes: int) -> None:
        """Queue a record, or count it as dropped if too many are queued."""
        if (
            self._in_records - self._out_records >= self._max_records
            or self._in_bytes - self._out_bytes + size_bytes > self._max_bytes
        ):
            self._refused += 1
            return
        self._in_records += 1
        self._in_bytes += size_bytes
        self._batch.append(record)
        self._batch_bytes += size_bytes
        if len(self._batch) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Hand the thread the records since the last call; called regularly."""
        if self._batch:
            self._queue.put((self._batch, self._batch_bytes))
            self._batch, self._batch_bytes = [], 0

    def take_counts(self) -> tuple[int, int]:
        """Return how many records were written and dropped since the last call."""
        written, dropped = self._out_records - self._lost, self._refused + self._lost
        before, self._reported = self._reported, (written, dropped)
        return written - before[0], dropped - before[1]

    def close(self, limit_s: float) -> bool:
        """Write the queued records, within the time limit; return whether all were written."""
        self.flush()
        self._queue.put(None)
        self._thread.join(limit_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (handed := self._queue.get()) is not None:
            batch, n_bytes = handed
            self._lost += self._write(batch)
            self._out_bytes += n_bytes
            self._out_records += len(batch)
