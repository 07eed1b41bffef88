"""Directories of Delta and Iceberg tables, which also have the files of earlier versions: refused, as rows would come twice."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mlrf.core.errors import ConfigError

_DELTA = re.compile(r"(?:^|/)_delta_log/")
_ICEBERG = re.compile(r"(?:^|/)metadata/[^/]+\.metadata\.json$")


def check_plain_directory(argument: str, paths: Iterable[str]) -> None:
    """Raise ConfigError if the paths in a directory, relative to it, are those of a Delta or Iceberg table."""
    for path in paths:
        if _DELTA.search(path):
            raise ConfigError(
                f"{argument} is a Delta table, whose directory also has files of earlier versions; pass the files of one "
                "version: DeltaTable(path).file_uris(), of the package deltalake"
            )
        if _ICEBERG.search(path):
            raise ConfigError(
                f"{argument} is an Iceberg table, whose directory also has files of earlier versions; pass the files of one "
                "version: [each.file.file_path for each in table.scan().plan_files()], of the package pyiceberg"
            )
