"""Writes `explanations.parquet`: the contributions of the rows by key, computed on all processors when the bundle is built.

The digest of each row is stored with its contributions, and the digest of the model's file in the metadata, so that an
explanation is only served for that row and that model.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlrf.builder.bundle.keyed_rows import KeyedRows, Progress
from mlrf.builder.bundle.parquet_keys import key_columns
from mlrf.core.manifest import EXPLANATIONS, FOREST, CombinationEntry
from mlrf.engines.interface import Explainer
from mlrf.engines.selection import tree_engine
from mlrf.features.explanations_parquet import CONTRIBUTIONS, MODEL, ROW, ROWS
from mlrf.features.row_format import ROW_DIGEST_BYTES, row_digest

_BATCH_ROWS = 1 << 11
"""Rows between two steps of the progress bar: about a second of work."""


def write_explanations(
    rows: KeyedRows,
    forest: bytes,
    combination: CombinationEntry | None,
    folder: Path,
    progress: Progress,
    threads: int | None = None,
) -> dict[str, Path]:
    """Write the contributions of all rows, which lack no feature, into the folder; return the file by name."""
    (folder / FOREST).write_bytes(forest)
    engine = tree_engine(folder / FOREST, combination)
    assert isinstance(engine, Explainer)  # noqa: S101  what cannot be explained is refused before
    threads = threads or len(os.sched_getaffinity(0))
    path = folder / EXPLANATIONS
    width = engine.n_features * engine.n_outputs
    kind = pa.list_(pa.float64(), width)
    first = next(rows.batches(1))
    schema = pa.schema(
        [(name, column.type) for name, column in key_columns(rows, first).items()]
        + [(ROW, pa.binary(ROW_DIGEST_BYTES)), (CONTRIBUTIONS, kind)],
        metadata={MODEL: hashlib.sha256(forest).hexdigest(), ROWS: rows.format.digest},
    )
    done = 0
    progress("explaining rows", 0.0)
    with pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as writer:
        for batch in rows.batches(_BATCH_ROWS):
            values = rows.values(batch)
            contributions = np.frombuffer(engine.contributions_many(values.data, threads), np.float64)
            columns = [
                *key_columns(rows, batch).values(),
                pa.array([row_digest(record) for record in batch.records], pa.binary(ROW_DIGEST_BYTES)),
                pa.FixedSizeListArray.from_arrays(pa.array(contributions), width),
            ]
            writer.write_table(pa.table(columns, schema=schema))
            done += len(batch.keys)
            progress("explaining rows", done / rows.loaded.rows)
    return {EXPLANATIONS: path}
