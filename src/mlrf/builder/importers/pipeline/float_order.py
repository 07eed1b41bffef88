"""The float64 numbers in their order, as integers that are adjacent for adjacent numbers."""

from __future__ import annotations

import numpy as np

from mlrf.core.forest import F64, I64


def ordinals(numbers: F64) -> I64:
    """Return integers in the order of the numbers, adjacent for adjacent numbers; 0 for both zeros."""
    bits = np.ascontiguousarray(numbers, np.float64).view(np.int64)
    return np.where(bits < 0, np.iinfo(np.int64).min - bits, bits)


def numbers_at(positions: I64) -> F64:
    """Return the numbers that `ordinals` gives these integers."""
    bits = np.where(positions < 0, np.iinfo(np.int64).min - positions, positions)
    return np.ascontiguousarray(bits, np.int64).view(np.float64)


def ordinal(number: float) -> int:
    """Return the integer of one number."""
    return int(ordinals(np.array([number]))[0])


def number_at(position: int) -> float:
    """Return the number of one integer."""
    return float(numbers_at(np.array([position], np.int64))[0])
