"""Finds the Parquet files to score, and checks their columns against the model's before the first row is read."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mlrf.core.column_matching import find_columns
from mlrf.core.errors import ConfigError, InvalidRequestError, MissingFeatureError
from mlrf.core.schema import Schema
from mlrf.core.value_text import clip

_TABLE_LIBRARIES = ("pandas", "polars", "pyarrow", "numpy")
_TAIL_BYTES = 8
"""Bytes at the end of a Parquet file: the footer's length and a magic number."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """A Parquet file in its state when the job began."""

    path: Path
    size_bytes: int
    modified_ns: int
    footer_digest: str
    metadata: Any
    """pyarrow's FileMetaData."""
    columns: tuple[str, ...]
    """The columns to read: features and kept ones."""

    @property
    def identity(self) -> list[Any]:
        """What identifies the file as the same input, as JSON values."""
        return [str(self.path), self.size_bytes, self.modified_ns, self.footer_digest]

    def check_unchanged(self) -> None:
        """Raise ConfigError if the file has changed."""
        try:
            found = self.path.stat()
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be read: {error.strerror}") from error
        if (found.st_size, found.st_mtime_ns) != (self.size_bytes, self.modified_ns):
            raise ConfigError(f"{self.path} changed while it was scored; run the command again with --restart")


def find_inputs(inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Return the Parquet files of paths, directories and globs, sorted within each; ConfigError if one has none."""
    found: list[Path] = []
    for argument in _arguments(inputs):
        try:
            found += _files_of(argument)
        except (OSError, ValueError) as error:  # a name that no file can have
            reason = (isinstance(error, OSError) and error.strerror) or error
            raise ConfigError(f"{clip(argument)!r} cannot be read: {reason}") from error
    resolved = [path.resolve() for path in found]
    if twice := [path for index, path in enumerate(resolved) if path in resolved[:index]]:
        raise ConfigError(f"{twice[0]} is named twice; name each input once")
    return resolved


def _arguments(inputs: Any) -> list[str]:
    if isinstance(inputs, str | os.PathLike):
        return _arguments([inputs])
    if not isinstance(inputs, Iterable) or type(inputs).__module__.partition(".")[0] in _TABLE_LIBRARIES:
        raise _no_path(inputs)
    arguments = []
    for each in inputs:
        if not isinstance(each, str | os.PathLike) or not isinstance(path := os.fspath(each), str):
            raise _no_path(each)
        arguments.append(path)
    return arguments


def _no_path(given: Any) -> ConfigError:
    return ConfigError(
        f"the inputs are paths of Parquet files, not {type(given).__name__}; to score a table in memory, call "
        "mlrf.scoring.Scorer(bundle)(table)"
    )


def _files_of(argument: str) -> list[Path]:
    """Return the Parquet files of one path, directory or glob; ConfigError if there is none."""
    path = Path(argument)
    path.resolve()
    if path.is_dir():
        files = sorted(each for each in path.rglob("*.parquet") if not _is_hidden(each.relative_to(path)))
    elif path.exists() or not glob.has_magic(argument):
        files = [path]
    else:
        files = [Path(each) for each in sorted(glob.glob(argument, recursive=True))]  # noqa: PTH207  also absolute ones
    if not files:
        raise ConfigError(f"{argument}: names no Parquet file")
    return files


def open_input(path: Path, schema: Schema, keep: Sequence[str]) -> InputFile:
    """Read a file's footer and check its columns against the model's and the kept ones; the error names file and column."""
    try:
        before = path.stat()
        metadata = pq.read_metadata(path)
        digest = _footer_digest(path)
    except (pa.ArrowException, OSError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise ConfigError(f"{path} cannot be read as Parquet: {reason}") from error
    names = metadata.schema.to_arrow_schema().names
    try:
        features = find_columns(schema.names, names)
    except InvalidRequestError as error:
        raise InvalidRequestError(f"{path}: {error}", **error.details) from error
    if absent := [name for name in schema.names if name not in features]:
        raise MissingFeatureError(f"{path}: the file has no column {absent[0]!r}", feature=absent[0])
    if absent := [name for name in keep if name not in names]:
        raise ConfigError(f"{path}: the file has no column {absent[0]!r} to keep")
    columns = dict.fromkeys([*(names[index] for index in features.values()), *keep])
    return InputFile(path, before.st_size, before.st_mtime_ns, digest, metadata, tuple(columns))


def _footer_digest(path: Path) -> str:
    with path.open("rb") as file:
        end = file.seek(-_TAIL_BYTES, 2)
        length = int.from_bytes(file.read(4), "little")
        file.seek(max(0, end - length))
        return hashlib.sha256(file.read(length)).hexdigest()


def _is_hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)
