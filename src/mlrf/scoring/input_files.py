"""`InputFile`: a file to score in its state when the job began, local or in a store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs

from mlrf.core.errors import ConfigError, InvalidRequestError
from mlrf.scoring.input_paths import InputPath
from mlrf.scoring.remote_files import file_system, object_path, reason_of, store_errors

_TAIL_BYTES = 8
"""Bytes at the end of a Parquet file: the footer's length and a magic number."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file with the size and time of modification that it had when the job began."""

    path: InputPath
    size_bytes: int
    modified_ns: int
    copy: Path | None = None
    """A copy of the content, if the path is only a name, as for standard input."""

    def __str__(self) -> str:
        return self.path.text

    def open(self) -> Any:
        """Return the file opened for reading at any position; ConfigError if it cannot be read."""
        system, path = _located(self.path)
        if self.copy is not None:
            path = str(self.copy)
        try:
            with store_errors():
                return system.open_input_file(path)
        except OSError as error:
            raise unreadable(self.path, error) from error

    def identity(self, digest: str) -> list[Any]:
        """Return what identifies the file as the same input, as JSON values; `digest` is that of its footer, if any."""
        return [self.path.text, self.size_bytes, self.modified_ns, digest]

    def check_unchanged(self) -> None:
        """Raise ConfigError if the file has changed."""
        if self.copy is None and find_file(self.path) != self:
            raise ConfigError(f"{self} changed while it was scored; run the command again with --restart")

    @contextmanager
    def read_errors(self, kind: str) -> Iterator[None]:
        """Report an error of reading this file: ConfigError, or InvalidRequestError if its content is not of its kind."""
        try:
            yield
        except pa.ArrowException as error:
            raise InvalidRequestError(f"{self} is not {kind} that can be read: {reason_of(error)}") from error
        except OSError as error:
            raise unreadable(self.path, error) from error


def find_file(path: InputPath) -> InputFile:
    """Return a file's present state; ConfigError if there is no such file."""
    system, name = _located(path)
    try:
        with store_errors():
            found = system.get_file_info(name)
    except OSError as error:
        raise unreadable(path, error) from error
    if found.type != fs.FileType.File:
        raise ConfigError(f"{path.text} cannot be read: {'not a file' if found.type else 'no such file'}")
    return InputFile(path, found.size, found.mtime_ns or 0)


def unreadable(path: InputPath, error: OSError) -> ConfigError:
    """Return the error for a file that cannot be read."""
    return ConfigError(f"{path.text} cannot be read: {error.strerror or reason_of(error)}")


def footer_digest(file: Any, size_bytes: int) -> str:
    """Return the SHA-256 of the footer of an open Parquet file, in hex."""
    file.seek(max(0, size_bytes - _TAIL_BYTES))
    length = int.from_bytes(file.read(4), "little")
    file.seek(max(0, size_bytes - _TAIL_BYTES - length))
    return hashlib.sha256(file.read(length)).hexdigest()


def _located(path: InputPath) -> tuple[Any, str]:
    if path.is_remote:
        return file_system(path.text), object_path(path.text)
    return fs.LocalFileSystem(), path.text
