"""Collects golden rows: complete rows, and changes to them, up to a limit."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from mlrf.builder.parity.sparse_rows import SparseRows
from mlrf.core.forest import F64

KINDS = ("sampled", "random", "missing", "threshold", "categories", "zero", "tables")
Kinds = npt.NDArray[np.int8]
_MIN_BACKGROUNDS, _BACKGROUND_BYTES = 64, 4 << 20
_TRIES, _TRIES_OF_FULL = 16, 64
"""Shared rows of one kind in which a further change is tried."""


class RowCollector:
    """Rows and their kinds.

    Changes of one column each are spread over an eighth of the limit: if there are more, a row changes several columns.
    With `shares_rows` changes of any columns share rows, if they do not contradict each other.
    """

    def __init__(self, limit: int, rng: np.random.Generator) -> None:
        self.shares_rows = False
        self.count = 0
        self._limit, self._rng = limit, rng
        self._whole: list[F64] = []
        self._n_whole = 0
        self._indices: list[int] = []
        self._start, self._kinds, self._sizes = array("i"), array("b"), array("i")
        self._columns, self._values = array("i"), array("d")
        self._shared: dict[str, list[tuple[int, dict[int, float]]]] = {}
        """Backgrounds and changes of the rows that can still be shared, by kind."""
        self._next: dict[str, int] = {}

    @property
    def is_full(self) -> bool:
        """Whether the limit is reached."""
        return self.count >= self._limit

    def backgrounds(self) -> F64:
        """Return the complete rows that nodes' rows change: few for a wide model, so that many rows share one."""
        whole = self._all_whole()
        most = max(_MIN_BACKGROUNDS, _BACKGROUND_BYTES // (8 * whole.shape[1]))
        self._indices = np.unique(np.linspace(0, len(whole) - 1, most).astype(np.int64)).tolist()
        return whole[self._indices]

    def _all_whole(self) -> F64:
        if len(self._whole) > 1:
            self._whole = [np.concatenate(self._whole)]
        return self._whole[0]

    def add_whole(self, kind: str, rows: F64) -> None:
        """Add complete rows; they are backgrounds too."""
        self._whole.append(rows)
        for index in range(self._n_whole, self._n_whole + len(rows)):
            self._append(kind, index, {})
        self._n_whole += len(rows)

    def add_columns(self, kind: str, alterations: Sequence[Mapping[int, float]]) -> None:
        """Add a row for each column of each of the changes; if there are too many, a row changes several columns."""
        each = max(1, self._limit // 8 // max(1, len(alterations)))
        for altered in alterations:
            pairs = list(altered.items())
            for first in range(min(each, len(pairs))):
                self._append(kind, self._any_background(), dict(pairs[first::each]))

    def add_alterations(self, kind: str, altered: Mapping[int, float]) -> None:
        """Add one row that changes all of these columns."""
        self._append(kind, self._any_background(), altered)

    def add(self, kind: str, background: int, altered: dict[int, float]) -> bool:
        """Add a row that changes one of the `backgrounds`, or change a shared one; return whether it fitted."""
        background = self._indices[background]
        if not self.shares_rows:
            self._append(kind, background, altered)
        elif not self._share(kind, altered):
            if self.is_full:
                return False
            self._shared.setdefault(kind, []).append((background, altered))
            self.count += 1
        return True

    def _share(self, kind: str, altered: dict[int, float]) -> bool:
        rows = self._shared.get(kind, [])
        first = self._next.get(kind, 0)
        for turn in range(min(_TRIES_OF_FULL if self.is_full else _TRIES, len(rows))):
            row = rows[(first + turn) % len(rows)][1]
            # NaN is always the same object here.
            if all(column not in row or row[column] is x or row[column] == x for column, x in altered.items()):
                row.update(altered)
                self._next[kind] = first + turn + 1
                return True
        self._next[kind] = first + 1
        return False

    def collected(self) -> tuple[SparseRows, Kinds]:
        """Return the rows and the kind of each, as its index in KINDS; nothing is added afterwards."""
        for kind, shared in self._shared.items():
            for background, altered in shared:
                self._append(kind, background, altered)
        self._shared.clear()
        offsets = np.concatenate([[0], np.cumsum(np.array(self._sizes, np.int64))]).astype(np.int64)
        rows = SparseRows(
            self._all_whole(),
            np.array(self._start, np.int32),
            offsets,
            np.array(self._columns, np.int32),
            np.array(self._values, np.float64),
        )
        return rows, np.array(self._kinds, np.int8)

    def _any_background(self) -> int:
        if not self._indices:
            self.backgrounds()
        return self._indices[int(self._rng.integers(len(self._indices)))]

    def _append(self, kind: str, background: int, altered: Mapping[int, float]) -> None:
        self._start.append(background)
        self._kinds.append(KINDS.index(kind))
        self._sizes.append(len(altered))
        self._columns.extend(altered.keys())
        self._values.extend(altered.values())
        self.count += 1
