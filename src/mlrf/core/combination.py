"""Combinations of models: computes the margins of the whole from the forest's outputs, which are those of all members.

The operations and their order are those of scikit-learn's meta-estimators. Rows are computed column by column, one list of n
numbers for each output, so that a batch costs a few list operations for each member. Like links the operations use `math` and
plain floats, and every number depends on its own row alone: a batch gives the same numbers as its single rows.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import cast

from mlrf.core.calibrators import calibrator_of
from mlrf.core.float32_links import float32_link, float32_mean
from mlrf.core.link import Link, LinkKind, VectorLink, plain_sum
from mlrf.core.manifest import CombinationEntry, MemberEntry

_ROUNDING = 1e-5
"""A normalised probability that exceeds 1 by at most this is set to 1, as in scikit-learn."""
_HALF = 0.5

Column = list[float]
"""One number of each of n rows."""
Columns = list[Column]


@dataclass(frozen=True, slots=True)
class LinearMap:
    """The margins of a linear combination as sums of the forest's outputs: matrix [K, M] and offsets [K]."""

    matrix: list[list[float]]
    offsets: list[float]

    def of_rows(self, numbers: Sequence[float]) -> array[float]:
        """Return the matrix times each of n vectors of M numbers, row-major: n x K."""
        n_columns, n_sums = len(self.matrix[0]), len(self.matrix)
        found = array("d", bytes(8 * (len(numbers) // n_columns) * n_sums))
        for k, row in enumerate(self.matrix):
            terms = [_times(numbers[m::n_columns], factor) for m, factor in enumerate(row) if factor != 0.0]
            if terms:
                found[k::n_sums] = array("d", _sum(terms))
        return found


class Combination:
    """Computes the K margins of rows from the M outputs of the forest that holds all members."""

    def __init__(self, entry: CombinationEntry) -> None:
        self.entry = entry
        self._members = [_Member(member) for member in entry.members]
        self._combine = _COMBINE[entry.kind]
        self.n_outputs = sum(member.outputs for member in entry.members)
        """Number of the forest's outputs, M."""

    def margins(self, outputs: Sequence[float], row: Sequence[float] = ()) -> list[float]:
        """Return the K margins of a row, given the forest's outputs [M], and the row [F] if `adds_rows`."""
        return [column[0] for column in self.columns([[output] for output in outputs], [[number] for number in row])]

    def margins_of_rows(self, outputs: Sequence[float], rows: Sequence[float] = ()) -> array[float]:
        """Return the margins of n rows, n x K row-major, given the forest's outputs, n x M, and the rows, if `adds_rows`."""
        n_features = len(self.entry.row_coefficients[0]) if self.adds_rows else 0
        numbers = [list(rows[feature::n_features]) for feature in range(n_features)]
        return _interleaved(self.columns(self._outputs(outputs), numbers))

    def member_margins_of_rows(self, outputs: Sequence[float]) -> array[float]:
        """Return the margins of all members, n x M row-major, as their libraries return them: divided and scaled."""
        return _interleaved(self.member_columns(self._outputs(outputs)))

    def columns(self, outputs: Columns, numbers: Columns | None = None) -> Columns:
        """Return the K margins, given the M outputs, and the rows' F columns if `adds_rows`."""
        answers = [member.answer(part) for member, part in self._parts(outputs)]
        if self.adds_rows:
            answers.append(numbers or [])
        combined = self._combine(self.entry, answers)
        return combined[1:] if self.entry.second_class_only else combined

    def member_columns(self, outputs: Columns) -> Columns:
        """Return the M margins of all members, given the M outputs."""
        return [column for member, part in self._parts(outputs) for column in member.library_margins(part)]

    @property
    def adds_rows(self) -> bool:
        """Whether multiples of the row's own numbers are added to the answers."""
        return self.entry.kind == "linear" and bool(self.entry.row_coefficients)

    @property
    def is_linear(self) -> bool:
        """Whether the margins are weighted sums of the forest's outputs."""
        if self.adds_rows or self.entry.final != "none":
            return False
        return self.entry.kind in _LINEAR and all(member.is_linear for member in self._members)

    def linear(self) -> LinearMap | None:
        """Return the combination as a matrix, by which Shapley values are combined too; None if it is not linear."""
        if not self.is_linear:
            return None
        offsets = self.margins([0.0] * self.n_outputs)
        units = [[float(i == j) for i in range(self.n_outputs)] for j in range(self.n_outputs)]
        columns = [[m - o for m, o in zip(self.margins(unit), offsets, strict=True)] for unit in units]
        return LinearMap([list(row) for row in zip(*columns, strict=True)], offsets)

    def _outputs(self, outputs: Sequence[float]) -> Columns:
        return [list(outputs[m :: self.n_outputs]) for m in range(self.n_outputs)]

    def _parts(self, outputs: Columns) -> list[tuple[_Member, Columns]]:
        parts, start = [], 0
        for member in self._members:
            parts.append((member, outputs[start : start + member.n_outputs]))
            start += member.n_outputs
        return parts


class _Member:
    """Computes the margins of a member, and its answer, of columns of outputs."""

    def __init__(self, entry: MemberEntry) -> None:
        self.n_outputs = entry.outputs
        self._entry = entry
        self._inner = None if entry.combination is None else Combination(entry.combination)
        if self._inner is not None and self._inner.n_outputs != entry.outputs:
            raise ValueError(f"a member has {entry.outputs} outputs, its members {self._inner.n_outputs}")
        is_float32 = entry.precision == "float32"
        self._link = _on_columns(entry, is_float32=is_float32)
        self._calibrators = [calibrator_of(each, is_float32=is_float32) for each in entry.calibrators]
        self.is_linear = (
            entry.link.kind == "identity" and not entry.calibrators and (self._inner is None or self._inner.is_linear)
        )

    def library_margins(self, outputs: Columns) -> Columns:
        return self._scaled(outputs) if self._inner is None else self._inner.member_columns(outputs)

    def answer(self, outputs: Columns) -> Columns:
        answer = self._link(self._scaled(outputs) if self._inner is None else self._inner.columns(outputs))
        if len(self._calibrators) == 1:
            return _with_first_class(list(map(self._calibrators[0], answer[-1])))
        if self._calibrators:
            columns = [list(map(calibrate, x)) for calibrate, x in zip(self._calibrators, answer, strict=True)]
            return _by_row(_normalised, columns)
        if self._entry.class_at_half is not None:
            return [_chosen_classes(answer, self._entry.class_at_half)]
        return _with_first_class(answer[0]) if self._entry.both_classes and len(answer) == 1 else answer

    def _scaled(self, outputs: Columns) -> Columns:
        entry = self._entry
        if entry.divisor != 1.0 or entry.scale != 1.0:
            outputs = [[x / entry.divisor * entry.scale for x in column] for column in outputs]
        if not entry.offsets:
            return outputs
        return [[x + offset for x in column] for column, offset in zip(outputs, entry.offsets, strict=True)]


def _on_columns(entry: MemberEntry, *, is_float32: bool) -> Callable[[Columns], Columns]:
    """Return the member's link as a function of columns."""
    link = Link(cast("LinkKind", entry.link.kind), entry.link.scale)
    if link.kind == "identity":
        return lambda columns: columns
    of_row = float32_link(link) if is_float32 else link.vector()
    if link.is_vector or is_float32:
        return lambda columns: _by_row(of_row, columns)
    one = link.scalar()
    return lambda columns: [list(map(one, column)) for column in columns]


def _by_row(function: VectorLink, columns: Columns) -> Columns:
    return [list(column) for column in zip(*map(function, zip(*columns, strict=True)), strict=True)]


def _interleaved(columns: Columns) -> array[float]:
    found = array("d", bytes(8 * len(columns) * len(columns[0])))
    for k, column in enumerate(columns):
        found[k :: len(columns)] = array("d", column)
    return found


def _with_first_class(second: Column) -> Columns:
    return [[1.0 - p for p in second], second]


def _chosen_classes(answer: Columns, class_at_half: int) -> Column:
    """Return the index of the class that a classifier chooses for each row; of equal ones the first."""
    if len(answer) == 1:
        return [float(p > _HALF or (class_at_half == 1 and p == _HALF)) for p in answer[0]]
    return [float(row.index(max(row))) for row in zip(*answer, strict=True)]


def _normalised(numbers: Sequence[float]) -> list[float]:
    total = plain_sum(numbers)
    if total == 0.0:
        return [1.0 / len(numbers)] * len(numbers)
    shares = [x / total for x in numbers]
    return [1.0 if 1.0 < share <= 1.0 + _ROUNDING else share for share in shares]


def _sum(columns: Columns) -> Column:
    """Return the sums over columns, added from left to right."""
    total = columns[0]
    for column in columns[1:]:
        total = [a + b for a, b in zip(total, column, strict=True)]
    return total


def _times(column: Sequence[float], factor: float) -> Column:
    return [x * factor for x in column]


def _mean(entry: CombinationEntry, answers: list[Columns]) -> Columns:
    by_number = list(zip(*answers, strict=True))
    if entry.precision == "float32":
        return [list(map(float32_mean, zip(*columns, strict=True))) for columns in by_number]
    n = len(answers)
    return [[total / n for total in _sum(list(columns))] for columns in by_number]


def _weighted_mean(entry: CombinationEntry, answers: list[Columns]) -> Columns:
    weight = plain_sum(entry.weights)
    return [
        [total / weight for total in _sum([_times(x, w) for x, w in zip(columns, entry.weights, strict=True)])]
        for columns in zip(*answers, strict=True)
    ]


def _weighted_median(entry: CombinationEntry, answers: list[Columns]) -> Columns:
    """Return the weighted median: the smallest answer at which half of the weight is reached."""

    def median(row: tuple[float, ...]) -> float:
        ordered = sorted(zip(row, entry.weights, strict=True))
        reached, total = [], 0.0
        for _, weight in ordered:
            total += weight
            reached.append(total)
        return next(answer for (answer, _), sum_ in zip(ordered, reached, strict=True) if sum_ >= _HALF * total)

    return [list(map(median, zip(*(answer[0] for answer in answers), strict=True)))]


def _linear(entry: CombinationEntry, answers: list[Columns]) -> Columns:
    numbers = [column for answer in answers for column in answer]
    coefficients = entry.coefficients
    if entry.row_coefficients:
        coefficients = [[*a, *b] for a, b in zip(coefficients, entry.row_coefficients, strict=True)]
    found = []
    for row, intercept in zip(coefficients, entry.intercepts, strict=True):
        terms = [_times(column, factor) for column, factor in zip(numbers, row, strict=True) if factor != 0.0]
        sums = _sum(terms) if terms else [0.0] * len(numbers[0])
        found.append([total + intercept for total in sums])
    return found


def _each(_entry: CombinationEntry, answers: list[Columns]) -> Columns:
    return [column for answer in answers for column in answer]


def _votes(entry: CombinationEntry, answers: list[Columns]) -> Columns:
    """Return each class's share of the votes, which the answers, indices of classes, are."""
    weights = entry.weights or [1.0] * len(answers)
    total = plain_sum(weights)

    def shares(votes: Sequence[float]) -> list[float]:
        counts = [0.0] * entry.n_classes
        for vote, weight in zip(votes, weights, strict=True):
            counts[int(vote)] += weight
        return [count / total for count in counts]

    return _by_row(shares, [answer[0] for answer in answers])


def _one_against_one(entry: CombinationEntry, answers: list[Columns]) -> Columns:
    """Return the votes of each class in its pairs, and a share of its confidences that decides between equal numbers."""
    pairs = list(combinations(range(entry.n_classes), 2))

    def decision(confidences: Sequence[float]) -> list[float]:
        sums, votes = [0.0] * entry.n_classes, [0] * entry.n_classes
        for (first, second), confidence, threshold in zip(pairs, confidences, entry.weights, strict=True):
            sums[first] -= confidence
            sums[second] += confidence
            votes[second if confidence > threshold else first] += 1
        return [vote + sum_ / (3 * (abs(sum_) + 1)) for vote, sum_ in zip(votes, sums, strict=True)]

    return _by_row(decision, [answer[-1] for answer in answers])


_COMBINE: dict[str, Callable[[CombinationEntry, list[Columns]], Columns]] = {
    "mean": _mean,
    "weighted_mean": _weighted_mean,
    "weighted_median": _weighted_median,
    "linear": _linear,
    "each": _each,
    "votes": _votes,
    "one_against_one": _one_against_one,
}
_LINEAR = frozenset(("mean", "weighted_mean", "linear", "each"))
