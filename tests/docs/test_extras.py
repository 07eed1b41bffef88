"""The extras and the metadata of the package are those that the README and the code name."""

from __future__ import annotations

import re
import tomllib

from documents import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = set(PROJECT["optional-dependencies"])
NAMED = re.compile(r"mlrf\[([a-z0-9, ]+)\]")


def test_readme_lists_the_extras_and_no_others():
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("| extra | adds |")[2].partition("\n\n")[0]
    first_cells = re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)
    listed = [name for cell in first_cells for name in re.findall("`([a-z0-9]+)`", cell)]
    assert sorted(listed) == sorted(EXTRAS)


def test_messages_and_documents_name_extras_that_exist():
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md"]
    named = {
        name.strip()
        for file in files
        for extras in NAMED.findall(file.read_text(encoding="utf-8"))
        for name in extras.split(",")
    }
    assert {"build", "redis", "grpc"} <= named
    assert named - EXTRAS == set()


def test_no_address_is_invented():
    """The project has no public address yet: CONTRIBUTING says that urls are to be added with the first release."""
    assert "urls" not in PROJECT
    assert PROJECT["authors"]
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13, 14)} <= set(PROJECT["classifiers"])
