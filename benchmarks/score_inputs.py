"""The model and the rows that `score_table.py` scores, made once and kept in a folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from reference_models import panel

import mlrf
from mlrf.core.leniency import Leniency
from mlrf.model.table_input import read_rows

HERE = Path(__file__).parent
GROUP_ROWS = 1 << 20


def make_model(folder: Path) -> Path:
    """Return the folder of the benchmark's regressor, made if it is not there."""
    home = folder / "models/regression"
    if not home.exists():
        subprocess.run([sys.executable, HERE / "reference_models.py", folder / "models"], check=True)
    return home


def make_rows(folder: Path, rows: int) -> Path:
    """Return a directory of Parquet files of at most 1,048,576 rows, made if they are not there."""
    made = folder / f"rows-{rows}"
    if (made / "done").exists():
        return made
    made.mkdir(parents=True, exist_ok=True)
    # The first rows are the same however many there are, so that answers of all contenders can be compared.
    features = pa.Table.from_pandas(panel(GROUP_ROWS)[0], preserve_index=False)
    for index, first in enumerate(range(0, rows, GROUP_ROWS)):
        count = min(GROUP_ROWS, rows - first)
        table = features.slice(0, count).add_column(0, "id", pa.array(np.arange(first, first + count)))
        pq.write_table(table, made / f"{index:05}.parquet")
    (made / "done").touch()
    return made


def make_csv(folder: Path, source: Path, rows: int) -> Path:
    """Return a CSV file of the first rows, with their ids."""
    path = folder / f"rows-{rows}.csv"
    if not path.exists():
        table = pa.concat_tables(
            [pq.read_table(each) for each in sorted(source.glob("*.parquet"))[: -(-rows // GROUP_ROWS)]]
        )
        texts = [
            column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
            for column in table.slice(0, rows)
        ]
        pyarrow.csv.write_csv(pa.table(texts, names=table.column_names), path)
    return path


def coded_csv(folder: Path, bundle: Path, source: Path, rows: int) -> Path:
    """Return a CSV of the rows with categories as codes, which LightGBM reads."""
    path = folder / f"coded-{rows}.csv"
    if not path.exists():
        schema = mlrf.load(bundle).schema
        tables = [pq.read_table(each) for each in sorted(source.glob("*.parquet"))[: -(-rows // GROUP_ROWS)]]
        values = read_rows(schema, pa.concat_tables(tables).slice(0, rows), Leniency("ignore"))
        columns = {name: pa.array(values[:, index]) for index, name in enumerate(schema.names)}
        pyarrow.csv.write_csv(pa.table(columns), path)
    return path
