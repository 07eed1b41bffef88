"""Reads the files of rows of `mlrf features push`, and keys given as arguments."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mlrf.core import json_infinities
from mlrf.core.column_matching import find_columns
from mlrf.core.errors import ConfigError, InvalidRequestError, RowsError
from mlrf.features.entity_key import EntityKey, KeyType
from mlrf.features.interface import Key, Record
from mlrf.features.row_format import RowFormat
from mlrf.features.row_json import read_document
from mlrf.model.row_files import read_bytes
from mlrf.model.text_cells import read_cell

MAX_PUSHED_ROWS = 1_000_000
_INTEGER_CHARS = 20
_BOOLEANS = {"true": True, "false": False}


def read_rows(path: Path, rows: RowFormat, *, as_of_column: str | None, partial: bool) -> list[tuple[Key, Record]]:
    """Return the rows of a .parquet, .csv, .json, .jsonl or .ndjson file; RowsError names the invalid row."""
    match path.suffix.lower():
        case ".parquet":
            given = _parquet(path, rows, as_of_column=as_of_column, partial=partial)
        case ".csv":
            given = _documents(_csv(path, rows, as_of_column), path, rows, partial=partial)
        case ".json" | ".jsonl" | ".ndjson":
            if as_of_column is not None:
                raise ConfigError("--as-of-column: it applies to tables; in JSON lines the member as_of gives the time")
            given = _documents(_json(path), path, rows, partial=partial)
        case other:
            raise ConfigError(
                f"{path}: the rows must be a .parquet, .csv or .jsonl file, not {other or 'a file without an extension'}"
            )
    taken = list(given)
    if not taken:
        raise RowsError(f"{path} has no rows")
    return taken


def read_key_text(fields: Sequence[str], key: EntityKey) -> dict[str, Any]:
    """Return the key of `name=value` arguments, each value by its field's type; ConfigError for an invalid argument."""
    types = {field.name: field.type for field in key.fields}
    values = {}
    for each in fields:
        name, equals, text = each.partition("=")
        if not equals:
            raise ConfigError(f"{each!r} is not a field of a key; write {' '.join(f'{n}=…' for n in key.names)}")
        values[name] = _key_value(types.get(name, KeyType.STRING), text)
    return values


def _parquet(path: Path, rows: RowFormat, *, as_of_column: str | None, partial: bool) -> Iterator[tuple[Key, Record]]:
    from mlrf.features.rows_parquet import RowsFile  # noqa: PLC0415  only Parquet needs pyarrow

    file = RowsFile(path, rows, as_of_column=as_of_column, partial=partial)
    if file.n_rows > MAX_PUSHED_ROWS:
        raise RowsError(
            f"{path} has {file.n_rows} rows, more than a push of {MAX_PUSHED_ROWS}; use `mlrf features load` instead"
        )
    for batch in file.batches():
        yield from zip(batch.keys, batch.records, strict=True)


def _documents(documents: Iterator[Any], path: Path, rows: RowFormat, *, partial: bool) -> Iterator[tuple[Key, Record]]:
    for index, document in enumerate(documents):
        try:
            yield read_document(document, rows, partial=partial)
        except InvalidRequestError as error:
            raise RowsError(f"{path}: row {index}: {error}", **{"row": index, **error.details}) from error


def _json(path: Path) -> Iterator[Any]:
    try:
        yield from json_infinities.decode_documents(read_bytes(path))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RowsError(f"{path} is neither a JSON array nor JSON lines: {error}") from error


def _csv(path: Path, rows: RowFormat, as_of_column: str | None) -> Iterator[Any]:
    try:
        lines = csv.reader(io.StringIO(read_bytes(path).decode("utf-8-sig"), newline=""), strict=True)
        header = next(lines, [])
        columns = _csv_columns(path, rows, header, as_of_column)
        by_name = {feature.name: feature for feature in rows.schema.features}
        for cells in filter(None, lines):
            if len(cells) != len(header):
                raise RowsError(
                    f"{path} has {len(cells)} cells in line {lines.line_num}, but {len(header)} in its header"
                )
            document: dict[str, Any] = {
                "key": {f.name: _key_value(f.type, cells[header.index(f.name)]) for f in rows.key.fields},
                "features": {name: read_cell(by_name[name], cells[index]) for name, index in columns.items()},
            }
            if as_of_column is not None:
                document["as_of"] = cells[header.index(as_of_column)] or None
            yield document
    except (csv.Error, UnicodeDecodeError) as error:
        raise RowsError(f"{path} is not CSV in UTF-8: {error}") from error


def _csv_columns(path: Path, rows: RowFormat, header: list[str], as_of_column: str | None) -> dict[str, int]:
    for name in [*rows.key.names, *([] if as_of_column is None else [as_of_column])]:
        if header.count(name) != 1:
            raise RowsError(f"{path} has {'two columns' if name in header else 'no column'} {name!r}", column=name)
    try:
        return find_columns(rows.schema.names, header)
    except InvalidRequestError as error:
        raise RowsError(f"{path}: {error}", **error.details) from error


def _key_value(kind: KeyType, text: str) -> Any:
    """Return a text as a value of a key field; a text that is not one is returned unchanged, for the key to refuse."""
    if kind is KeyType.INTEGER:
        digits = text.removeprefix("-")
        return int(text) if len(text) <= _INTEGER_CHARS and digits.isascii() and digits.isdecimal() else text
    if kind is KeyType.BOOLEAN:
        return _BOOLEANS.get(text.lower(), text)
    return text
