"""CSV files, also compressed: a part is a block of 16 MB of text.

Cells become numbers in C++, 10 times as fast as in Python. From the first part on in which a cell is no number, the file is
read as strings, and the rules of the schema say what a cell means, the same as for `mlrf explain`.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.csv

from mlrf.core.errors import InvalidRequestError
from mlrf.core.repeated_names import first_repeated
from mlrf.core.schema import Schema
from mlrf.model.csv_dialect import find_dialect
from mlrf.model.text_cells import EMPTY
from mlrf.scoring.input_files import InputFile
from mlrf.scoring.parts import BLOCK_BYTES, Part, block_part
from mlrf.scoring.row_batches import BatchReader, has_odd_nan
from mlrf.scoring.text_streams import TextStream

_HEADER_BYTES = 1 << 20
_PLAIN_ROWS = 1 << 16
_BLOCK_BYTES = 1 << 20
"""Text that is parsed at once. Measured: blocks of 16 MB take twice the time, as they do not fit into the cache."""
_PART_BLOCKS = 16
_GZIP_MAGIC = b"\x1f\x8b"


class _NotConvertedError(Exception):
    """A cell of a column of numbers is no number."""


class CsvInput:
    """A CSV file with a header; ConfigError if it cannot be read, InvalidRequestError if it is not CSV in UTF-8."""

    digest = ""
    types: Sequence[Any] = ()

    def __init__(self, file: InputFile, schema: Schema) -> None:
        self.file = file
        self._read_rows = 0
        self._read_bytes = 0
        with _csv_errors(file):
            raw = io.BufferedReader(TextStream(file), _HEADER_BYTES).read(_HEADER_BYTES)
            # The end may be in the middle of a character.
            text = raw.decode("utf-8-sig", errors="strict" if len(raw) < _HEADER_BYTES else "ignore")
            if len(raw) == _HEADER_BYTES and "\n" not in text and "\r" not in text:
                raise InvalidRequestError(
                    f"{file}: its first line, which names the columns, is longer than 1 MB; keep those that the model needs"
                )
            self._dialect = find_dialect(text, schema.names)
            lines = self._lines(io.StringIO(text, newline=""))
            self.names: list[str] = next(lines, [])
            n_bytes = sum(len(line) for line in text.split("\n", 100)[:100])
            self._row_bytes = max(1, n_bytes // 100)
            self._is_header_only = len(raw) < _HEADER_BYTES and next(filter(None, lines), None) is None
        if (twice := first_repeated([name for name in self.names if name])) is not None:
            raise InvalidRequestError(f"{file} has two columns {twice!r} in its header")

    @property
    def n_rows(self) -> int:
        """An estimate from the size of the file and of the rows read so far, until it has been read."""
        if self._read_bytes:
            return self._read_rows * self.file.size_bytes // self._read_bytes
        return self.file.size_bytes // self._row_bytes

    @property
    def open_bytes(self) -> int:
        """The block that is parsed, and the one that is read ahead."""
        return 4 * BLOCK_BYTES

    def parts(self, columns: list[str], reader: BatchReader, batch_rows: int) -> Iterator[Part]:
        """Yield a part for each 16 blocks of 1 MB."""
        first = count = 0
        with _csv_errors(self.file):
            for table in self._tables(reader.number_columns(self.names)):
                yield block_part(self.file, count, first, table.select(columns), reader.of_text, batch_rows)
                first, count = first + len(table), count + 1
        self._read_rows, self._read_bytes = first, self.file.size_bytes

    def _tables(self, numbers: frozenset[str]) -> Iterator[Any]:
        """Yield the tables of the parts. The columns of `numbers` are float64 before the first part with another cell."""
        if self._dialect.skips_blanks:
            yield from self._plain_tables()
            return
        count = 0
        if numbers:
            try:
                for table in self._parsed(numbers):
                    yield table
                    count += 1
            except _NotConvertedError:
                pass
            else:
                return
        # The blocks are the same, so the parts are, too.
        yield from itertools.islice(self._parsed(frozenset()), count, None)

    def _parsed(self, numbers: frozenset[str]) -> Iterator[Any]:
        """Yield tables of strings and of float64, parsed by pyarrow; _NotConvertedError for a cell that is no number."""
        bad: list[Any] = []

        def refuse(row: Any) -> str:
            bad.append(row)
            return "error"

        stream = TextStream(self.file)
        names = [str(index) for index in range(len(self.names))]
        types = {
            short: pa.float64() if name in numbers else pa.string()
            for short, name in zip(names, self.names, strict=True)
        }
        waiting: list[Any] = []
        n_rows = 0
        try:
            blocks = pa.csv.open_csv(
                io.BufferedReader(stream),
                # One thread: only so does it number the rows that it refuses.
                pa.csv.ReadOptions(
                    use_threads=False, block_size=_BLOCK_BYTES, column_names=names, skip_rows_after_names=1
                ),
                pa.csv.ParseOptions(
                    delimiter=self._dialect.delimiter, newlines_in_values=True, invalid_row_handler=refuse
                ),
                pa.csv.ConvertOptions(column_types=types, strings_can_be_null=False, null_values=EMPTY),
            )
            for batch in blocks:
                if has_odd_nan(batch.column(index) for index, name in enumerate(self.names) if name in numbers):
                    raise _NotConvertedError
                waiting.append(batch)
                if len(waiting) == _PART_BLOCKS:
                    table = pa.Table.from_batches(waiting).rename_columns(self.names)
                    n_rows += len(table)
                    self._read_rows, self._read_bytes = n_rows, stream.read_bytes
                    waiting = []
                    yield table
        except pa.ArrowInvalid as error:
            if bad:
                raise self._wrong_count(bad[0].number - 2, bad[0].actual_columns) from error
            if numbers:
                raise _NotConvertedError from error
            # A header without a line end is called a straddling object.
            if "Empty CSV" not in str(error) and not self._is_header_only:
                raise
        self._check_end(stream.n_quotes)
        if waiting or not n_rows:
            yield pa.Table.from_batches(waiting).rename_columns(self.names) if waiting else self._table([])

    def _check_end(self, n_quotes: int) -> None:
        """Refuse a file that ends within a quoted cell, which pyarrow reads as if the quote were closed: it was cut there."""
        if not n_quotes & 1:
            return
        text = io.TextIOWrapper(io.BufferedReader(TextStream(self.file)), "utf-8-sig", newline="")
        try:
            for _ in self._lines(text):
                pass
        except csv.Error as error:
            if "end of data" in str(error):
                raise

    def _plain_tables(self) -> Iterator[Any]:
        """Yield tables of strings, parsed by Python: pyarrow does not know blanks after delimiters, before quotes."""
        text = io.TextIOWrapper(io.BufferedReader(TextStream(self.file)), "utf-8-sig", newline="")
        lines = filter(None, self._lines(text))
        next(lines, None)
        rows: list[list[str]] = []
        n_rows = 0
        for cells in lines:
            if len(cells) != len(self.names):
                raise self._wrong_count(n_rows + len(rows), len(cells))
            rows.append(cells)
            if len(rows) == _PLAIN_ROWS:
                yield self._table(rows)
                n_rows, rows = n_rows + len(rows), []
        if rows or not n_rows:
            yield self._table(rows)

    def _table(self, rows: list[list[str]]) -> Any:
        columns = [[row[index] for row in rows] for index in range(len(self.names))]
        return pa.table([pa.array(each, pa.string()) for each in columns], names=self.names)

    def _lines(self, text: Any) -> Any:
        return csv.reader(
            text, delimiter=self._dialect.delimiter, skipinitialspace=self._dialect.skips_blanks, strict=True
        )

    def _wrong_count(self, row: int, count: int) -> InvalidRequestError:
        return InvalidRequestError(
            f"{self.file}: row {row}: has {count} cells, but {len(self.names)} in its header", row=row
        )


@contextmanager
def _csv_errors(file: InputFile) -> Iterator[None]:
    with file.read_errors("a CSV file in UTF-8"):
        try:
            yield
        except UnicodeDecodeError as error:
            is_compressed = error.object[:2] == _GZIP_MAGIC
            remedy = "give a compressed file a name that ends in .csv.gz" if is_compressed else "convert it"
            raise InvalidRequestError(f"{file} is not CSV in UTF-8: {error}; {remedy}") from error
        except csv.Error as error:
            raise InvalidRequestError(f"{file} is not CSV in UTF-8: {error}") from error
