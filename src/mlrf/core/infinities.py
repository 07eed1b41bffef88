"""How a feature treats infinities: refused, as a number, or as missing, as the training library did when the bundle was built.

For a library that computes in float32, every number beyond the range of float32 is an infinity too. A bundle that records
nothing about a feature refuses infinities and accepts every finite float64.
"""

from __future__ import annotations

import math
import sys
from enum import StrEnum
from functools import cache

import msgspec

LARGEST_FLOAT32 = math.nextafter(2.0**128 - 2.0**103, 0.0)
"""The largest float64 that float32 does not round to an infinity."""
_LARGEST_FLOAT64 = sys.float_info.max
_FLOAT32 = " float32"


class OnInfinity(StrEnum):
    """How an infinity is treated."""

    REFUSED = "refused"
    NUMBER = "number"
    """It is compared as a number: greater, or less, than every other."""
    MISSING = "missing"


class Infinities(msgspec.Struct, frozen=True):
    """How a feature treats each of the two infinities."""

    positive: OnInfinity = OnInfinity.REFUSED
    negative: OnInfinity = OnInfinity.REFUSED
    from_float32: bool = False
    """Whether a number that float32 rounds to an infinity counts as infinite."""

    def of(self, number: float) -> OnInfinity:
        """Return how a number is treated: `NUMBER` for a finite one, `REFUSED` for NaN."""
        if -self._largest <= number <= self._largest:
            return OnInfinity.NUMBER
        if math.isnan(number):
            return OnInfinity.REFUSED
        return self.positive if number > 0 else self.negative

    @property
    def range(self) -> tuple[float, float]:
        """The least and the greatest number that are passed to an engine unchanged."""
        return (
            -math.inf if self.negative is OnInfinity.NUMBER else -self._largest,
            math.inf if self.positive is OnInfinity.NUMBER else self._largest,
        )

    @property
    def precision(self) -> str:
        """The type in whose range finite numbers must be."""
        return "float32" if self.from_float32 else "float64"

    @property
    def _largest(self) -> float:
        return LARGEST_FLOAT32 if self.from_float32 else _LARGEST_FLOAT64


REFUSED = Infinities()
"""The rule of a feature without a record."""


def describe_infinities(infinities: Infinities) -> str:
    """Return a rule in its short form for documents: "number", "number/refused" (+inf/-inf), "refused float32"."""
    signs = dict.fromkeys((infinities.positive.value, infinities.negative.value))
    return "/".join(signs) + (_FLOAT32 if infinities.from_float32 else "")


@cache
def read_infinities(described: str | None) -> Infinities:
    """Return the rule that a document describes, `REFUSED` for None; ValueError or TypeError when it is not a rule.

    Features with the same rule share one object, so that checks of rows can compare rules by identity.
    """
    if described is None:
        return REFUSED
    if not isinstance(described, str):
        raise TypeError(f"a rule for infinities is a string, not {described!r}")
    signs = described.removesuffix(_FLOAT32).split("/")
    return Infinities(OnInfinity(signs[0]), OnInfinity(signs[-1]), described.endswith(_FLOAT32))
