"""Paths as arguments: an empty one, as an unset variable of a shell leaves it, is not the current directory."""

from __future__ import annotations

from pathlib import Path

import typer


def some_path(text: str | Path) -> Path:
    """Return the path that an argument names; a usage error when it is empty."""
    if text == "":
        raise typer.BadParameter("the path is empty")
    return Path(text)
