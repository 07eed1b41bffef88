"""Rows of a file as the offline commands take them: JSON, CSV or Parquet to instances by name."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import msgspec

from mlrf.core.errors import ConfigError, InvalidRequestError
from mlrf.core.schema import Feature, Kind, Leniency, Schema

_EMPTY = ("", "NA", "NaN", "nan", "null")
_LINES: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}


def leniency_of(unknown_categories: str) -> Leniency:
    """Return what a file's rows may hold: more columns than features, and the unknown categories that the option lets pass."""
    if unknown_categories not in ("refuse", "missing"):
        raise ConfigError(f"--unknown-categories is `refuse` or `missing`, not {unknown_categories!r}")
    return Leniency("ignore", unknown_categories)  # type: ignore[arg-type]


def read_instances(path: Path, schema: Schema) -> list[Any]:
    """Return the rows of a file as instances by name, categories by value, None for what is missing.

    The file's ending says what it is. ConfigError when it cannot be read at all, InvalidRequestError when it is not what its
    ending says; whether a value fits its feature is for the schema to say.
    """
    match path.suffix.lower():
        case ".json" | ".jsonl" | ".ndjson":
            return _json(_bytes(path), path)
        case ".csv":
            return _csv(_bytes(path), path, schema)
        case ".parquet":
            return _parquet(path)
    raise ConfigError(f"{path}: rows come as .json, .jsonl, .csv or .parquet, not {path.suffix or 'without an ending'}")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def _json(raw: bytes, path: Path) -> list[Any]:
    try:
        if raw.lstrip()[:1] == b"[":
            return [_features(item) for item in msgspec.json.decode(raw, type=list[Any])]
        return [_features(item) for item in _LINES.decode_lines(raw)]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError(f"{path} is no JSON array and no JSON lines: {error}") from error


def _features(item: Any) -> Any:
    """Return the features of a row, which may also be written as a request to the server is."""
    if isinstance(item, dict) and list(item) == ["features"]:
        return item["features"]
    return item


def _csv(raw: bytes, path: Path, schema: Schema) -> list[Any]:
    try:
        lines = csv.reader(raw.decode("utf-8-sig").splitlines(), strict=True)
        header = next(lines, [])
        by_name = {feature.name: feature for feature in schema.features}
        instances: list[Any] = []
        for cells in filter(None, lines):
            if len(cells) != len(header):
                raise InvalidRequestError(
                    f"row {len(instances)}: {path} has {len(cells)} cells in line {lines.line_num}, its header {len(header)}"
                )
            pairs = zip(header, cells, strict=True)
            instances.append({name: _cell(by_name[name], text) for name, text in pairs if name in by_name})
    except (csv.Error, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"{path} is no CSV in UTF-8: {error}") from error
    return instances


def _cell(feature: Feature, text: str) -> Any:
    # CSV has no types: the schema says what a text means. What does not fit stays a text, for the schema to refuse.
    if feature.categories is not None:
        # A category may itself be an empty text or "NA".
        for category in feature.categories:
            if text == (msgspec.json.encode(category).decode() if not isinstance(category, str) else category):
                return category
    if text.strip() in _EMPTY:
        return None
    if feature.kind is Kind.BOOLEAN:
        return _BOOLEANS.get(text.strip().lower(), text)
    if feature.categories is not None:
        return text
    try:
        return float(text)
    except ValueError:
        return text


def _parquet(path: Path) -> list[Any]:
    try:
        import pyarrow as pa  # noqa: PLC0415  a server may lack it
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(f"reading Parquet needs pyarrow: pip install 'mlrf[build]' ({error})") from error
    if not path.is_file():
        raise ConfigError(f"{path} cannot be read: no such file")
    try:
        instances: list[dict[str, Any]] = pq.ParquetFile(path).read().to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise InvalidRequestError(f"{path} is no Parquet file that can be read: {error}") from error
    # NaN is how a column of floats says missing.
    return [{k: None if v != v else v for k, v in row.items()} for row in instances]  # noqa: PLR0124
