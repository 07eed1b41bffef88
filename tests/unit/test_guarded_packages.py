"""`make guards` removes guards of every package: each is named with the tests that hold it."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests/mutation"))

from guards import PACKAGE, TESTS, guards_of  # noqa: E402


def is_listed(path: Path) -> bool:
    """Whether a folder or a module is one that TESTS names, or below it."""
    return any(str(each) in TESTS for each in (path.with_suffix(""), *path.parents))


def test_every_package_is_listed():
    packages = {each.parent.relative_to(PACKAGE) for each in PACKAGE.rglob("__init__.py")} - {Path()}
    above = {parent for name in TESTS for parent in Path(name).parents}
    assert {str(each) for each in packages if not is_listed(each)} == {str(each) for each in above} - {"."}


def test_every_guard_is_in_a_listed_package():
    assert {str(guard.path) for guard in guards_of("", without=is_listed)} == set()


def test_the_listed_packages_and_tests_exist():
    for name, tests in TESTS.items():
        assert (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file(), name
        for each in tests:
            assert (ROOT / each).exists(), each
