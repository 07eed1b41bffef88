"""`mlrf gc`: remove old versions from a repository, or from what a server has fetched from stores."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from mlrf.cli.exit_status import exit_status
from mlrf.cli.path_arguments import non_empty_path
from mlrf.cli.terminal_text import escaped
from mlrf.core.errors import ConfigError, MlrfError, RepositoryError
from mlrf.core.removal import is_cached_bundle, removable, remove_version, unused_bundles
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
    as you may want to roll back to: a server that refused the latest versions serves an earlier one. A model whose pointer is
    damaged keeps all its versions and is named; the others are done, and the exit status is 3.

    Example: mlrf gc models --keep 5
    """
    is_cache = (path / "stores").is_dir()
    directories = _mirrored(path) if is_cache else model_directories(path)
    if not directories and not is_cache:
        raise ConfigError(
            f"{path} is neither a repository nor a state directory with versions from stores", option="PATH"
        )
    removal = _Removal(is_dry=dry_run)
    for directory in directories:
        removal.remove_versions(directory, keep)
    for bundle in unused_bundles(path) if is_cache else ():
        removal.remove_bundle(bundle)
    if not removal.n_removed:
        typer.echo(f"{path}: no version to remove")
    if removal.first_error is not None:
        raise typer.Exit(exit_status(removal.first_error))


class _Removal:
    """Removes, or names what it would remove; what cannot be removed is named, and the rest goes on."""

    def __init__(self, *, is_dry: bool) -> None:
        self._is_dry = is_dry
        self.n_removed = 0
        self.first_error: MlrfError | None = None

    def remove_versions(self, directory: ModelDirectory, keep: int) -> None:
        """Remove the old versions of a model."""
        with self._reported():
            for number in removable(directory, keep):
                if not self._is_dry:
                    remove_version(directory, number)
                self._count(directory.path / str(number))

    def remove_bundle(self, bundle: Path) -> None:
        """Remove a bundle of a cache; what has no bundle's name stays."""
        if not is_cached_bundle(bundle):
            typer.echo(escaped(f"kept {bundle}: it is not a bundle that a server fetched"), err=True)
            return
        with self._reported():
            if not self._is_dry:
                _remove(bundle)
            self._count(bundle)

    def _count(self, removed: Path) -> None:
        self.n_removed += 1
        typer.echo(f"{'would remove' if self._is_dry else 'removed'} {removed}")

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except MlrfError as error:
            typer.echo(escaped(f"mlrf: {error}"), err=True)
            self.first_error = self.first_error or error


def _mirrored(state_dir: Path) -> list[ModelDirectory]:
    found = sorted((state_dir / "stores").glob("*"))
    return [directory for repository in found for directory in model_directories(repository)]


def _remove(bundle: Path) -> None:
    try:
        shutil.rmtree(bundle)
    except OSError as error:
        raise RepositoryError(f"{bundle} could not be removed: {error.strerror}") from error
