"""Run rows of the scoreboard: all, or those with the given numbers. `--no-faults` skips the runs with planted faults."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

from scoreboard import Row, report_line


def rows() -> dict[int, Row]:
    """Every row by its number."""
    names = sorted(path.stem for path in (HERE / "rows").glob("row_*.py"))
    found = [importlib.import_module(f"rows.{name}").ROW for name in names]
    return {row.number: row for row in found}


def main() -> int:
    """Run the requested rows and return the exit status: 1 if a bar is missed or a fault is not caught."""
    known = rows()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", type=int, choices=[*known, []], help="numbers of rows (all)")
    parser.add_argument("--no-faults", action="store_true")
    parser.add_argument("--brief", action="store_true", help="small numbers and generous bars, as in the tests")
    given = parser.parse_args()
    failed = False
    for number in given.rows or known:
        row = known[number]
        measure = row.brief if given.brief and row.brief is not None else row.measure
        for planted in (False,) if given.no_faults else (False, True):
            began = time.monotonic()
            finding = measure(planted)
            failed |= finding.holds is planted
            print(f"{report_line(row, finding, planted=planted)} | {time.monotonic() - began:.0f} s", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
