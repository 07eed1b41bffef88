"""Rows stored as differences from a few complete rows, because golden rows are many and wide.

A golden row changes some columns of a background row. As a table, a model's rows would take memory for its nodes times its
columns; as differences they take memory for the changed columns only. Libraries and engines process them in blocks, each a
table of a bounded size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from mlrf.core.forest import F64, I32, I64

BLOCK_BYTES = 64 << 20
"""Size of a table that is processed at once; a library makes a few copies of it."""


@dataclass(frozen=True, slots=True, eq=False)
class SparseRows:
    """n rows of F columns: row i is `whole[start[i]]`, `columns[j]` set to `values[j]` for offsets[i] <= j < offsets[i + 1]."""

    whole: F64
    """[B, F]"""
    start: I32
    """[n]"""
    offsets: I64
    """[n + 1]"""
    columns: I32
    values: F64

    @classmethod
    def of(cls, rows: F64) -> SparseRows:
        """Return rows [n, F], each of them complete."""
        n = len(rows)
        return cls(rows, np.arange(n, dtype=np.int32), np.zeros(n + 1, np.int64), np.zeros(0, np.int32), np.zeros(0))

    def __len__(self) -> int:
        return len(self.start)

    @property
    def n_features(self) -> int:
        """F."""
        return int(self.whole.shape[1])

    def dense(self, first: int = 0, last: int | None = None) -> F64:
        """Return rows `first` to `last` as a table."""
        last = len(self) if last is None else min(last, len(self))
        rows = self.whole[self.start[first:last]]
        begin, end = int(self.offsets[first]), int(self.offsets[last])
        lines = np.repeat(np.arange(len(rows)), np.diff(self.offsets[first : last + 1]))
        rows[lines, self.columns[begin:end]] = self.values[begin:end]
        return np.ascontiguousarray(rows)

    def take(self, indices: I64) -> SparseRows:
        """Return the rows at `indices`, in their order."""
        counts = np.diff(self.offsets)[indices]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        picked = np.repeat(self.offsets[indices] - offsets[:-1], counts) + np.arange(offsets[-1])
        used, start = np.unique(self.start[indices], return_inverse=True)
        whole = self.whole if len(used) == len(self.whole) else self.whole[used]
        return SparseRows(whole, start.astype(np.int32), offsets, self.columns[picked], self.values[picked])

    def blocks(self, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[int, F64]]:
        """Yield tables of consecutive rows, each with the index of its first row."""
        step = max(1, block_bytes // (8 * self.n_features))
        for first in range(0, len(self), step):
            yield first, self.dense(first, first + step)

    def save(self, folder: Path) -> None:
        """Write the rows into a folder, one file per array."""
        for field in fields(self):
            np.save(folder / f"{field.name}.npy", getattr(self, field.name), allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> SparseRows:
        """Return the rows that `save` wrote."""
        return cls(*(np.load(folder / f"{field.name}.npy", allow_pickle=False) for field in fields(cls)))


def as_sparse(rows: F64 | SparseRows) -> SparseRows:
    """Return the rows; those of a table as complete rows."""
    return rows if isinstance(rows, SparseRows) else SparseRows.of(rows)
