"""Bars of the scoreboard: a figure beside the bar that it is held to. `make ops` holds the bar itself, `make test` a generous one."""

from __future__ import annotations

import os

FULL = bool(os.environ.get("OPS_FULL"))


def bar(row: int, what: str, figure: float, limit: float, *, at_least: bool = False, busy: float | None = None) -> None:
    """Print a figure and its bar and hold it; `busy` is the bar where other work may share the machine."""
    held_to = limit if FULL or busy is None else busy
    held = figure >= held_to if at_least else figure <= held_to
    sign = ">=" if at_least else "<="
    print(
        f"\nrow {row:>2}  {what:<55} {figure:10.3f}  {sign} {limit:g}{'' if held_to == limit else f' (here {held_to:g})'}  {'held' if held else 'MISSED'}",
        end="",
        flush=True,
    )
    assert held, f"row {row}: {what}: {figure:g} is not {sign} {held_to:g}"
