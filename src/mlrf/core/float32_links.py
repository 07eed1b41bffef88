"""Links in float32, as XGBoost computes them: every operation is rounded, exponentials are those of the C library's `expf`.

Only combinations need them, because their next step (an isotonic calibration) may magnify the difference from float64.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from struct import Struct
from typing import cast

from mlrf.core.link import Link, VectorLink

_FLOAT32 = Struct("<f")
_LARGEST_EXPONENT = 88.7


def float32(x: float) -> float:
    """Return the float32 nearest to x."""
    try:
        return float(_FLOAT32.unpack(_FLOAT32.pack(x))[0])
    except OverflowError:
        return math.copysign(math.inf, x)


def float32_link(link: Link) -> VectorLink:
    """Return the link in float32, or the float64 function for a link that XGBoost does not use for probabilities."""
    if link.kind == "sigmoid":
        return lambda margins: [_sigmoid(m) for m in margins]
    return _softmax if link.kind == "softmax" else link.vector()


def float32_line(x: float, low: tuple[float, float], high: tuple[float, float]) -> float:
    """Return y at x on the line through two points (x, y), with the operations of SciPy's `interp1d` on float32 arrays."""
    slope = float32(float32(high[1] - low[1]) / float32(high[0] - low[0]))
    return float32(float32(slope * float32(x - low[0])) + low[1])


def float32_mean(numbers: Sequence[float]) -> float:
    """Return the mean of float32 numbers, added from left to right in float32."""
    total = 0.0
    for number in numbers:
        total = float32(total + number)
    return float32(total / len(numbers))


def _c_library_exp() -> Callable[[float], float]:
    """Return the C library's `expf`, as one result in 500 is not the float32 nearest to the exact value."""
    try:
        expf = ctypes.CDLL("libm.so.6").expf
    except (OSError, AttributeError):
        return lambda x: float32(math.exp(x))
    expf.argtypes, expf.restype = [ctypes.c_float], ctypes.c_float
    return cast("Callable[[float], float]", expf)


_exp = _c_library_exp()


def _sigmoid(m: float) -> float:
    return float32(1.0 / float32(_exp(min(-m, float32(_LARGEST_EXPONENT))) + 1.0))


def _softmax(margins: Sequence[float]) -> list[float]:
    top = max(margins)
    powers = [_exp(float32(m - top)) for m in margins]
    total = 0.0
    for power in powers:
        total += power
    return [float32(power / float32(total)) for power in powers]
