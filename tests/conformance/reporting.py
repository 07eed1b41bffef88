"""How a script of one client's environment reports: a line of JSON for each call, read by run.py."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace


def given():
    """What run.py says: addresses, rows, and the answers of the native routes."""
    return SimpleNamespace(**json.loads(sys.argv[1]))


def report(client, call, expected, ask, reason=""):
    """Ask, and report whether the answer is the expected one; `reason` says why another contract forbids it."""
    try:
        answer = ask()
        same = answer == expected
        shown = "" if same else f"answered {answer!r}, expected {expected!r}"
    except Exception as error:  # noqa: BLE001  whatever a client raises is its answer
        same, shown = False, f"{type(error).__name__}: {error}"
    result = "same" if same else "differs"
    print(
        json.dumps(
            {
                "client": client,
                "call": call,
                "result": result,
                "reason": reason if not same else "",
                "shown": shown[:500],
            }
        )
    )
