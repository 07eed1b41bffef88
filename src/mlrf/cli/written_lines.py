"""Writes the files of `mlrf explain`, atomically."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mlrf.core.atomic_files import replace_file
from mlrf.core.errors import BuildError


def write_lines(path: Path, parts: Iterable[bytes]) -> None:
    """Write a file, replacing an existing one; BuildError when it cannot be written."""
    try:
        replace_file(path, b"".join(parts))
    except OSError as error:
        raise BuildError(f"{path} cannot be written: {error.strerror}") from error
