"""The engine of a combination of models: one forest has the trees of all members, and a few operations combine their sums."""

from __future__ import annotations

import math
from array import array
from typing import ClassVar

from mlrf.core.combination import Combination, LinearMap
from mlrf.engines.interface import BackgroundExplainer, GroupExplainer, KernelGame, Row, Rows
from mlrf.engines.tree_kernel import TreeEngine


class RowReadingEngine:
    """Computes margins of a combination that reads the row too, without Shapley values and cut points.

    The margin changes between the thresholds, and the means of the row's numbers, which Shapley values need, are not in the
    model.
    """

    name: ClassVar[str] = TreeEngine.name

    def __init__(self, trees: TreeEngine, combination: Combination) -> None:
        self._trees = trees
        self._combination = combination
        self.n_features: int = trees.n_features
        self.n_outputs = len(combination.margins([0.0] * trees.n_outputs, [0.0] * trees.n_features))

    def margin(self, row: Row) -> list[float]:
        """Return the K margins of one row."""
        numbers = [math.nan if number is None else float(number) for number in row]
        return self._combination.margins(self._trees.margin(row), numbers)

    def margins(self, rows: Rows, threads: int = 1) -> array[float]:
        """Return the margins of n rows, n x K row-major; each row's equal `margin` of it bit for bit."""
        numbers = memoryview(rows).cast("B").cast("d")
        return self._combination.margins_of_rows(self._trees.margins(rows, threads), numbers)


class CombinedEngine:
    """Computes margins of a combination, without Shapley values: the members' answers pass through non-linear functions."""

    name: ClassVar[str] = TreeEngine.name

    def __init__(self, trees: TreeEngine, combination: Combination) -> None:
        self._trees = trees
        self._combination = combination
        self.n_features: int = trees.n_features
        self.n_outputs = len(combination.margins([0.0] * trees.n_outputs))

    def margin(self, row: Row) -> list[float]:
        """Return the K margins of one row."""
        return self._combination.margins(self._trees.margin(row))

    def margins(self, rows: Rows, threads: int = 1) -> array[float]:
        """Return the margins of n rows, n x K row-major; each row's equal `margin` of it bit for bit."""
        return self._combination.margins_of_rows(self._trees.margins(rows, threads))

    def cuts(self, feature: int) -> array[float]:
        """Return the cut points of a feature: those of the members' trees, because only the members' answers are combined."""
        return self._trees.cuts(feature)


class LinearCombinedEngine(CombinedEngine):
    """Computes margins and Shapley values of a weighted sum; by linearity its Shapley values are the same weighted sum."""

    def __init__(self, trees: TreeEngine, combination: Combination, linear: LinearMap) -> None:
        super().__init__(trees, combination)
        self._linear = linear
        self.base: list[float] = combination.margins(trees.base)
        """[K] the expected margins."""

    def contributions(self, row: Row) -> array[float]:
        """Return the contributions of one row, F x K row-major."""
        return self._linear.of_rows(self._trees.contributions(row))

    def contributions_many(self, rows: Rows, threads: int = 1) -> array[float]:
        """Return the contributions of n rows, n x F x K row-major."""
        return self._linear.of_rows(self._trees.contributions_many(rows, threads))

    def interactions(self, rows: Rows, threads: int = 1) -> array[float]:
        """Return the interaction values of n rows, n x F x F x K row-major."""
        return self._linear.of_rows(self._trees.interactions(rows, threads))

    def other_game(self, game: KernelGame) -> BackgroundExplainer:
        """Return the explainer in a game of the kernel; errors as of `TreeEngine.other_game`."""
        return _LinearExplainer(self._trees.other_game(game), self._combination, self._linear)

    @property
    def combinations(self) -> list[list[int]]:
        """The combinations of categories of all members."""
        return self._trees.combinations

    def grouped(self, group_of: Rows, n_groups: int) -> GroupExplainer:
        """Return the explainer whose players are groups of features, as `TreeEngine.grouped`."""
        return _LinearGroups(self._trees.grouped(group_of, n_groups), self._combination, self._linear)


class _LinearExplainer:
    """Shapley values of a weighted sum of what another explainer explains."""

    def __init__(self, trees: BackgroundExplainer, combination: Combination, linear: LinearMap) -> None:
        self._trees = trees
        self._linear = linear
        self.base: list[float] = combination.margins(trees.base)

    def contributions_many(self, rows: Rows, threads: int = 1) -> array[float]:
        """Return the contributions of n rows, n x F x K row-major."""
        return self._linear.of_rows(self._trees.contributions_many(rows, threads))


class _LinearGroups(_LinearExplainer):
    """Shapley values of groups of features of a weighted sum."""

    def __init__(self, trees: GroupExplainer, combination: Combination, linear: LinearMap) -> None:
        super().__init__(trees, combination, linear)
        self._groups = trees
        self._combination = combination

    def other_game(self, game: KernelGame) -> BackgroundExplainer:
        """Return the explainer of the same groups in a game of the kernel; errors as of `TreeEngine.other_game`."""
        return _LinearExplainer(self._groups.other_game(game), self._combination, self._linear)


class StackedEngine:
    """Computes margins of trees over the answers of a combination, and over the row if they read it; no Shapley values."""

    name: ClassVar[str] = TreeEngine.name

    def __init__(self, trees: TreeEngine, combination: Combination, final: TreeEngine) -> None:
        """Take the members' trees and those of the final model; ValueError if the latter read other columns."""
        self._trees, self._combination, self._final = trees, combination, final
        self._reads_rows = combination.entry.reads_rows
        self._n_answers = len(combination.margins([0.0] * trees.n_outputs))
        self.n_features: int = trees.n_features
        self.n_outputs: int = final.n_outputs
        expected = self._n_answers + (self.n_features if self._reads_rows else 0)
        if final.n_features != expected:
            raise ValueError(f"the final trees read {final.n_features} columns of {expected}")

    def margin(self, row: Row) -> list[float]:
        """Return the K margins of one row."""
        answers = self._combination.margins(self._trees.margin(row))
        return self._final.margin([*answers, *row] if self._reads_rows else answers)

    def margins(self, rows: Rows, threads: int = 1) -> array[float]:
        """Return the margins of n rows, n x K row-major; each row's equal `margin` of it bit for bit."""
        answers = self._combination.margins_of_rows(self._trees.margins(rows, threads))
        return self._final.margins(self._answers_and_rows(answers, rows) if self._reads_rows else answers, threads)

    def cuts(self, feature: int) -> array[float]:
        """Return the cut points of a feature: those of the members' trees, and of the final trees that read it."""
        own = self._trees.cuts(feature)
        if not self._reads_rows:
            return own
        return array("d", sorted({*own, *self._final.cuts(self._n_answers + feature)}))

    def _answers_and_rows(self, answers: array[float], rows: Rows) -> array[float]:
        """Return each row's answers, followed by the row."""
        numbers = memoryview(rows).cast("B").cast("d")
        a, f = self._n_answers, self.n_features
        joined = array("d", bytes(8 * (len(answers) + len(numbers))))
        for column in range(a):
            joined[column :: a + f] = answers[column::a]
        for column in range(f):
            joined[a + column :: a + f] = array("d", numbers[column::f])
        return joined


def combined_engine(
    trees: TreeEngine, combination: Combination, final: TreeEngine | None = None
) -> CombinedEngine | RowReadingEngine | StackedEngine:
    """Return the engine of a combination; it explains if the combination is a weighted sum.

    `final` are the trees that read the combined answers; ValueError unless they are given where the combination has some.
    """
    if (final is None) != (combination.entry.final == "none"):
        raise ValueError("its final trees are missing, or it has none")
    if final is not None:
        return StackedEngine(trees, combination, final)
    if combination.adds_rows:
        return RowReadingEngine(trees, combination)
    linear = combination.linear()
    return CombinedEngine(trees, combination) if linear is None else LinearCombinedEngine(trees, combination, linear)
