"""Removal of versions that a repository no longer needs: all but the current one and those that were current last."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from mlrf.core.cached_bundles import cached_digest
from mlrf.core.errors import BundleError, RepositoryError
from mlrf.core.repository import ModelDirectory, model_directories


def removable(directory: ModelDirectory, keep: int) -> list[int]:
    """Return the numbers of the versions that are neither current nor among the `keep` newest others, ascending.

    Those that were current last count as the newest. BundleError when the pointer is damaged: then nothing is removable.
    """
    pointer = directory.pointer()
    numbers = [each for each in directory.numbers() if each != pointer.number]
    earlier = [each for each in dict.fromkeys(reversed(pointer.before)) if each in numbers]
    order = [*earlier, *sorted(set(numbers) - set(earlier), reverse=True)]
    # A version that is newer than the current one may be about to become it.
    return sorted(each for each in order[keep:] if each < pointer.number)


def remove_version(directory: ModelDirectory, number: int) -> None:
    """Remove a version of a model; RepositoryError when it cannot be removed."""
    path = directory.path / str(number)
    try:
        if path.is_symlink():
            path.unlink()
        else:
            shutil.rmtree(path)
    except OSError as error:
        raise RepositoryError(f"{path} could not be removed: {error.strerror}") from error


def unused_bundles(cache: Path) -> Iterator[Path]:
    """Yield what a cache of stores has and no version links to: bundles, and files and directories of other names."""
    linked = set()
    for repository in (cache / "stores").glob("*"):
        for directory in model_directories(repository):
            with suppress(BundleError):
                linked |= {(directory.path / str(number)).resolve() for number in directory.numbers()}
    for bundle in sorted((cache / "bundles").glob("*")):
        if not bundle.name.startswith(".") and bundle.resolve() not in linked:
            yield bundle


def is_cached_bundle(path: Path) -> bool:
    """Return whether a path in a cache of stores is a directory that may be removed: one with the name of a bundle."""
    return cached_digest(path.name) is not None and path.is_dir() and not path.is_symlink()
