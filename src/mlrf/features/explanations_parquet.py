"""`explanations.parquet`: fields of the key, the digest of the row, and its contributions [F x K] as a list."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from mlrf.core.errors import BundleError, RowsError
from mlrf.features.interface import Key
from mlrf.features.key_columns import encode_keys
from mlrf.features.row_format import RowFormat
from mlrf.features.rows_parquet import open_rows

ROW, CONTRIBUTIONS = "mlrf.row", "mlrf.contributions"
MODEL, ROWS = b"mlrf.model", b"mlrf.rows"
"""In the file's metadata: the sha256 of the model's file, and the digest of the format of the rows."""
_BATCH_ROWS = 1 << 12


def read_explanations(
    path: Path, rows: RowFormat, model: str, n_values: int
) -> Iterator[list[tuple[Key, bytes, bytes]]]:
    """Yield keys, digests of rows and contributions (float64) in batches.

    BundleError when the file cannot be read, or belongs to another model, schema or width.
    """
    try:
        file = open_rows(path)
        metadata = file.schema_arrow.metadata or {}
        if (metadata.get(MODEL), metadata.get(ROWS)) != (model.encode(), rows.digest.encode()):
            raise BundleError(
                f"{path}: the explanations are of another model or schema; build the bundle again", file=path.name
            )
        first_row = 0
        for table in file.iter_batches(_BATCH_ROWS, use_threads=False):
            keys = encode_keys(rows.key, {name: table.column(name) for name in rows.key.names}, first_row)
            values = np.asarray(table.column(CONTRIBUTIONS).flatten(), np.float64)
            if values.size != len(keys) * n_values:
                raise BundleError(
                    f"{path}: the explanations have another number of features; build the bundle again", file=path.name
                )
            parts = values.reshape(len(keys), -1).view(f"V{8 * n_values}").ravel().tolist()
            yield list(zip(keys, table.column(ROW).to_pylist(), parts, strict=True))
            first_row += len(keys)
    except (pa.ArrowException, OSError, LookupError, ValueError, RowsError) as error:
        raise BundleError(f"{path}: the explanations cannot be read: {error}", file=path.name) from error
