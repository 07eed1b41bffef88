"""Damaged Parquet files of rows are refused as RowsError, or read; none crashes its reader, or fails otherwise."""

from __future__ import annotations

import os
import subprocess
import sys

MOST = 10_000 if os.environ.get("OPS_FULL") else 400
READER = """
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlrf.core.errors import RowsError
from mlrf.core.feature import Feature, Kind
from mlrf.core.schema import Schema
from mlrf.features.entity_key import entity_key
from mlrf.features.row_format import RowFormat
from mlrf.features.rows_parquet import RowsFile, column_types

most, path = int(sys.argv[1]), sys.argv[2]
schema = Schema((Feature("x"), Feature("n", Kind.INTEGER), Feature("c", Kind.CATEGORICAL, ("a", "b"))))
rows = RowFormat(schema, entity_key([("id", "integer"), ("name", "string")]))
n = 300
table = pa.table(
    {
        "id": list(range(n)),
        "name": [f"name {i}" for i in range(n)],
        "x": [None if i % 7 == 0 else i / 3 for i in range(n)],
        "n": list(range(n)),
        "c": ["ab"[i % 2] for i in range(n)],
        "at": pa.array(range(n), pa.timestamp("us")),
    }
)
rng = np.random.default_rng(5)
sound = []
for options in ({}, {"compression": "zstd"}, {"use_dictionary": False, "compression": "none", "write_statistics": False}):
    pq.write_table(table, path, row_group_size=100, write_page_checksum=False, **options)
    sound.append(open(path, "rb").read())
outcomes = Counter()
for number in range(most):
    content = bytearray(sound[number % len(sound)])
    # Half of them in the footer, which describes the rest.
    first = len(content) - 8 - int.from_bytes(content[-8:-4], "little") if number % 2 else 0
    at, size = int(rng.integers(first, len(content))), int(rng.integers(1, 60))
    match int(rng.integers(4)):
        case 0:
            for _ in range(int(rng.integers(1, 5))):
                content[int(rng.integers(first, len(content)))] = int(rng.integers(256))
        case 1:
            del content[at : at + size]
        case 2:
            content[at:at] = content[at : at + size]
        case 3:
            content[at] ^= 1 << int(rng.integers(8))
    with open(path, "wb") as file:
        file.write(content)
    print(number, flush=True)
    try:
        column_types(Path(path))
        for _ in RowsFile(Path(path), rows, as_of_column="at").batches():
            pass
        outcomes["read"] += 1
    except RowsError as error:
        outcomes["refused" if str(error).startswith(path) else f"refused without its name: {error}"] += 1
    except Exception as error:
        outcomes[f"{type(error).__name__}: {error}"[:300]] += 1
print(dict(outcomes))
"""


def test_damaged_parquet_is_read_or_refused(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", READER, str(MOST), str(tmp_path / "rows.parquet")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, (ended.returncode, ended.stdout[-20:], ended.stderr[-2000:])
    outcomes = eval(ended.stdout.splitlines()[-1])  # noqa: S307  a dict of counts that the reader printed
    assert outcomes.keys() == {"read", "refused"}, outcomes
