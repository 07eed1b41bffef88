"""Parses path arguments; refuses empty paths (from unset shell variables) and addresses (`s3://…`)."""

from __future__ import annotations

from pathlib import Path

import typer

from mlrf.core.local_path import scheme_of


def some_path(text: str | Path) -> Path:
    """Return the path of an argument; a usage error when it is empty or an address."""
    if text == "":
        raise typer.BadParameter("the path is empty")
    if (scheme := scheme_of(text)) is not None:
        raise typer.BadParameter(
            f"{scheme}: addresses are not supported; copy the file to this machine and give its path"
        )
    return Path(text)
