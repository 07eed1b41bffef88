"""Opens the files of a job, and checks their columns against the model's before the first row is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from mlrf.core.column_matching import find_columns
from mlrf.core.errors import ConfigError, InvalidFeatureError, InvalidRequestError, MissingFeatureError
from mlrf.core.feature import Feature, Kind
from mlrf.core.schema import Schema
from mlrf.model.csv_dialect import one_column
from mlrf.model.logged_rows import LOG_MEMBERS
from mlrf.scoring.arrow_input import ArrowInput
from mlrf.scoring.csv_input import CsvInput
from mlrf.scoring.input_files import InputFile
from mlrf.scoring.input_paths import KINDS
from mlrf.scoring.json_input import JsonInput
from mlrf.scoring.log_input import LogInput, parquet_records
from mlrf.scoring.parquet_input import ParquetInput
from mlrf.scoring.parts import Input

_MAGIC = {b"PAR1": "parquet", b"ARRO": "arrow", b"\xff\xff\xff\xff": "arrow"}


def open_input(file: InputFile, schema: Schema) -> Input:
    """Open a file of the format of its extension, or of its first bytes; ConfigError if it has none of the formats."""
    kind = KINDS.get(file.path.extension) or _kind_of_content(file)
    if kind == "csv":
        return CsvInput(file, schema)
    if kind == "json":
        lines = JsonInput(file, schema)
        return lines.as_log() if lines.is_log else lines
    if kind == "arrow":
        return ArrowInput(file)
    table = ParquetInput(file)
    if {*table.names} >= LOG_MEMBERS:
        return LogInput(file, parquet_records(file, table.metadata), table.n_rows, table.open_bytes)
    return table


def _kind_of_content(file: InputFile) -> str:
    with file.read_errors("a file"):
        opened = file.open()
        first = opened.read(64)
        opened.seek(0)
    if (kind := _MAGIC.get(first[:4])) is not None:
        return kind
    if file.copy is not None:
        return "json" if first.lstrip()[:1] in (b"[", b"{") else "csv"
    raise unknown_extension(file.path.text, file.path.extension)


def unknown_extension(text: str, extension: str) -> ConfigError:
    """Return the error for a file whose extension is that of no format."""
    return ConfigError(f"{text}: the rows must be a {', '.join(KINDS)} file, not {extension or 'without an extension'}")


def columns_to_read(opened: Input, schema: Schema, keep: Sequence[str]) -> list[str]:
    """Return the columns of features and those to keep, after checking names and types; the error names file and column."""
    file, names, partition = opened.file, opened.names, opened.file.path.partition
    if isinstance(opened, JsonInput | LogInput):
        return []  # each document has its own members
    try:
        found = find_columns(schema.names, names)
    except InvalidRequestError as error:
        raise InvalidRequestError(f"{file}: {error}", **error.details) from error
    elsewhere = find_columns(schema.names, [*partition])
    absent = [each.name for each in schema.features if each.name not in {**found, **elsewhere} and not each.optional]
    if isinstance(opened, CsvInput) and not found and len(names) == 1 < len(schema.features):
        raise InvalidRequestError(f"{file}: {one_column(names[0])}")
    if absent:
        raise MissingFeatureError(f"{file}: the file has no column {absent[0]!r}", feature=absent[0])
    if absent := [name for name in keep if name not in names and name not in partition]:
        raise ConfigError(f"{file}: the file has no column {absent[0]!r} to keep")
    if twice := [name for name in keep if names.count(name) > 1]:
        raise ConfigError(f"{file}: there are two columns {twice[0]!r} to keep; rename one of them, or keep others")
    for feature in schema.features:
        if opened.types and feature.name in found:
            _check_type(file, feature, names[found[feature.name]], opened.types[found[feature.name]])
    return [*dict.fromkeys([*(names[index] for index in found.values()), *(each for each in keep if each in names)])]


def check_kept_types(inputs: Sequence[Input], keep: Sequence[str], *, is_partitioned: bool) -> None:
    """Raise ConfigError for a column to keep that has two types: the parts of the output would not be one table."""
    for name in keep:
        known: dict[str, InputFile] = {}
        for each in inputs:
            if (kind := _kept_type(each, name, is_partitioned=is_partitioned)) is not None:
                known.setdefault(kind, each.file)
        if len(known) > 1:
            (one, first), (other, second) = list(known.items())[:2]
            raise ConfigError(
                f"the column {name!r} to keep is of type {one} in {first}, but {other} in {second}; convert one"
            )


def _kept_type(opened: Input, name: str, *, is_partitioned: bool) -> str | None:
    """Return the type of a column to keep; None if it is not in the output, but in the names of its folders."""
    if name in opened.file.path.partition and is_partitioned:
        return None
    if opened.types and name in opened.names:
        return str(_plain(opened.types[opened.names.index(name)]))
    return str(pa.string())  # what is kept of CSV, JSON and the names of folders is text


def _plain(kind: Any) -> Any:
    """Return a type without what does not change its values."""
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.string() if pa.types.is_large_string(value) or str(value) == "string_view" else value


def _check_type(file: InputFile, feature: Feature, name: str, kind: Any) -> None:
    """Raise InvalidFeatureError for a column of which no value fits the feature."""
    types = pa.types
    value = kind.value_type if types.is_dictionary(kind) else kind
    is_number = (
        types.is_integer(value) or types.is_floating(value) or types.is_boolean(value) or types.is_decimal(value)
    )
    is_text = types.is_string(value) or types.is_large_string(value) or str(value) == "string_view"
    if types.is_null(value) or is_number or (feature.kind is Kind.CATEGORICAL and is_text):
        return
    raise InvalidFeatureError(
        f"{file}: feature {feature.name!r}: the column {name!r} is of type {kind}, but the feature is {feature.kind.value}; "
        "convert the column",
        feature=feature.name,
        value=str(kind),
    )
