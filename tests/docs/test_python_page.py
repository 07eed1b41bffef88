"""The Python API is what docs/reference/python.md lists: nothing else is public, and all that is listed is there."""

from __future__ import annotations

import re
from pathlib import Path

import mlrf
from bundles import write_tree_bundle
from mlrf.model.explanation import Explanation

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "python.md").read_text()


def listed(heading):
    """The names that the table under a heading has in its first column."""
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)[1]
    rows = re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(?:mlrf\.)?([A-Za-z_]+)", row)}


def public(kind, *attributes):
    return {name for name in dir(kind) if not name.startswith("_")} | set(attributes)


def test_the_page_lists_the_package():
    assert listed("The package") == set(mlrf.__all__)


def test_the_page_lists_the_members_of_a_model():
    assert listed("`Model`") == public(mlrf.Model, "schema", "classes", "bundle", "engine")


def test_a_model_has_no_other_attributes(tmp_path):
    model = mlrf.load(write_tree_bundle(tmp_path / "b"))
    assert {name for name in vars(model) if not name.startswith("_")} == {"schema", "classes", "bundle", "engine"}


def test_the_page_lists_the_members_of_an_explanation():
    assert listed("`Explanation`") == public(Explanation)
