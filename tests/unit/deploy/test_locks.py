"""The locked packages of the image, in files that can be installed together."""

from __future__ import annotations

import re

import pytest

from documents import ROOT
from mlrf.deploy.templates import ROOT as FILES

LOCKED = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\\n]+)", re.MULTILINE)
CONTAINER = FILES / "container"
NAMES = ["requirements.txt", *(f"requirements-{which}.txt" for which in ("onnx", "signing", "stores", "sbom"))]


def locked(path):
    """The versions of each package in a file: several where they depend on the Python."""
    found: dict[str, set[str]] = {}
    for name, version in LOCKED.findall(path.read_text("utf-8")):
        found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), set()).add(version)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_package_has_hashes(name):
    entries = re.split(r"\n(?=\S)", (CONTAINER / name).read_text("utf-8").strip())
    assert len(entries) > 10
    assert [each for each in entries if "--hash=sha256:" not in each] == []


@pytest.mark.parametrize("name", ["requirements-onnx.txt", "requirements-signing.txt", "requirements-stores.txt"])
def test_files_installed_together_name_the_same_versions(name):
    base, other = locked(CONTAINER / "requirements.txt"), locked(CONTAINER / name)
    assert {each: (base[each], other[each]) for each in base.keys() & other.keys() if base[each] != other[each]} == {}


@pytest.mark.parametrize(
    ("name", "added"),
    [
        ("requirements-onnx.txt", {"onnxruntime"}),
        ("requirements-signing.txt", {"cryptography"}),
        ("requirements-stores.txt", {"botocore", "oras"}),
    ],
)
def test_a_file_adds_what_its_extra_needs(name, added):
    assert added <= locked(CONTAINER / name).keys() - locked(CONTAINER / "requirements.txt").keys()


def test_the_tool_of_the_bill_of_materials_is_that_of_make_sbom():
    of_make = locked(ROOT / "requirements/supply.txt")
    assert {name: of_make.get(name) for name in locked(CONTAINER / "requirements-sbom.txt")} == locked(
        CONTAINER / "requirements-sbom.txt"
    )
