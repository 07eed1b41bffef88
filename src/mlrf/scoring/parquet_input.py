"""Parquet files: a part is a row group, or a range of rows of a row group of more than 512 MB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mlrf.scoring.input_files import InputFile, footer_digest
from mlrf.scoring.parts import BLOCK_BYTES, Part, block_part
from mlrf.scoring.row_batches import Batch, BatchReader

_LARGE_BYTES = 512 << 20
"""Decoded size from which a row group is read by one thread, and cut into parts of which several are scored at once.

Not less: each part is a file to sync, and other threads wait for the one that reads."""
_BUFFER_BYTES, _REMOTE_BUFFER_BYTES = 1 << 18, 4 << 20
"""Bytes that are read at once of each column. pyarrow's default is a whole row group: 173 MB for 1M x 28, not 67."""
_PAGE_BYTES = 2 << 20
"""Assumed size of a decoded page and its dictionary."""
_VALUE_BYTES = 8


class ParquetInput:
    """A Parquet file; ConfigError if it cannot be read, InvalidRequestError if it is not one."""

    def __init__(self, file: InputFile) -> None:
        self.file = file
        with file.read_errors("a Parquet file"):
            opened = file.open()
            self.metadata: Any = pq.ParquetFile(opened).metadata
            self.digest = footer_digest(opened, file.size_bytes)
            schema = self.metadata.schema.to_arrow_schema()
        self.names: list[str] = schema.names
        self.types: Sequence[Any] = schema.types

    @property
    def _buffer_bytes(self) -> int:
        return _REMOTE_BUFFER_BYTES if self.file.path.is_remote else _BUFFER_BYTES

    @property
    def n_rows(self) -> int:
        """Its number of rows."""
        return int(self.metadata.num_rows)

    @property
    def open_bytes(self) -> int:
        """A buffer and a page of each column."""
        return (self._buffer_bytes + _PAGE_BYTES) * len(self.names)

    def parts(self, columns: list[str], reader: BatchReader, batch_rows: int) -> Iterator[Part]:
        """Yield a part for each row group, or several."""
        first = count = 0
        if not self.metadata.num_row_groups:
            yield block_part(self.file, 0, 0, self._empty(columns), reader.of_table, batch_rows)
        for group in range(self.metadata.num_row_groups):
            n_rows = self.metadata.row_group(group).num_rows
            if self._size_bytes(group) <= _LARGE_BYTES:
                yield self._group_part(count, group, first, n_rows, columns, reader, batch_rows)
                count += 1
            else:
                for start, table in self._stream(group, columns, batch_rows):
                    yield block_part(self.file, count, first + start, table, reader.of_table, batch_rows)
                    count += 1
            first += n_rows

    def _size_bytes(self, group: int) -> int:
        found = self.metadata.row_group(group)
        sizes = [found.column(index).total_uncompressed_size for index in range(found.num_columns)]
        # A dictionary, or runs of equal values, is smaller encoded than decoded.
        return sum(max(size, found.num_rows * _VALUE_BYTES) for size in sizes)

    def _group_part(
        self, index: int, group: int, first: int, n_rows: int, columns: Sequence[str], reader: BatchReader, size: int
    ) -> Part:
        def batches() -> Iterator[Batch]:
            row = first
            for table in self._tables(group, columns, size):
                yield reader.of_table(table, row)
                row += len(table)

        return Part(index, self.file, first, n_rows, batches)

    def _stream(self, group: int, columns: Sequence[str], size: int) -> Iterator[tuple[int, Any]]:
        """Yield tables of at most 16 MB, or one batch, with the row of the group that each begins with."""
        row_bytes = self._size_bytes(group) // self.metadata.row_group(group).num_rows
        n_batches = max(1, BLOCK_BYTES // max(1, row_bytes * size))
        start, waiting = 0, []
        for table in self._tables(group, columns, size):
            waiting.append(table)
            if len(waiting) == n_batches:
                yield start, (whole := pa.concat_tables(waiting))
                start, waiting = start + len(whole), []
        if waiting:
            yield start, pa.concat_tables(waiting)

    def _tables(self, group: int, columns: Sequence[str], size: int) -> Iterator[Any]:
        with (
            self.file.read_errors("a Parquet file"),
            pq.ParquetFile(
                self.file.open(),
                metadata=self.metadata,
                buffer_size=self._buffer_bytes,
                pre_buffer=False,
                page_checksum_verification=True,
            ) as file,
        ):
            if not self.metadata.row_group(group).num_rows:
                yield self._empty(columns)
            for batch in file.iter_batches(size, row_groups=[group], columns=list(columns), use_threads=False):
                yield pa.Table.from_batches([batch])

    def _empty(self, columns: Sequence[str]) -> Any:
        return self.metadata.schema.to_arrow_schema().empty_table().select(list(columns))
