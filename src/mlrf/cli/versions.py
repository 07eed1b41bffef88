"""`mlrf versions`: list the versions of a model in a repository."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mlrf.cli.path_arguments import path_or_address
from mlrf.cli.terminal_text import escaped_json
from mlrf.core.errors import BundleError
from mlrf.core.named_bundle import open_model_directory
from mlrf.core.repository import ModelDirectory
from mlrf.stores.address import is_address, parse_address
from mlrf.stores.open_store import open_reader
from mlrf.stores.publishing import store_versions

_STORE_TIMEOUT_S = 30.0


def versions(
    model: Annotated[
        Path, typer.Argument(help="A model of a repository: REPOSITORY/NAME, or its address.", parser=path_or_address)
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """List the versions of a model in a repository, and mark the current one.

    Example: mlrf versions models/sales
    """
    document = _in_store(model) if is_address(model) else _document(open_model_directory(model))
    if as_json:
        typer.echo(escaped_json(document, indent=2))
        return
    for each in document["versions"]:
        mark = "  current" if each["number"] == document["current"] else ""
        typer.echo(f"{each['number']:>6}  {(each['digest'] or 'unreadable')[:12]}{mark}")


def _document(directory: ModelDirectory) -> dict[str, Any]:
    pointer = directory.pointer()
    listed = [{"number": number, "digest": _digest(directory, number)} for number in directory.numbers()]
    return {"name": directory.name, "current": pointer.number, "before": list(pointer.before), "versions": listed}


def _in_store(model: Path) -> dict[str, Any]:
    address = parse_address(model)
    pointer, digests = store_versions(open_reader(address, _STORE_TIMEOUT_S))
    listed = [{"number": number, "digest": digest} for number, digest in digests.items()]
    name = address.path.rpartition("/")[2]
    return {"name": name, "current": pointer.number, "before": list(pointer.before), "versions": listed}


def _digest(directory: ModelDirectory, number: int) -> str | None:
    try:
        return directory.version(number).digest
    except BundleError:
        return None
