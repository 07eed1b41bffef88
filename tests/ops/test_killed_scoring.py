"""`mlrf score` killed at random moments: equal bytes at the end, and no part computed twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

OPS = Path(__file__).parents[2] / "ops"


@pytest.mark.slow  # `make test` kills at chosen moments: tests/unit/scoring/test_crashes.py
@pytest.mark.parametrize(("kills", "parts"), [(8, 16), (200, 64)])
def test_killed_jobs_continue_to_the_same_bytes(kills, parts, tmp_path):
    command = [sys.executable, OPS / "kill_scoring.py", f"--kills={kills}", f"--parts={parts}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert "no part computed twice" in done.stdout
