"""docs/explanation/pipelines.md: its example runs, and the steps that it names are those that are folded."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mlrf.builder.importers.pipeline.lineage import FOLDED_STEPS

PAGE = (Path(__file__).parents[2] / "docs/explanation/pipelines.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "low", "high"), [(0, 20, 40), (1, 48, 50)], ids=["folded", "get_dummies"])
def test_the_examples_run(number, low, high, tmp_path):
    block = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[number]
    done = subprocess.run(
        [sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert low < float(done.stdout.strip("[]\n")) < high


def test_every_step_that_is_folded_is_named():
    [table] = re.findall(r"^\| step \|.*?\n\n", PAGE, re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"`([A-Z]\w+?)`", table))
    assert named >= FOLDED_STEPS - {"FunctionTransformer", "Pipeline"}
    assert "FunctionTransformer" in PAGE
