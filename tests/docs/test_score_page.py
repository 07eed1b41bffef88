"""docs/how-to/score.md: its command and its code run, one after the other, in one directory."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bundles import NUMBERS, write_tree_bundle
from documents import ROOT, blocks

PAGE = (ROOT / "docs/how-to/score.md").read_text(encoding="utf-8")


def test_the_commands_and_the_code_of_the_page_run(tmp_path):
    write_tree_bundle(tmp_path / "sales", schema=NUMBERS)
    columns = {name: np.linspace(0, 1, 20) for name in NUMBERS.names}
    pq.write_table(pa.table({"id": range(20), **columns}), tmp_path / "rows.parquet")
    record = {"time": "2026-01-01T00:00:00.000Z", "request_id": "1", "route": "/predict", "answer": {"prediction": 1.0}}
    record["request"] = {"features": NUMBERS.example()}
    (tmp_path / "log").mkdir()
    (tmp_path / "log/predictions-1.jsonl").write_text(json.dumps(record) + "\n")
    commands = re.findall(r"^mlrf score .*$", PAGE, re.MULTILINE)
    assert len(commands) > 1
    named = [["-m", *shlex.split(command)] for command in commands]
    for arguments in (*named, *(["-c", code] for code in blocks(PAGE, "python"))):
        done = subprocess.run([sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout


def test_every_option_is_on_the_page():
    done = subprocess.run([sys.executable, "-m", "mlrf", "score", "--help"], capture_output=True, text=True, check=True)
    for option in {*re.findall(r"--[a-z-]+", done.stdout)} - {"--help"}:
        assert f"`{option}`" in PAGE
