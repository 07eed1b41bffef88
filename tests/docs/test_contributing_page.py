"""The files that CONTRIBUTING.md names for a change are there, and no change needs more than three."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECTION = (
    (ROOT / "CONTRIBUTING.md").read_text().partition("### Where a change goes")[2].partition("**An error code.**")[0]
)
CHANGES = dict(re.findall(r"^\| (an? [^|]+|[^|]+) \| (`[^|]+`) \|$", SECTION, re.MULTILINE))


@pytest.mark.parametrize("change", CHANGES)
def test_files_of_a_change_exist(change):
    files = re.findall(r"`([^`]+)`", CHANGES[change])
    assert 1 <= len(files) <= 3
    for file in files:
        assert (ROOT / file if file.startswith("kernel/") else ROOT / "src/mlrf" / file).exists(), file


def test_the_table_has_the_usual_changes():
    assert len(CHANGES) == 16
