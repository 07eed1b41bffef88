"""The benchmark of the worker's internals still runs; the others use only sockets."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from bundles import write_tree_bundle
from mlrf.core.feature import Feature
from mlrf.core.schema import Schema

SCHEMA = Schema(tuple(Feature(f"x{i}", example=0.5) for i in range(4)))
HOT_PATH = Path(__file__).parents[2] / "benchmarks" / "hot_path.py"


def test_the_parts_of_a_request_are_found_and_timed(tmp_path):
    write_tree_bundle(tmp_path / "bundle", name="regression", schema=SCHEMA)
    named = {"features": SCHEMA.example()}
    positional = {"features": [0.5] * 4}
    bodies = {"named": named, "positional": positional, "batch": {"instances": [named, positional]}}
    for kind, body in bodies.items():
        (tmp_path / f"{kind}.jsonl").write_text(json.dumps(body) + "\n")
    rows = pa.table({name: [0.5] * 100 for name in SCHEMA.names})
    parquet.write_table(rows, tmp_path / "rows.parquet")
    done = subprocess.run(
        [sys.executable, HOT_PATH, tmp_path], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    parts = json.loads(done.stdout)
    assert len(parts) >= 12
    assert all(passes and min(passes) >= 0 for passes in parts.values())
