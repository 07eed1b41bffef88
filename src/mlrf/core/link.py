"""Link functions: from raw margins to what the training library's `predict` returns.

They use `math` rather than NumPy on purpose: NumPy's vector `exp` may differ from the C library's in the last bit, and a batch
must give the same predictions as its single rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import msgspec

LinkKind = Literal[
    "identity",
    "sigmoid",
    "exp",
    "expm1",
    "square",
    "signed_square",
    "log1p_exp",
    "step",
    "clip",
    "softmax",
    "sigmoid_each",
    "sigmoid_shares",
    "shares",
    "isolation",
]
KINDS: frozenset[str] = frozenset(get_args(LinkKind))

ScalarLink = Callable[[float], float]
VectorLink = Callable[[Sequence[float]], list[float]]


class Link(msgspec.Struct, frozen=True):
    """The function between the raw margin and the prediction.

    `identity`, `sigmoid` (1 / (1 + exp(-scale m))), `exp`, `expm1`, `square`, `signed_square` (m |m|: LightGBM's reg_sqrt),
    `log1p_exp`, `step` (1 above 0, else 0: a hinge loss), `clip` (at least 0 and at most 1: YDF's random forests) and
    `isolation` (-(2 ** -m) - scale: scikit-learn's IsolationForest, whose offset is `scale`) map one margin to one number;
    `softmax` (of scale m), `sigmoid_each` (one sigmoid a class, not normalised), `shares` (each divided by the sum of all;
    zeros where that is 0) and `sigmoid_shares` (shares of the sigmoids) map K to K.
    """

    kind: LinkKind = "identity"
    scale: float = 1.0

    @property
    def is_vector(self) -> bool:
        """Whether the link maps all K margins of a row together."""
        return self.kind in ("softmax", "sigmoid_each", "sigmoid_shares", "shares")

    def scalar(self) -> ScalarLink:  # noqa: C901, PLR0911  one return a link
        """Return the function of one margin; ValueError for a link of K margins."""
        scale = self.scale
        match self.kind:
            case "identity":
                return lambda m: m
            case "sigmoid":
                return lambda m: _sigmoid(m, scale)
            case "exp":
                return _exp
            case "expm1":
                return _expm1
            case "square":
                return lambda m: m * m
            case "signed_square":
                return lambda m: m * abs(m)
            case "log1p_exp":
                return lambda m: math.log1p(_exp(m))
            case "isolation":
                return lambda m: -_exp2(-m) - scale
            case "step":
                return lambda m: 1.0 if m > 0.0 else 0.0
            case "clip":
                return lambda m: min(max(m, 0.0), 1.0)
        raise ValueError(f"the link {self.kind} maps all margins of a row together")

    def vector(self) -> VectorLink:
        """Return the function of a row's K margins."""
        if self.kind == "softmax":
            return _softmax if self.scale == 1.0 else lambda margins: _softmax([self.scale * m for m in margins])
        if self.kind == "sigmoid_each":
            scale = self.scale
            return lambda margins: [_sigmoid(m, scale) for m in margins]
        if self.kind == "sigmoid_shares":
            scale = self.scale
            return lambda margins: _shares([_sigmoid(m, scale) for m in margins])
        if self.kind == "shares":
            return _shares
        one = self.scalar()
        return lambda margins: [one(m) for m in margins]


def _exp(x: float) -> float:
    # The C library returns inf where Python raises; the caller then reports a prediction that is not finite.
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def _expm1(x: float) -> float:
    try:
        return math.expm1(x)
    except OverflowError:
        return math.inf


def _exp2(x: float) -> float:
    try:
        return math.exp2(x)
    except OverflowError:
        return math.inf


def _sigmoid(m: float, scale: float) -> float:
    return 1.0 / (1.0 + _exp(-scale * m))


def _softmax(margins: Sequence[float]) -> list[float]:
    top = max(margins)
    powers = [_exp(m - top) for m in margins]
    total = plain_sum(powers)
    return [power / total for power in powers]


def _shares(numbers: Sequence[float]) -> list[float]:
    total = plain_sum(numbers)
    return [number / total for number in numbers] if total != 0.0 else [0.0] * len(numbers)


def plain_sum(numbers: Sequence[float]) -> float:
    """Return the sum from left to right, as the libraries add: from Python 3.12 on `sum` compensates for rounding."""
    total = 0.0
    for number in numbers:
        total += number
    return total
