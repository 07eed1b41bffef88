"""Arrow IPC files and streams: a part is some record batches, or a range of rows of a large one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from mlrf.scoring.input_files import InputFile
from mlrf.scoring.parts import BLOCK_BYTES, Part, block_part, slices
from mlrf.scoring.row_batches import BatchReader

_MAGIC = b"ARROW1"
_TEXT_BYTES = 16
"""Assumed size of a value of variable length."""


class ArrowInput:
    """An Arrow IPC file or stream; ConfigError if it cannot be read, InvalidRequestError if it is neither."""

    digest = ""

    def __init__(self, file: InputFile) -> None:
        self.file = file
        self._read_bytes = self._read_rows = 0
        with file.read_errors("an Arrow IPC file"):
            schema = self._open().schema
        self.names: list[str] = schema.names
        self.types: Sequence[Any] = schema.types
        self._row_bytes = sum(each.bit_width // 8 if _is_fixed(each) else _TEXT_BYTES for each in schema.types) or 1

    @property
    def n_rows(self) -> int:
        """An estimate from the size of the file, until it has been read."""
        return self._read_rows or self.file.size_bytes // self._row_bytes

    @property
    def open_bytes(self) -> int:
        """One block: uncompressed files are mapped into memory, others have one batch of theirs decoded at a time."""
        return 2 * BLOCK_BYTES

    def parts(self, columns: list[str], reader: BatchReader, batch_rows: int) -> Iterator[Part]:
        """Yield parts of about 16 MB."""
        size = max(1, BLOCK_BYTES // self._row_bytes)
        first = count = 0
        for table in self._blocks(columns, size):
            yield block_part(self.file, count, first, table, reader.of_table, batch_rows)
            first, count = first + len(table), count + 1
        self._read_rows = first

    def _blocks(self, columns: list[str], size: int) -> Iterator[Any]:
        waiting: list[Any] = []
        n_waiting = 0
        with self.file.read_errors("an Arrow IPC file"):
            opened = self._open()
            yielded = False
            for batch in _record_batches(opened):
                for start, count in slices(batch.num_rows, size):
                    waiting.append(batch.slice(start, count))
                    n_waiting += count
                    if n_waiting >= size:
                        yield pa.Table.from_batches(waiting).select(columns)
                        waiting, n_waiting, yielded = [], 0, True
            if n_waiting or not yielded:
                yield pa.Table.from_batches(waiting, opened.schema).select(columns)

    def _open(self) -> Any:
        opened = self.file.open()
        opened.seek(0)
        is_file = opened.read(len(_MAGIC)) == _MAGIC
        opened.seek(0)
        if is_file and self.file.copy is None and not self.file.path.is_remote:
            opened = pa.memory_map(self.file.path.text)
        return pa.ipc.open_file(opened) if is_file else pa.ipc.open_stream(opened)


def _is_fixed(kind: Any) -> bool:
    try:
        return int(kind.bit_width) > 0
    except ValueError:
        return False


def _record_batches(opened: Any) -> Iterator[Any]:
    if isinstance(opened, pa.ipc.RecordBatchFileReader):
        for index in range(opened.num_record_batches):
            yield opened.get_batch(index)
    else:
        yield from opened
