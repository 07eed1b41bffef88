"""The options of a build for rows by key, and the key that they name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlrf.core.errors import ConfigError, RowsError
from mlrf.features.entity_key import EntityKey, KeyField, KeyType
from mlrf.features.rows_parquet import column_types


@dataclass(frozen=True, slots=True)
class KeyedRowsOptions:
    """The options of a build for rows by key."""

    key: Sequence[str]
    """Fields as `name` or `name:type`; without a file of rows each needs its type."""
    file: Path | None = None
    as_of_column: str | None = None
    partial: bool = False
    explain: bool = False


def keyed_rows_options(
    file: str | os.PathLike[str] | None,
    key: Sequence[str] | None,
    as_of_column: str | None = None,
    *,
    partial: bool = False,
    explain: bool = False,
) -> KeyedRowsOptions | None:
    """Return the options for rows by key, None if none is given; ConfigError if one option needs another."""
    if file is not None and not key:
        raise ConfigError(
            "--features: --key is missing; name the columns that identify a row, as in --key store_id,date"
        )
    if file is None and (as_of_column is not None or partial or explain):
        option = "--as-of-column" if as_of_column is not None else "--partial" if partial else "--explain"
        raise ConfigError(f"{option} applies to the rows of --features, which is not given")
    return (
        None if not key else KeyedRowsOptions(key, None if file is None else Path(file), as_of_column, partial, explain)
    )


def read_key(options: KeyedRowsOptions) -> EntityKey:
    """Return the key that the options name; a field without a type has the type of its column in the file.

    ConfigError for fields that cannot be a key; RowsError for columns that cannot be one.
    """
    key_fields = [field.partition(":") for field in options.key]
    types = {} if options.file is None else column_types(options.file)
    fields = []
    for name, _, kind in key_fields:
        if not name:
            raise ConfigError(f"--key {','.join(options.key)}: a field has no name")
        if not kind and options.file is None:
            raise ConfigError(f"--key {name}: without --features its type must be given, as in {name}:date")
        if not kind and name not in types:
            raise RowsError(
                f"{options.file} has no column {name!r} of strings, integers, dates or booleans for the key",
                column=name,
            )
        if kind and kind not in tuple(KeyType):
            raise ConfigError(f"--key {name}: {kind!r} is not one of {', '.join(KeyType)}")
        fields.append(KeyField(name, KeyType(kind or types[name])))
    try:
        return EntityKey(tuple(fields))
    except ValueError as error:
        raise ConfigError(f"--key: {error}") from error
