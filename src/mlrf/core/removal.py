"""Removal of versions that a repository no longer needs: all but the current one and those that were current last."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

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


def remove_versions(directory: ModelDirectory, numbers: list[int]) -> None:
    """Remove versions of a model; RepositoryError when one cannot be removed."""
    for number in numbers:
        path = directory.path / str(number)
        try:
            if path.is_symlink():
                path.unlink()
            else:
                shutil.rmtree(path)
        except OSError as error:
            raise RepositoryError(f"{path} could not be removed: {error.strerror}") from error


def unused_bundles(cache: Path) -> Iterator[Path]:
    """Yield the bundles of a cache of stores that no version links to."""
    linked = set()
    for repository in (cache / "stores").glob("*"):
        for directory in model_directories(repository):
            with suppress(BundleError):
                linked |= {(directory.path / str(number)).resolve() for number in directory.numbers()}
    for bundle in sorted((cache / "bundles").glob("*")):
        if not bundle.name.startswith(".") and bundle.resolve() not in linked:
            yield bundle
