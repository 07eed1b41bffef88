"""Combinations of models: computes the margins of the whole from the forest's outputs, which are those of all members.

The operations and their order are those of scikit-learn's meta-estimators. Like links they use `math` and plain floats, so that
a batch gives the same numbers as its single rows.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from mlrf.core.float32_links import float32_line, float32_link, float32_mean
from mlrf.core.link import Link, LinkKind, VectorLink, plain_sum
from mlrf.core.manifest import CalibratorEntry, CombinationEntry, MemberEntry

_ROUNDING = 1e-5
"""A normalised probability that exceeds 1 by at most this is set to 1, as in scikit-learn."""

Numbers = Sequence[float]


@dataclass(frozen=True, slots=True)
class LinearMap:
    """The margins of a linear combination as sums of the forest's outputs: matrix [K, M] and offsets [K]."""

    matrix: list[list[float]]
    offsets: list[float]


class Combination:
    """Computes the K margins of a row from the M outputs of the forest that holds all members."""

    def __init__(self, entry: CombinationEntry) -> None:
        self.entry = entry
        self._members = [_Member(member) for member in entry.members]
        self._combine = _COMBINE[entry.kind]
        self.n_outputs = sum(member.outputs for member in entry.members)
        """Number of the forest's outputs, M."""

    def answers(self, outputs: Numbers) -> list[list[float]]:
        """Return each member's answer to a row, given the forest's outputs [M]."""
        found, start = [], 0
        for member in self._members:
            found.append(member.answer(outputs[start : start + member.n_outputs]))
            start += member.n_outputs
        return found

    def member_margins(self, outputs: Numbers) -> list[float]:
        """Return the margins of all members, [M], as their libraries return them: divided and scaled."""
        margins: list[float] = []
        for member in self._members:
            start = len(margins)
            margins += member.margins(outputs[start : start + member.n_outputs])
        return margins

    def margins(self, outputs: Numbers) -> list[float]:
        """Return the K margins of a row, given the forest's outputs [M]."""
        combined = self._combine(self.entry, self.answers(outputs))
        return combined[1:] if self.entry.second_class_only else combined

    def linear(self) -> LinearMap | None:
        """Return the combination as a matrix, by which Shapley values are combined too; None if it is not linear."""
        if self.entry.kind == "weighted_median" or not all(member.is_linear for member in self._members):
            return None
        offsets = self.margins([0.0] * self.n_outputs)
        units = [[float(i == j) for i in range(self.n_outputs)] for j in range(self.n_outputs)]
        columns = [[m - o for m, o in zip(self.margins(unit), offsets, strict=True)] for unit in units]
        return LinearMap([list(row) for row in zip(*columns, strict=True)], offsets)


class _Member:
    """Computes the margins of a member, and its answer to a row."""

    def __init__(self, entry: MemberEntry) -> None:
        self.n_outputs = entry.outputs
        self._divisor, self._scale, self._offsets = entry.divisor, entry.scale, entry.offsets
        link, is_float32 = Link(cast("LinkKind", entry.link.kind), entry.link.scale), entry.precision == "float32"
        self._link: VectorLink = float32_link(link) if is_float32 else link.vector()
        self._both_classes = entry.both_classes
        self._calibrators = [_calibrator(each, is_float32=is_float32) for each in entry.calibrators]
        self.is_linear = entry.link.kind == "identity" and not entry.calibrators

    def margins(self, outputs: Numbers) -> list[float]:
        scaled = [output / self._divisor * self._scale for output in outputs]
        return [x + offset for x, offset in zip(scaled, self._offsets, strict=True)] if self._offsets else scaled

    def answer(self, outputs: Numbers) -> list[float]:
        answer = self._link(self.margins(outputs))
        if len(self._calibrators) == 1:
            second = self._calibrators[0](answer[-1])
            return [1.0 - second, second]
        if self._calibrators:
            return _normalised([calibrate(x) for calibrate, x in zip(self._calibrators, answer, strict=True)])
        return [1.0 - answer[0], answer[0]] if self._both_classes else answer


def _calibrator(entry: CalibratorEntry, *, is_float32: bool) -> Callable[[float], float]:
    if not entry.x:
        slope, intercept = entry.slope, entry.intercept
        sigmoid = Link("sigmoid").scalar()
        return lambda x: sigmoid(-(slope * x + intercept))
    if len(entry.x) == 1:
        return lambda _: entry.y[0]
    on_line = _on_float32_line if is_float32 else _on_line
    first, last = entry.x[0], entry.x[-1]
    return lambda x: on_line(min(max(x, first), last), entry.x, entry.y)


def _on_float32_line(x: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    right = min(max(bisect_left(xs, x), 1), len(xs) - 1)
    return float32_line(x, (xs[right - 1], ys[right - 1]), (xs[right], ys[right]))


def _on_line(x: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    """Return y at x on the line through points, with the operations of NumPy's `interp`."""
    right = min(max(bisect_right(xs, x), 1), len(xs) - 1)
    low, high = xs[right - 1], xs[right]
    if x == high:
        return ys[right]
    slope = (ys[right] - ys[right - 1]) / (high - low)
    return slope * (x - low) + ys[right - 1]


def _normalised(numbers: Numbers) -> list[float]:
    total = plain_sum(numbers)
    if total == 0.0:
        return [1.0 / len(numbers)] * len(numbers)
    shares = [x / total for x in numbers]
    return [1.0 if 1.0 < share <= 1.0 + _ROUNDING else share for share in shares]


def _mean(entry: CombinationEntry, answers: list[list[float]]) -> list[float]:
    if entry.precision == "float32":
        return [float32_mean(column) for column in zip(*answers, strict=True)]
    return [plain_sum(column) / len(answers) for column in zip(*answers, strict=True)]


def _weighted_mean(entry: CombinationEntry, answers: list[list[float]]) -> list[float]:
    total = plain_sum(entry.weights)
    return [
        plain_sum([x * weight for x, weight in zip(column, entry.weights, strict=True)]) / total
        for column in zip(*answers, strict=True)
    ]


def _weighted_median(entry: CombinationEntry, answers: list[list[float]]) -> list[float]:
    """Return the weighted median: the smallest answer at which half of the weight is reached."""
    ordered = sorted(zip((answer[0] for answer in answers), entry.weights, strict=True))
    reached, total = [], 0.0
    for _, weight in ordered:
        total += weight
        reached.append(total)
    return [next(answer for (answer, _), sum_ in zip(ordered, reached, strict=True) if sum_ >= 0.5 * total)]


def _linear(entry: CombinationEntry, answers: list[list[float]]) -> list[float]:
    numbers = [number for answer in answers for number in answer]
    return [
        plain_sum([x * coefficient for x, coefficient in zip(numbers, row, strict=True)]) + intercept
        for row, intercept in zip(entry.coefficients, entry.intercepts, strict=True)
    ]


def _each(_entry: CombinationEntry, answers: list[list[float]]) -> list[float]:
    return [number for answer in answers for number in answer]


_COMBINE: dict[str, Callable[[CombinationEntry, list[list[float]]], list[float]]] = {
    "mean": _mean,
    "weighted_mean": _weighted_mean,
    "weighted_median": _weighted_median,
    "linear": _linear,
    "each": _each,
}
