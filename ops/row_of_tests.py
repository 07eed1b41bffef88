"""Rows of the scoreboard that are measured by tests: `make ops ROWS=9` runs the tests at full length, and again with the fault.

A fault is Python that changes the package. It runs in the process of the tests (`planted_fault.py`, a plugin of pytest), and in every
server that the tests start (`tests/running.py`), which read it from the environment.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

from mlrf.core.value_text import clip
from scoreboard import Finding, Row

_REPOSITORY = Path(__file__).resolve().parent.parent
_SHOWN = 3


def row_of_tests(number: int, test: str, bar: str, fault: str, *, tests: tuple[str, ...], broken_by: str) -> Row:
    """Return a row that holds when all `tests` (paths or node ids of pytest) pass; a test that is skipped does not pass."""

    def measure(planted: bool) -> Finding:
        return run_tests(tests, broken_by if planted else "")

    return Row(number, test, bar, fault, measure, tests=tests)


def run_tests(tests: tuple[str, ...], broken_by: str = "") -> Finding:
    """Run tests in a process of their own, at full length."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "planted_fault", "-p", "no:cacheprovider"]
        environment = os.environ | {
            "OPS_FULL": "1",
            "PLANTED_FAULT": broken_by,
            "PYTHONPATH": str(Path(__file__).parent),
        }
        ended = subprocess.run(
            [*command, "--timeout", "900", f"--junitxml={report}", *tests],
            cwd=_REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode > 1:  # 0: all passed, 1: some failed
            raise RuntimeError(f"pytest ended with {ended.returncode}: {ended.stdout[-2000:]} {ended.stderr[-2000:]}")
        cases = list(ET.parse(report).iter("testcase"))  # noqa: S314  pytest wrote it
    bad = [f"{case.get('name', '')}: {fault}" for case in cases if (fault := _fault(case))]
    skipped = [case.get("name", "") for case in cases if case.find("skipped") is not None]
    figure = (
        f"{len(cases)} tests, {len(bad)} failed {bad[:_SHOWN] or ''}, {len(skipped)} skipped {skipped[:_SHOWN] or ''}"
    )
    return Finding(figure, not bad and not skipped)


def _fault(case: ET.Element) -> str:
    """Why a test failed, in a line; empty if it passed."""
    faults = case.findall("failure") + case.findall("error")
    return clip(faults[0].get("message", "").partition("\n")[0] or "failed") if faults else ""
