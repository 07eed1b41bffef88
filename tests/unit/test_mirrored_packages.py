"""tests/unit has a folder for every package of src/mlrf, in which the tests of that package are found."""

from __future__ import annotations

from pathlib import Path

import mlrf

PACKAGE = Path(mlrf.__file__).parent
WITHOUT = {
    "builder/exporters/forest_file": "tests/unit/kernel reads what it writes",
    "builder/importers/catboost": "tests/parity compares it with the library",
    "builder/importers/onnx_steps": "tests/parity compares it with the library",
    "builder/importers/onnx_trees": "tests/parity compares it with the library",
    "builder/importers/pipeline": "tests/parity compares it with the library",
    "builder/importers/sklearn": "tests/parity compares it with the library",
}
"""By package, where its tests are if not here."""
NO_PACKAGES = {"kernel"}
"""Folders of tests/unit whose subject is not a package: the extension module."""


def test_every_package_has_its_tests():
    here = Path(__file__).parent
    packages = {str(each.parent.relative_to(PACKAGE)) for each in PACKAGE.rglob("__init__.py")} - {"."}
    with_tests = {str(each.parent.relative_to(here)) for each in here.rglob("test_*.py")} - {"."}
    above = {str(parent) for each in with_tests for parent in Path(each).parents}
    assert packages - with_tests - above == WITHOUT.keys()
    assert with_tests - packages == NO_PACKAGES
