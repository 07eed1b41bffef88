"""Reads the input files of the offline commands: JSON and CSV as instances by name, Parquet as a table."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from mlrf.cli.csv_dialect import find_dialect
from mlrf.core import json_infinities
from mlrf.core.column_matching import find_columns
from mlrf.core.errors import ConfigError, InvalidRequestError
from mlrf.core.feature import Feature, Kind
from mlrf.core.leniency import Leniency
from mlrf.core.schema import Schema

STANDARD = Path("-")
"""The argument that stands for standard input, or output."""
_EMPTY = ("", "NA", "NaN", "nan", "null")
_PARQUET = b"PAR1"
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}


def leniency_of(unknown_categories: str) -> Leniency:
    """Return the leniency for rows of files: extra columns are ignored, unknown categories handled as the option says."""
    if unknown_categories not in ("refuse", "missing", "as-library"):
        raise ConfigError(f"--unknown-categories is `refuse`, `missing` or `as-library`, not {unknown_categories!r}")
    return Leniency("ignore", unknown_categories, "command line", natural=True)  # type: ignore[arg-type]


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
            return _with_features_names(_json(read_bytes(path), path), schema)
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
        return _with_features_names(_json(raw, path), schema)
    return _csv(raw, path, schema)


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes; ConfigError when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def _json(raw: bytes, path: Path) -> list[Any]:
    try:
        return [_features(item) for item in json_infinities.decode_documents(raw)]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError(f"{path} is neither a JSON array nor JSON lines: {error}") from error


def _features(item: Any) -> Any:
    """Return the features of a row, which may also have the form of a request to the server."""
    if isinstance(item, dict) and list(item) == ["features"]:
        return item["features"]
    return item


def _with_features_names(instances: list[Any], schema: Schema) -> list[Any]:
    """Return the instances with their keys as the model spells them."""
    spelled: dict[tuple[str, ...], dict[str, int]] = {}
    renamed = []
    for index, instance in enumerate(instances):
        if isinstance(instance, dict):
            keys = tuple(instance)
            if keys not in spelled:
                try:
                    spelled[keys] = find_columns(schema.names, keys)
                except InvalidRequestError as error:
                    raise InvalidRequestError(f"row {index}: {error}", row=index, **error.details) from error
            renamed.append({name: instance[keys[at]] for name, at in spelled[keys].items()})
        else:
            renamed.append(instance)
    return renamed


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
        if twice := [name for index, name in enumerate(header) if name and name in header[:index]]:
            raise InvalidRequestError(f"{path} has two columns {twice[0]!r} in its header")
        rows: list[list[str]] = []
        for cells in filter(None, lines):
            if len(cells) != len(header):
                raise InvalidRequestError(
                    f"row {len(rows)}: {path} has {len(cells)} cells in line {lines.line_num}, but {len(header)} in its header"
                )
            rows.append(cells)
    except (csv.Error, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"{path} is not CSV in UTF-8: {error}") from error
    by_name = {feature.name: feature for feature in schema.features}
    columns = {
        name: _column(by_name[name], [cells[index] for cells in rows])
        for name, index in find_columns(schema.names, header).items()
    }
    return [{name: column[index] for name, column in columns.items()} for index in range(len(rows))]


def _column(feature: Feature, texts: Sequence[str]) -> list[Any]:
    """Return a column's values; a column of only true and false is 0 and 1 for a numeric feature, as in any table."""
    if feature.kind in (Kind.NUMERIC, Kind.INTEGER) and all(
        text.strip() in _EMPTY or text.strip().lower() in ("true", "false") for text in texts
    ):
        boolean = Feature(feature.name, Kind.BOOLEAN)
        return [None if value is None else int(value) for value in (read_cell(boolean, text) for text in texts)]
    return [read_cell(feature, text) for text in texts]


def read_cell(feature: Feature, text: str) -> Any:
    """Return a CSV cell as a value of a feature; text that is not one is returned unchanged."""
    # CSV has no types: the feature decides how a text is read. A text that does not fit is left for the schema to refuse.
    if feature.categories is not None:
        # A category may itself be an empty text or "NA".
        for category in feature.categories:
            if text == (msgspec.json.encode(category).decode() if not isinstance(category, str) else category):
                return category
    if text.strip() in _EMPTY:
        return None
    if feature.kind is Kind.BOOLEAN:
        return _BOOLEANS.get(text.strip().lower(), text)
    return text if feature.categories is not None else _number(text)


def _number(text: str) -> float | str:
    """Return a text as a number, or unchanged if it is not one."""
    # float() also accepts 1_000 and digits of other scripts, which are not numbers in a CSV file.
    if "_" in text or not text.isascii():
        return text
    try:
        return float(text)
    except ValueError:
        return text


def _parquet(source: Path | io.BytesIO, path: Path) -> Any:
    try:
        import pyarrow as pa  # noqa: PLC0415  a server may lack it
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(f"reading Parquet needs pyarrow: pip install 'mlrf[build]' ({error})") from error
    try:
        return pq.ParquetFile(source).read()
    except (pa.ArrowException, OSError) as error:
        raise InvalidRequestError(f"{path} is not a Parquet file that can be read: {error}") from error
