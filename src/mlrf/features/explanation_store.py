"""The store of a bundle's precomputed explanations: a read-only LMDB environment made from one `explanations.parquet`.

Each explanation is stored with the digest of its row, and all of them with the digest of the model's file, so that an
explanation is only served for exactly that row and that model.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable
from pathlib import Path

import lmdb

from mlrf.core.bundle import Bundle
from mlrf.core.errors import BundleError, ConfigError
from mlrf.core.manifest import EXPLANATIONS, FOREST
from mlrf.features.interface import Key, StoredRow
from mlrf.features.lmdb_environment import open_environment, unavailable
from mlrf.features.row_format import ROW_DIGEST_BYTES, RowFormat, row_digest

_CONTRIBUTIONS, _META = b"contributions", b"meta"
_BOUND_KEY = b"bound"


def model_digest(bundle: Bundle) -> str:
    """Return the sha256 of the model file that contributions are computed from."""
    return bundle.manifest.files[FOREST].sha256


class EmbeddedExplanations:
    """Contributions by key, of one model and one format of rows."""

    def __init__(self, path: Path, rows: RowFormat, model: str, n_values: int) -> None:
        """Open the environment at `path`, with F x K contributions per row.

        ConfigError when it cannot be used or belongs to another model.
        """
        self._value_bytes = 8 * n_values
        self._environment = open_environment(path)
        self._release = weakref.finalize(self, self._environment.close)
        self._release.atexit = False
        try:
            self._meta = self._environment.database(_META)
            self._table = self._environment.database(_CONTRIBUTIONS)
            bound = f"{model}:{rows.digest}".encode()
            if self._bound() is None and self._environment.is_writable:
                self._environment.write(lambda t: t.put(_BOUND_KEY, bound, overwrite=False, db=self._meta))
            if self._bound() != bound:
                raise ConfigError(
                    f"--state-dir: {path} contains explanations of another model; remove it", option="--state-dir"
                )
        except lmdb.Error as error:
            self.release()
            raise ConfigError(f"--state-dir: {path} contains no explanations: {error}", option="--state-dir") from error
        except BaseException:
            self.release()
            raise

    def read(self, key: Key, row: StoredRow) -> memoryview[float] | None:
        """Return the contributions [F x K] of exactly this row; None if they are absent, damaged, or of other values."""
        environment = self._environment
        try:
            with environment.reading:
                transaction = environment.begin()
                try:
                    stored = transaction.get(key, None, self._table)
                finally:
                    transaction.abort()
        except lmdb.Error as error:
            raise unavailable("read", error) from error
        if stored is None or stored[:ROW_DIGEST_BYTES] != row_digest(row.record):
            return None
        contributions = memoryview(stored)[ROW_DIGEST_BYTES:]
        if len(contributions) != self._value_bytes:
            return None
        numbers = contributions.cast("d")
        return numbers if all(map(math.isfinite, numbers)) else None

    def clear(self) -> None:
        """Remove the contributions of a writer that was killed."""
        self._environment.write(lambda t: t.drop(self._table, delete=False))

    def append(self, batch: Iterable[tuple[Key, bytes, bytes]]) -> None:
        """Add contributions in one transaction: key, digest of the row, and F x K float64; keys in order over all batches.

        BundleError when keys are not in order.
        """
        items = [(key, digest + values) for key, digest, values in batch]

        def work(transaction: lmdb.Transaction[bytes]) -> None:
            for key, value in items:
                if not transaction.put(key, value, overwrite=False, append=True, db=self._table):
                    raise BundleError(f"{EXPLANATIONS}: its keys are not in ascending order", file=EXPLANATIONS)

        self._environment.write(work)

    def release(self) -> None:
        """Close the environment."""
        self._release()

    def _bound(self) -> bytes | None:
        with self._environment.reading:
            transaction = self._environment.begin()
            try:
                return transaction.get(_BOUND_KEY, None, self._meta)
            finally:
                transaction.abort()
