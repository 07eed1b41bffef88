"""The formats of output: Parquet, Arrow IPC, CSV and JSON lines, written a table at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from mlrf.core.errors import ConfigError
from mlrf.scoring.json_lines import JsonLinesWriter

PartFormat = Literal["parquet", "arrow", "csv"]
PART_FORMATS: tuple[PartFormat, ...] = get_args(PartFormat)
STREAM_FORMATS = ("jsonl", "csv", "arrow")
"""The formats that can be written to a stream."""
RUN_KEY, VERSION_KEY = "mlrf.run", "mlrf.version"
ENDINGS = {
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".json": "jsonl",
    ".ndjson": "jsonl",
}
"""The format of a single file of output by its extension."""


_SAMPLED_VALUES = 4096
_ROW_GROUP_BYTES = 8 << 20


class TableWriter(Protocol):
    """Writes tables of one schema."""

    def write(self, table: Any) -> None:
        """Write a table; ConfigError for a column that the format cannot hold."""
        ...

    def close(self) -> None:
        """Finish what is written."""
        ...


def open_writer(
    kind: str, sink: Any, schema: Any, metadata: Mapping[str, str], members: Mapping[str, list[str]]
) -> TableWriter:
    """Return a writer to a path or to an open file.

    CSV and JSON lines have no metadata; `members` are the columns that JSON lines gather in one array.
    """
    return JsonLinesWriter(sink, schema, members) if kind == "jsonl" else _WRITERS[kind](sink, schema, metadata)


def run_of(path: Path, kind: str) -> str | None:
    """Return the run that wrote a part; None if it is no part, or of a format without metadata."""
    try:
        if kind == "parquet":
            found = pq.read_metadata(path).metadata
        elif kind == "arrow":
            with pa.memory_map(str(path)) as file:
                found = pa.ipc.open_file(file).schema.metadata
        else:
            return None
    except (pa.ArrowException, OSError):
        return None
    run = (found or {}).get(RUN_KEY.encode())
    return None if run is None else str(run.decode())


class _ParquetWriter:
    """Writes without dictionaries where most values are distinct, as predictions and ids are: half the time of writing."""

    def __init__(self, sink: Any, schema: Any, metadata: Mapping[str, str]) -> None:
        self._sink = sink
        self._metadata = dict(metadata)
        self._schema = schema.with_metadata(self._metadata)
        self._writer: Any = None
        self._waiting: list[Any] = []

    def write(self, table: Any) -> None:
        self._waiting.append(table.replace_schema_metadata(self._metadata))
        if sum(each.nbytes for each in self._waiting) >= _ROW_GROUP_BYTES:
            self._write_group()

    def close(self) -> None:
        if self._waiting or self._writer is None:
            self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        """Write the tables that wait as one row group."""
        group = pa.concat_tables(self._waiting) if self._waiting else self._schema.empty_table()
        self._waiting = []
        if self._writer is None:
            self._open(group)
        self._writer.write_table(group)

    def _open(self, first: Any) -> None:
        repeated = [name for name in first.column_names if _repeats(first[name])]
        self._writer = pq.ParquetWriter(self._sink, self._schema, use_dictionary=repeated)
        self._writer.add_key_value_metadata(self._metadata)


def _repeats(column: Any) -> bool:
    """Return whether a dictionary of a column's values is likely to be worth its time, from its first values."""
    if pa.types.is_floating(column.type):
        return False
    if not pa.types.is_integer(column.type):
        return True
    first = column.slice(0, _SAMPLED_VALUES)
    return bool(2 * pc.count_distinct(first).as_py() <= len(first))


class _ArrowWriter:
    def __init__(self, sink: Any, schema: Any, metadata: Mapping[str, str]) -> None:
        schema = schema.with_metadata(dict(metadata))
        self._schema = schema
        self._file = pa.OSFile(str(sink), "wb") if isinstance(sink, Path) else None
        # To a pipe, a stream: a file has to be read from its end.
        make = pa.ipc.new_stream if self._file is None else pa.ipc.new_file
        self._writer = make(sink if self._file is None else self._file, schema)

    def write(self, table: Any) -> None:
        self._writer.write_table(table.cast(self._schema))

    def close(self) -> None:
        self._writer.close()
        if self._file is not None:
            self._file.close()


class _CsvWriter:
    def __init__(self, sink: Any, schema: Any, _metadata: Mapping[str, str]) -> None:
        try:
            self._writer = pa.csv.CSVWriter(sink, schema)
        except pa.ArrowException as error:
            raise _no_csv(schema, error) from error
        self._schema = schema

    def write(self, table: Any) -> None:
        try:
            self._writer.write_table(table.cast(self._schema))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            raise _no_csv(self._schema, error) from error

    def close(self) -> None:
        self._writer.close()


def _no_csv(schema: Any, error: Exception) -> ConfigError:
    nested = [field.name for field in schema if pa.types.is_nested(field.type)]
    what = f"the column {nested[0]!r}, of type {schema.field(nested[0]).type}," if nested else "a column"
    return ConfigError(f"{what} cannot be written as CSV ({error}); leave it out, or write Parquet")


_WRITERS: dict[str, Callable[[Any, Any, Mapping[str, str]], TableWriter]] = {
    "parquet": _ParquetWriter,
    "arrow": _ArrowWriter,
    "csv": _CsvWriter,
}
