"""`Part`: a range of rows of one input, which is read, scored and written as a whole; `Input` is what is cut into parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from mlrf.scoring.input_files import InputFile
from mlrf.scoring.row_batches import Batch, BatchReader

BLOCK_BYTES = 16 << 20
"""Bytes of text, or of decoded values, in a part of an input that is read sequentially."""
MOST_BATCH_ROWS = 1 << 15
_BATCH_BYTES = 32 << 20
_LEAST_BATCH_ROWS = 256


class Part(NamedTuple):
    """A range of rows of a file. Its position is the same whenever the file is read, for the same version of pyarrow."""

    number: int
    """Number among the parts of its file, from 0."""
    file: InputFile
    first_row: int
    n_rows: int
    batches: Callable[[], Iterator[Batch]]
    """Reads the rows, in order; at least one batch, which may have no rows."""


class Input(Protocol):
    """An open file, of which the columns are known."""

    @property
    def file(self) -> InputFile:
        """The file."""
        ...

    @property
    def names(self) -> list[str]:
        """The names of its columns."""
        ...

    @property
    def types(self) -> Sequence[Any]:
        """The Arrow types of its columns; empty for text, whose cells fit any type."""
        ...

    @property
    def n_rows(self) -> int:
        """Its number of rows; for text an estimate until it has been read."""
        ...

    @property
    def digest(self) -> str:
        """The digest of its footer; empty if it has none."""
        ...

    @property
    def open_bytes(self) -> int:
        """Memory that reading takes in addition to the batches, in bytes: an estimate."""
        ...

    def parts(self, columns: list[str], reader: BatchReader, batch_rows: int) -> Iterator[Part]:
        """Yield the parts of these columns in the order of the rows."""
        ...


def rows_per_batch(n_features: int, n_answers: int) -> int:
    """Return the rows that are scored at once, for answers of so many numbers a row: as many as 32 MB can contain."""
    return max(_LEAST_BATCH_ROWS, min(MOST_BATCH_ROWS, _BATCH_BYTES // (8 * (n_features + n_answers))))


def slices(n_rows: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield the first row and the number of rows of each slice; one without rows if there are none."""
    for first in range(0, max(n_rows, 1), size):
        yield first, min(size, n_rows - first)


def block_part(
    file: InputFile, number: int, first_row: int, rows: Any, read: Callable[[Any, int], Batch], batch_rows: int
) -> Part:
    """Return the part of rows in memory: a table, or a list of documents."""

    def batches() -> Iterator[Batch]:
        for start, count in slices(len(rows), batch_rows):
            chosen = rows[start : start + count] if isinstance(rows, list) else rows.slice(start, count)
            yield read(chosen, first_row + start)

    return Part(number, file, first_row, len(rows), batches)
