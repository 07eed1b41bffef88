"""`mlrf deploy`: files that put a server into operation, with the user's names in them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import mlrf
from mlrf.cli.path_arguments import some_path
from mlrf.deploy.templates import write_files

deploy = typer.Typer(
    name="deploy", help="Write the files that put a server into operation.", no_args_is_help=True, rich_markup_mode=None
)
_Out = Annotated[
    Path,
    typer.Option("--out", "-o", parser=some_path, metavar="<path>", help="Directory to write to; empty, or not there."),
]


def _tell(out: Path, files: list[Path]) -> None:
    for file in files:
        typer.echo(out / file)


@deploy.command()
def container(out: _Out) -> None:
    """Write the build context of the server's image: a Containerfile, and its requirements with their hashes.

    Example: mlrf deploy container -o image && podman build --format docker --tag mlrf image
    """
    _tell(out, write_files("container", out, {"version": mlrf.__version__}))
