"""Reads files of rows for work that is not served: JSON and CSV as instances by name, Parquet as a table."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import Any

import msgspec

from mlrf.core import json_infinities
from mlrf.core.column_matching import find_columns
from mlrf.core.errors import ConfigError, InvalidRequestError
from mlrf.core.repeated_names import first_repeated
from mlrf.core.schema import Schema
from mlrf.model.csv_dialect import find_dialect, one_column
from mlrf.model.json_instances import features_of, spelled_as_features
from mlrf.model.text_cells import read_column

STANDARD = Path("-")
"""The argument that stands for standard input, or output."""
_PARQUET = b"PAR1"


def read_file(path: Path, schema: Schema) -> Any:
    """Return the rows of a file as instances by name or as a table, for `Model.predict`; categories are given by value.

    The format follows the file extension. Columns are matched as in any table, including LightGBM's underscores for blanks.
    ConfigError when the file cannot be read, InvalidRequestError when its content is not of the format; the schema checks the
    values. `-` is standard input, JSON, CSV or Parquet by its first bytes.
    """
    if path == STANDARD:
        return _standard_input(schema)
    match path.suffix.lower():
        case ".json" | ".jsonl" | ".ndjson":
            return spelled_as_features(_json(read_bytes(path), path, schema), schema)
        case ".csv":
            return _csv(read_bytes(path), path, schema)
        case ".parquet":
            if not path.is_file():
                raise ConfigError(f"{path} cannot be read: no such file")
            return _parquet(path, path)
    raise ConfigError(
        f"{path}: the rows must be a .json, .jsonl, .csv or .parquet file, not {path.suffix or 'a file without an extension'}"
    )


def _standard_input(schema: Schema) -> Any:
    raw, path = sys.stdin.buffer.read(), Path("standard input")
    if raw[:4] == _PARQUET:
        return _parquet(io.BytesIO(raw), path)
    if raw.lstrip()[:1] in (b"[", b"{"):
        return spelled_as_features(_json(raw, path, schema), schema)
    return _csv(raw, path, schema)


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes; ConfigError when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def _json(raw: bytes, path: Path, schema: Schema) -> list[Any]:
    names = frozenset(schema.names)
    try:
        return [features_of(item, names) for item in json_infinities.decode_documents(raw)]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError(f"{path} is neither a JSON array nor JSON lines: {error}") from error


def _csv(raw: bytes, path: Path, schema: Schema) -> list[Any]:
    try:
        # Quoted cells may contain line breaks; U+2028 and similar characters do not end a line.
        text = raw.decode("utf-8-sig")
        dialect = find_dialect(text, schema.names)
        lines = csv.reader(
            io.StringIO(text, newline=""),
            delimiter=dialect.delimiter,
            skipinitialspace=dialect.skips_blanks,
            strict=True,
        )
        header = next(lines, [])
        if not header:
            raise InvalidRequestError(f"{path} is empty; its first line must name the columns")
        if (twice := first_repeated([name for name in header if name])) is not None:
            raise InvalidRequestError(f"{path} has two columns {twice!r} in its header")
        rows: list[list[str]] = []
        for cells in filter(None, lines):
            if len(cells) != len(header):
                raise InvalidRequestError(
                    f"row {len(rows)}: {path} has {len(cells)} cells in line {lines.line_num}, but {len(header)} in its header"
                )
            rows.append(cells)
    except (csv.Error, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"{path} is not CSV in UTF-8: {error}") from error
    found = find_columns(schema.names, header)
    if not found and len(header) == 1 < len(schema.names):
        raise InvalidRequestError(f"{path}: {one_column(header[0])}")
    by_name = {feature.name: feature for feature in schema.features}
    columns = {name: read_column(by_name[name], [cells[index] for cells in rows]) for name, index in found.items()}
    return [{name: column[index] for name, column in columns.items()} for index in range(len(rows))]


def _parquet(source: Path | io.BytesIO, path: Path) -> Any:
    try:
        import pyarrow as pa  # noqa: PLC0415  a server may lack it
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(f"reading Parquet needs pyarrow: pip install 'mlrf[build]' ({error})") from error
    try:
        return pq.ParquetFile(source).read()
    except MemoryError:
        raise  # pyarrow's is one of its own errors too
    except (pa.ArrowException, OSError) as error:
        raise InvalidRequestError(f"{path} is not a Parquet file that can be read: {error}") from error
