"""Reads the rows that a bundle serves by key, checks them against the schema, and sorts them by key.

A temporary store sorts them and finds duplicate keys with only one batch in memory. Thus the same rows in any order, and in any
types with the same meaning, give the same files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mlrf.builder.bundle.keyed_rows_options import KeyedRowsOptions, read_key
from mlrf.core.errors import BuildError, ConfigError, FeaturesUnavailableError, RowsError
from mlrf.core.manifest import KeyFieldEntry, RowsEntry
from mlrf.core.schema import Schema
from mlrf.features.bulk_load import load_rows
from mlrf.features.interface import Batch, Loaded
from mlrf.features.lmdb_store import LmdbStore
from mlrf.features.row_format import HEAD_BYTES, RowFormat
from mlrf.features.rows_parquet import RowsFile

_BATCH_ROWS = 1 << 14
Progress = Callable[[str, float], None]


@contextmanager
def keyed_rows(
    options: KeyedRowsOptions | None, schema: Schema, folder: Path, progress: Progress
) -> Iterator[KeyedRows | None]:
    """Yield the rows of a build, read and checked; None if it has none."""
    if options is None:
        yield None
        return
    rows = KeyedRows(options, schema, folder, progress)
    try:
        yield rows
    finally:
        rows.release()


def check_rows_file(options: KeyedRowsOptions | None, schema: Schema) -> None:
    """Raise the error of an invalid key, or of a file whose columns do not match, before the long steps."""
    if options is None:
        return
    rows = RowFormat(schema, read_key(options))
    _check_as_of(options, rows)
    if options.file is not None:
        RowsFile(options.file, rows, as_of_column=options.as_of_column, partial=options.partial)


class KeyedRows:
    """The rows of a build, checked and sorted; `release` closes their temporary store."""

    def __init__(self, options: KeyedRowsOptions, schema: Schema, folder: Path, progress: Progress) -> None:
        """Read and check the rows; RowsError names the invalid row, BuildError if the disk is full."""
        self.format = RowFormat(schema, read_key(options))
        self._options = options
        _check_as_of(options, self.format)
        self._store = LmdbStore(folder / "sorted", self.format, durable=False)
        self.loaded = Loaded(0, 0, 0)
        self.absent: tuple[int, ...] = ()
        try:
            if options.file is not None:
                self._load(options, options.file, progress)
        except BaseException:
            self.release()
            raise

    def _load(self, options: KeyedRowsOptions, path: Path, progress: Progress) -> None:
        file = RowsFile(path, self.format, as_of_column=options.as_of_column, partial=options.partial)
        self.absent = file.absent
        if options.explain and self.absent:
            names = ", ".join(repr(self.format.schema.names[index]) for index in self.absent)
            raise ConfigError(
                f"--explain: the rows lack the features {names}, so they cannot be explained yet; add the columns, or leave "
                "--explain out"
            )
        n_rows = max(1, file.n_rows)
        progress("reading rows by key", 0.0)
        try:
            # Rows that are not in order are read twice.
            self.loaded = load_rows(
                self._store, file, path.name, lambda read: progress("reading rows by key", min(1.0, read / n_rows))
            )
        except FeaturesUnavailableError as error:
            raise BuildError(
                f"the rows by key could not be sorted: {error.explained}; nothing was left behind"
            ) from error
        if not self.loaded.rows:
            raise RowsError(f"{path} has no rows")
        progress("reading rows by key", 1.0)

    def batches(self, rows: int = _BATCH_ROWS) -> Iterator[Batch]:
        """Yield the rows in the order of their keys."""
        return self._store.in_order(rows)

    def values(self, batch: Batch) -> npt.NDArray[np.float64]:
        """Return the values of a batch [n, F], missing and absent as NaN."""
        return _values(batch, len(self.format.schema.features))

    def entry(self, *, explained: bool) -> RowsEntry:
        """Return the manifest's entry about the rows."""
        key = [KeyFieldEntry(field.name, field.type.value) for field in self.format.key.fields]
        return RowsEntry(key, self._options.as_of_column, self.loaded.rows, self.loaded.rows if explained else 0)

    @property
    def as_of_column(self) -> str | None:
        """The column of as-of times."""
        return self._options.as_of_column

    def release(self) -> None:
        """Close the temporary store."""
        self._store.release()


def _values(batch: Batch, n_features: int) -> npt.NDArray[np.float64]:
    raw = np.frombuffer(b"".join(batch.records), np.uint8).reshape(len(batch.records), -1)
    return np.ascontiguousarray(raw[:, HEAD_BYTES : HEAD_BYTES + 8 * n_features]).view("<f8")


def _check_as_of(options: KeyedRowsOptions, rows: RowFormat) -> None:
    if options.as_of_column is not None and options.as_of_column in rows.schema.names:
        raise ConfigError(
            f"--as-of-column: {options.as_of_column!r} is a feature of the model; name a column that is only a time"
        )
