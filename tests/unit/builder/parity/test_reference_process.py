"""The process that asks a training library imports no more than the answer needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mlrf.builder.parity.reference_process import import_without

UNUSED = ("pandas", "sklearn")


@pytest.mark.parametrize(
    ("library", "unused"),
    [
        ("lightgbm", UNUSED),
        ("xgboost", UNUSED),
        ("sklearn", ["pandas", "pytest"]),
        pytest.param("combination", ["pandas", "pytest"], marks=pytest.mark.slow),
    ],
)
def test_library_is_imported_without_optional_packages(library, unused):
    script = f"""
import importlib.util, sys
from mlrf.builder.parity.reference_process import import_without
answers = import_without("mlrf.builder.importers.{library}.reference", {unused})
assert callable(answers.answer)
assert not {set(unused)} & set(sys.modules), "hidden while the library was imported"
assert importlib.util.find_spec("pandas"), "found again"
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)


def test_a_module_that_needs_such_a_package_gets_it(tmp_path, monkeypatch):
    (tmp_path / "needs_colorsys.py").write_text("import colorsys\nyiq = colorsys.rgb_to_yiq\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    assert callable(import_without("needs_colorsys", ["colorsys"]).yiq)


def test_a_module_that_does_not_exist_is_an_import_error():
    with pytest.raises(ImportError, match="no_such_module"):
        import_without("no_such_module", UNUSED)
