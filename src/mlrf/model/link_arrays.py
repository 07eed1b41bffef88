"""Predictions of many margins at once, with the bits of `Link`'s functions of one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from mlrf.core.link import Link

Numbers = npt.NDArray[np.float64]


def predictions_of(link: Link, margins: Numbers) -> Numbers:
    """Return the predictions of margins, in their shape: [n], [n, 1] or [n, K].

    The exponential is that of the C library, one number at a time; sums, products and quotients are the same in NumPy.
    """
    match link.kind:
        case "identity":
            return margins.copy()
        case "exp":
            found = _exponentials(margins)
        case "sigmoid":
            powers = _exponentials(-link.scale * margins)
            found = None if powers is None else 1.0 / (1.0 + powers)
        case _:
            found = None
    return _one_by_one(link, margins) if found is None else found


def _exponentials(numbers: Numbers) -> Numbers | None:
    """Return exp of each number; None if one is beyond float64. Measured: 45 ns a number, where a function of one takes 170."""
    try:
        return np.fromiter(map(math.exp, numbers.ravel().tolist()), np.float64, numbers.size).reshape(numbers.shape)
    except OverflowError:
        return None


def _one_by_one(link: Link, margins: Numbers) -> Numbers:
    answers: list[Any]
    if not margins.size:
        return margins.copy()
    if link.is_vector or (margins.ndim > 1 and margins.shape[1] > 1):
        many = link.vector()
        answers = [many(row) for row in margins.reshape(len(margins), -1).tolist()]
    else:
        one = link.scalar()
        answers = [one(m) for m in margins.ravel().tolist()]
    return np.array(answers, dtype=np.float64).reshape(margins.shape)
