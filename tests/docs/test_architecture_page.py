"""The architecture page names each package, and each module of the server that stands in none."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "explanation" / "architecture.md").read_text()


@pytest.mark.parametrize(
    ("folder", "heading"), [("src/mlrf", "## Layers"), ("src/mlrf/serving", "### Inside `serving`")]
)
def test_every_package_has_a_row(folder, heading):
    table = PAGE.partition(heading)[2].partition("\n##")[0]
    named = set(
        re.findall(r"`(\w+/|\w+\.py)`", "\n".join(line.split("|")[1] for line in table.splitlines() if "|" in line))
    )
    packages = {f"{each.parent.name}/" for each in (ROOT / folder).glob("*/__init__.py")}
    modules = {each.name for each in (ROOT / folder).glob("[a-z]*.py")} if folder.endswith("serving") else set()
    assert packages | modules <= named
