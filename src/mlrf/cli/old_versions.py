"""`mlrf gc`: remove old versions from a repository, or from what a server has fetched from stores."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from mlrf.cli.path_arguments import non_empty_path
from mlrf.core.errors import ConfigError, RepositoryError
from mlrf.core.removal import removable, remove_versions, unused_bundles
from mlrf.core.repository import ModelDirectory, model_directories


def gc(
    path: Annotated[
        Path, typer.Argument(help="A repository, one model of it, or a server's --state-dir.", parser=non_empty_path)
    ],
    keep: Annotated[int, typer.Option(min=0, help="Versions to keep besides the current one.")] = 3,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be removed.")] = False,
) -> None:
    """Remove old versions: all but each model's current one, --keep earlier ones, and newer ones.

    In a server's state directory these are the versions that it fetched from stores; rows by key are not touched. Keep as many
    as you may want to roll back to: a server that refused the latest versions serves an earlier one.

    Example: mlrf gc models --keep 5
    """
    verb = "would remove" if dry_run else "removed"
    is_cache = (path / "stores").is_dir()
    directories = _mirrored(path) if is_cache else model_directories(path)
    if not directories and not is_cache:
        raise ConfigError(
            f"{path} is neither a repository nor a state directory with versions from stores", option="PATH"
        )
    n_removed = 0
    for directory in directories:
        numbers = removable(directory, keep)
        n_removed += len(numbers)
        if not dry_run:
            remove_versions(directory, numbers)
        for number in numbers:
            typer.echo(f"{verb} {directory.path / str(number)}")
    for bundle in unused_bundles(path) if is_cache else ():
        if not dry_run:
            _remove(bundle)
        n_removed += 1
        typer.echo(f"{verb} {bundle}")
    if not n_removed:
        typer.echo(f"{path}: no version to remove")


def _mirrored(state_dir: Path) -> list[ModelDirectory]:
    found = sorted((state_dir / "stores").glob("*"))
    return [directory for repository in found for directory in model_directories(repository)]


def _remove(bundle: Path) -> None:
    try:
        shutil.rmtree(bundle)
    except OSError as error:
        raise RepositoryError(f"{bundle} could not be removed: {error.strerror}") from error
