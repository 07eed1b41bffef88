"""The files that CONTRIBUTING.md names are there; its table names at most three for a change, and does not claim that they suffice."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
SECTION = TEXT.partition("### Where a change goes")[2].partition("**An error code.**")[0]
CHANGES = dict(re.findall(r"^\| (an? [^|]+|[^|]+) \| (`[^|]+`) \|$", SECTION, re.MULTILINE))


@pytest.mark.parametrize("change", CHANGES)
def test_files_of_a_change_exist(change):
    files = re.findall(r"`([^`]+)`", CHANGES[change])
    assert 1 <= len(files) <= 3
    for file in files:
        assert (ROOT / file if file.startswith("kernel/") else ROOT / "src/mlrf" / file).exists(), file


def test_files_of_the_recipe_for_shapley_values_exist():
    recipe = TEXT.partition("**A kind of Shapley values**")[2].partition("**A store of models.**")[0]
    folder = Path()
    named = re.findall(r"`([\w/]+(?:/|\.\w+))`", recipe)
    assert len(named) >= 8
    for file in named:
        # A name without a folder is in that of the name before it.
        folder = Path(file).parent if "/" in file else folder
        path = folder / Path(file).name
        assert any((ROOT / root / path).exists() for root in ("", "src/mlrf")), path


def test_the_table_has_the_usual_changes():
    assert len(CHANGES) == 18
