"""docs/how-to/python-client.md: its code runs against the README's model."""

from __future__ import annotations

import subprocess
import sys

import pytest

from documents import ROOT, blocks
from running import serving

CLIENT = (ROOT / "docs/how-to/python-client.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
READ_ROWS = 'import pandas\n\nframe = pandas.read_parquet("rows.parquet").head(20)\n'
BUILD = "\nimport mlrf\nmlrf.build('model.txt', 'sales-bundle', name='sales', sample='rows.parquet')\n"


@pytest.mark.slow
def test_the_code_of_the_page_runs(tmp_path):
    def run(code):
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(blocks(README, "python")[0] + BUILD)
    call, test = blocks(CLIENT, "python")
    with serving(tmp_path / "sales-bundle", options=["--state-dir", str(tmp_path / "state")]) as server:
        assert run(READ_ROWS + call.replace("localhost:8080", f"127.0.0.1:{server.port}"))
    assert "http://127.0.0.1:" in run(test)
