"""The tree engine: the C++ kernel as an engine. Imports no NumPy; the file's pages are shared by all workers."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import ClassVar

from mlrf import _kernel
from mlrf.core.errors import BundleError, NotExplainableError
from mlrf.engines.interface import BackgroundExplainer, GroupExplainer, KernelGame, Rows


class TreeEngine(_kernel.Forest):
    """Margins and contributions of one forest file.

    A subclass of the kernel's class, so that `engine.margin` is the kernel's own method with no call in between. `margin` and
    `contributions` share a buffer: one engine serves one thread at a time. `margins` and `contributions_many` release the GIL.
    """

    name: ClassVar[str] = "trees"

    def __init__(self, path: Path | str, level: str | None = None) -> None:
        """Map and check the file at `path`; BundleError when it is missing or damaged.

        `level` forces an instruction set by its name (kernel/src/dispatch.cpp), as MLRF_KERNEL_LEVEL does; ValueError for one
        that this processor does not run.
        """
        try:
            super().__init__(str(path), level)
        except (_kernel.ForestFileError, OSError) as error:
            raise BundleError(f"{path}: {error}") from error

    def interactions(self, rows: Rows, threads: int = 1) -> array[float]:
        """Return the interaction values of n rows, n x F x F x K row-major; NotExplainableError for trees too deep for it."""
        try:
            return super().interactions(rows, threads)
        except _kernel.TooLargeError as error:
            raise NotExplainableError(f"{error}; request explanations without interactions") from error
        except _kernel.ForestFileError as error:
            raise BundleError(str(error)) from error

    def other_game(self, game: KernelGame) -> BackgroundExplainer:
        """Return the explainer in a game of the kernel; BundleError for trees that it finds damaged."""
        return _playing(game, self, None)

    def grouped(self, group_of: Rows, n_groups: int) -> GroupExplainer:
        """Return the explainer whose players are groups of features; ValueError for groups that split a combination."""
        return _TreeGroups(self, group_of, n_groups)


class _TreeGroups(_kernel.Groups):
    """Shapley values of groups of features of one forest."""

    def __init__(self, trees: TreeEngine, group_of: Rows, n_groups: int) -> None:
        try:
            super().__init__(trees, group_of, n_groups)
        except _kernel.ForestFileError as error:
            raise BundleError(str(error)) from error
        self._trees = trees

    def other_game(self, game: KernelGame) -> BackgroundExplainer:
        """Return the explainer of the same groups in a game of the kernel; errors as of `TreeEngine.other_game`."""
        return _playing(game, self._trees, self)


def _playing(game: KernelGame, trees: TreeEngine, groups: _kernel.Groups | None) -> BackgroundExplainer:
    try:
        return game(trees, groups)
    except _kernel.ForestFileError as error:
        raise BundleError(str(error)) from error
