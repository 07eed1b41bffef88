"""The interface of engines. An engine works on columns of numbers; names, links and JSON are handled elsewhere."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from mlrf import _kernel

Row = Sequence[float | None]
"""F values in schema order; NaN or None is missing, booleans count as 0 and 1, categories are codes."""

Rows = bytes | bytearray | memoryview | array  # type: ignore[type-arg]
"""n x F float64, C-contiguous, missing as NaN: any object with a buffer (a NumPy array too)."""


class Engine(Protocol):
    """Computes raw margins. One thread at a time may call `margin`, any thread `margins`; a worker has one engine a bundle."""

    name: ClassVar[str]

    @property
    def n_features(self) -> int:
        """F, the columns of a row."""
        ...

    @property
    def n_outputs(self) -> int:
        """K, the margins of a row."""
        ...

    def margin(self, row: Row) -> list[float]:
        """Return the K raw margins of one row."""
        ...

    def margins(self, rows: Rows, threads: int = 1) -> array[float]:
        """Return the raw margins of n rows, n x K row-major; each row's equal `margin` of it bit for bit.

        The tree engine uses at most `threads` threads, and no more than there are processors; the others use one.
        """
        ...


@runtime_checkable
class BackgroundExplainer(Protocol):
    """Shapley values of the raw margins against a background of rows (interventional), whose mean margin is `base`."""

    @property
    def base(self) -> list[float]:
        """[K] the mean raw margins of the background."""
        ...

    def contributions_many(self, rows: Rows, threads: int = 1) -> array[float]:
        """Return the contributions of n rows, n x F x K row-major; any thread may call it, and it releases the GIL."""
        ...


class KernelGame(Protocol):
    """A game that the kernel plays on a forest."""

    def __call__(self, forest: _kernel.Forest, groups: _kernel.Groups | None) -> BackgroundExplainer:
        """Return what explains a forest, with groups of features as players if they are given."""
        ...


class GroupExplainer(BackgroundExplainer, Protocol):
    """Path-dependent Shapley values of the game whose G players are groups of features: n x G x K where rows have F."""

    def other_game(self, game: KernelGame) -> BackgroundExplainer:
        """Return the explainer of the same players in another game; errors as of `Explainer.other_game`."""
        ...


@runtime_checkable
class Explainer(Protocol):
    """Exact path-dependent Shapley values of the raw margins: per output, `base` plus a row's contributions is its margin."""

    @property
    def base(self) -> list[float]:
        """[K] the expected raw margins."""
        ...

    def contributions(self, row: Row) -> array[float]:
        """Return the contributions of one row, F x K row-major; only one thread at a time may call it, as for `margin`."""
        ...

    def contributions_many(self, rows: Rows, threads: int = 1) -> array[float]:
        """Return the contributions of n rows, n x F x K row-major; any thread may call it, and it releases the GIL."""
        ...

    def interactions(self, rows: Rows, threads: int = 1) -> array[float]:
        """Return the interaction values of n rows, n x F x F x K row-major; any thread may call it, and it releases the GIL.

        Each matrix is symmetric, and its rows add up to the contributions. NotExplainableError for trees too deep for it.
        """
        ...

    def other_game(self, game: KernelGame) -> BackgroundExplainer:
        """Return the explainer in a game of the kernel, whose errors are those of the game."""
        ...

    @property
    def combinations(self) -> list[list[int]]:
        """The features of each combination of categories that is one player, and so must be in one group."""
        ...

    def grouped(self, group_of: Rows, n_groups: int) -> GroupExplainer:
        """Return the explainer whose players are groups; `group_of` [F] of u32 has the group of each feature."""
        ...


@runtime_checkable
class PiecewiseConstant(Protocol):
    """An engine whose margins change only at known values of a feature."""

    def cuts(self, feature: int) -> array[float]:
        """Return the finite cut points of a feature, ascending: margins are constant for cuts[i - 1] < x <= cuts[i]."""
        ...


@runtime_checkable
class WalksTrees(Engine, Protocol):
    """An engine that knows the leaf that a row reaches in each tree, and can start the sum of their values elsewhere."""

    def leaves(self, rows: Rows, trees: Rows, numbers: Rows) -> array[float]:
        """Return `numbers[leaf]` of the leaf that each of n rows reaches in each of t trees, [n, t].

        `trees` [t] and `numbers` [leaves] are u32. ValueError or IndexError when they are not those of the forest.
        """
        ...

    def margins_from(self, rows: Rows, starts: Rows) -> array[float]:
        """Return the margins [n, K] of sums that start at `starts` [n, K]; from any thread."""
        ...


@runtime_checkable
class Interruptible(Protocol):
    """An engine whose computation may never end and can be interrupted from another thread."""

    def interrupt(self) -> None:
        """Abort the current computation and every later one."""
        ...

    def resume(self) -> None:
        """Allow computations again."""
        ...
