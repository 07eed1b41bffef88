"""Converts keys to the columns that Parquet files of rows have for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from mlrf.builder.bundle.keyed_rows import KeyedRows
from mlrf.features.entity_key import KeyType
from mlrf.features.interface import Batch

KEY_TYPES = {
    KeyType.STRING: pa.string(),
    KeyType.INTEGER: pa.int64(),
    KeyType.DATE: pa.date32(),
    KeyType.BOOLEAN: pa.bool_(),
}


def key_columns(rows: KeyedRows, batch: Batch) -> dict[str, pa.Array]:
    """Return the key's fields as columns."""
    decoded = [rows.format.key.decode(key) for key in batch.keys]
    columns = {}
    for field in rows.format.key.fields:
        values: list[Any] = [key[field.name] for key in decoded]
        if field.type is KeyType.DATE:
            days = np.array(values, "datetime64[D]").astype(np.int64)
            columns[field.name] = pa.array(days.astype(np.int32)).cast(pa.date32())
        else:
            columns[field.name] = pa.array(values, KEY_TYPES[field.type])
    return columns
