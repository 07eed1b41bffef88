"""The faults that the scoreboard plants fit the package: what they import and replace exists."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import Any

import pytest

ROWS = Path(__file__).parents[2] / "ops" / "rows"


def planted() -> dict[str, str]:
    """Each text of a row that is code which changes the package."""
    return {
        f"{path.stem}:{node.lineno}": node.value
        for path in sorted(ROWS.glob("row_*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "from mlrf" in node.value
    }


FAULTS = planted()


def test_there_are_faults_in_code():
    assert len(FAULTS) > 10


@pytest.mark.parametrize("where", FAULTS)
def test_what_a_fault_imports_and_replaces_exists(where):
    names: dict[str, Any] = {}
    for node in ast.parse(FAULTS[where]).body:
        if isinstance(node, ast.ImportFrom):
            for each in node.names:
                module = importlib.import_module(str(node.module))
                if not hasattr(module, each.name):
                    importlib.import_module(f"{node.module}.{each.name}")
                names[each.asname or each.name] = getattr(module, each.name)
        elif isinstance(node, ast.Assign):
            # The original may be kept under another name.
            keeps = isinstance(node.value, ast.Attribute)
            for target in node.targets if not keeps else [node.value]:
                if (
                    isinstance(target, ast.Attribute)
                    and isinstance(target.value, ast.Name)
                    and target.value.id in names
                ):
                    assert hasattr(names[target.value.id], target.attr), ast.unparse(target)
