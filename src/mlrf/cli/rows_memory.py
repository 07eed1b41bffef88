"""Compares the memory that a file of rows needs, when it is read whole, with what is available, before it is read."""

from __future__ import annotations

from pathlib import Path

from mlrf.builder.memory import available_bytes
from mlrf.core.errors import ConfigError
from mlrf.core.schema import Schema
from mlrf.model.row_files import STANDARD

_NUMBER_BYTES = 8
_TEXT_COPIES = 3
"""Least bytes in memory for a byte of text: the bytes, the text and its cells or values are there at the same time."""
_MIB = 1 << 20


def check_rows_fit(path: Path, schema: Schema, remedy: str) -> None:
    """Raise ConfigError, ending in `remedy`, if the rows of a file certainly take more memory than is available."""
    available = available_bytes()
    needed = _least_bytes(path, schema)
    if available is not None and needed > available:
        raise ConfigError(
            f"{path}: its rows take at least {needed // _MIB:,} MiB of memory, but {available // _MIB:,} MiB are available; "
            f"{remedy}"
        )


def _least_bytes(path: Path, schema: Schema) -> int:
    """Return a lower bound of the memory for a file's rows; 0 where it is not known, or the file cannot be read."""
    if path == STANDARD or not path.is_file():
        return 0
    if path.suffix.lower() == ".parquet":
        return _rows_of_parquet(path) * len(schema.features) * _NUMBER_BYTES
    return _TEXT_COPIES * path.stat().st_size


def _rows_of_parquet(path: Path) -> int:
    try:
        import pyarrow as pa  # noqa: PLC0415  a server may lack it
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError:
        return 0
    try:
        with pq.ParquetFile(path) as file:
            rows: int = file.metadata.num_rows
            return rows
    except (pa.ArrowException, OSError):
        return 0
