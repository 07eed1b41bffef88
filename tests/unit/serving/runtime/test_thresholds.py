"""What decides that work leaves the event loop, or is cut into pieces, is defined in `thresholds.py` only."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

SERVING = Path(__file__).parents[4] / "src/mlrf/serving"
MODULES = [path for path in sorted(SERVING.rglob("*.py")) if path.name != "thresholds.py"]
AT_ONCE = re.compile(r"AT_ONCE|_LOOP_|^_?TURN_|PIECE")
"""Names of such constants."""
LONGEST_S = 0.02
OTHER_TIMES = {
    "_MIN_SLICE_S": "the least share of a turn",
    "_STRAINED_S": "a wait in a queue",
    "_MARGIN_S": "a margin before a client's deadline",
    "_MOST_TIMED_S": "spent when a model is opened",
    "_DRAIN_TICK_S": "the pause between two checks",
    "_CHECK_S": "the pause between two checks",
    "_GOAWAY_S": "the wait for a message to reach clients",
    "_SWITCH_S": "the interpreter's switch interval",
    "DEADLINE_S": "the wait for another machine",
}
"""Constants of a few milliseconds that do not limit what the event loop does."""


def constants(text: str) -> dict[str, ast.expr]:
    """Return the constants of a module and their values."""
    found = {}
    for node in ast.parse(text).body:
        for target in node.targets if isinstance(node, ast.Assign) else ():
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=True))
            found |= {name.id: value for name, value in pairs if isinstance(name, ast.Name)}
    return {name: value for name, value in found.items() if name.isupper()}


def misplaced(text: str) -> set[str]:
    """Return the constants of a module that belong to `thresholds.py`."""
    by_name = constants(text)
    short = {
        name
        for name, value in by_name.items()
        if name.endswith("_S") and isinstance(value, ast.Constant) and isinstance(value.value, float)
        if value.value <= LONGEST_S and name not in OTHER_TIMES
    }
    return short | {name for name in by_name if AT_ONCE.search(name)}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(SERVING)))
def test_no_other_module_defines_a_threshold(module):
    assert misplaced(module.read_text(encoding="utf-8")) == set()


def test_misplaced_thresholds_would_be_found():
    text = "_AT_ONCE_BYTES = 256 << 10\nTURN_S = 5e-3\n_WRITTEN_S, _WAIT_S = 1e-6, 2.0\n_STRAINED_S = 0.01\n"
    assert misplaced(text) == {"_AT_ONCE_BYTES", "TURN_S", "_WRITTEN_S"}
