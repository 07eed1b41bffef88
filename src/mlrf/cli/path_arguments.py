"""Parses path arguments; refuses empty paths (from unset shell variables) and addresses (`s3://…`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from mlrf.core.errors import ConfigError
from mlrf.core.local_path import scheme_of
from mlrf.stores.address import Address, is_address, parse_address, well_formed_address


def path_or_address(text: str | Path) -> Path:
    """Return the path or the address of a store in an argument; a usage error when it is empty or not a known address."""
    return _path_or_address(text, parse_address)


def path_or_written_address(text: str | Path) -> Path:
    """Return the path or the address in an argument that is only written down: another machine has the address's extra."""
    return _path_or_address(text, well_formed_address)


def _path_or_address(text: str | Path, parse: Callable[[str | Path], Address]) -> Path:
    if text == "" or not is_address(text):
        return non_empty_path(text)
    try:
        parse(text)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error
    return Path(text)


def path_or_table_address(text: str | Path) -> Path:
    """Return the path or the address of rows in an argument; scoring refuses the addresses that it cannot read."""
    return Path(text) if text != "" and scheme_of(text) is not None else non_empty_path(text)


def non_empty_path(text: str | Path) -> Path:
    """Return the path of an argument; a usage error when it is empty or an address."""
    if text == "":
        raise typer.BadParameter("the path is empty")
    if (scheme := scheme_of(text)) is not None:
        raise typer.BadParameter(
            f"{scheme}: addresses are not supported; copy the file to this machine and give its path"
        )
    return Path(text)


def path_option(help_text: str, *names: str) -> Any:
    """Return typer's option of a path that is not empty; `names` are its flags, by default that of its parameter."""
    return typer.Option(*names, parser=non_empty_path, metavar="<path>", help=help_text)
